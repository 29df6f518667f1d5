"""Where a round executes: in TFF's native C++ worker, or on the TensorFlow devices of this process.

Importing this package imports neither TensorFlow nor TFF; `use` does.
"""

from __future__ import annotations

from collections.abc import Sequence
import pathlib

from tffcxr import errors, options


def use(
    executor: str,
    *,
    log_file: pathlib.Path | None = None,
    devices: Sequence[str] | None = None,
) -> str:
    """Makes every TFF computation called from here on run in the chosen executor.

    Args:
      executor: "native" (TFF's C++ worker, CPU) or "device" (TensorFlow devices of this process).
      log_file: receives the native worker's output; see `native.native_context`.
      devices: names of the TensorFlow devices that clients are dealt to, such as "GPU:0"; None
        means all GPUs, or the CPU where there is none. For the device executor alone.

    Returns:
      A line for the user that says where rounds run.

    Raises:
      errors.InputError: `executor` is neither of these, or a device does not exist.
    """
    if executor not in options.EXECUTORS:
        raise errors.InputError(
            f"executor: expected one of {options.EXECUTORS}, found {executor!r}"
        )
    import tensorflow_federated as tff

    if executor == "native":
        from tffcxr.runtime import native

        context = native.native_context(log_file)
        where = "TFF's native worker, on the CPU"
    else:
        from tffcxr.runtime import device

        context = device.device_context(devices)
        names = [worker.lstrip("/") for worker in context.workers]
        counts = {name: names.count(name) for name in names}
        where = ", ".join(
            name if count == 1 else f"{name} ({count} clients at once)"
            for name, count in counts.items()
        )
    tff.framework.get_context_stack().set_default_context(context)
    return f"clients are computed on {where}"


def use_device_unless_chosen() -> None:
    """Makes the device executor TFF's default where nobody has chosen an executor.

    TFF itself would start its stock worker at the first call, which outlives the program and keeps
    its output open. A context that was put on TFF's stack is a choice, and stays.
    """
    import tensorflow_federated as tff

    from tffcxr.runtime import private_apis

    unchosen = (
        tff.framework.SyncExecutionContext,
        private_apis.RuntimeErrorContext,  # What threads other than the first one have.
    )
    if type(tff.framework.get_context_stack().current) in unchosen:
        use("device")
