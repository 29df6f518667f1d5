"""Where a round executes: in this process, in TFF's native C++ worker, or on a Ray cluster.

Importing this package imports neither TensorFlow nor TFF; `use` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import functools
import pathlib
from typing import Any

from tffcxr import errors, options


@dataclasses.dataclass(frozen=True)
class EngineSettings:
    """Where clients' parts of a round are computed.

    Attributes:
      name: one of `options.ENGINES`: "local" (by the executor itself), "ray", or "hospitals".
      ray_address: of a running Ray cluster, as "HOST:PORT" or "auto"; None starts one on this
        machine, which ends with the program.
      ray_workers: how many Ray actors there are; None for one per GPU of the cluster, or two per
        machine without any.
    """

    name: str = "local"
    ray_address: str | None = None
    ray_workers: int | None = None


def use(
    executor: str,
    engine: EngineSettings = EngineSettings(),
    *,
    log_file: pathlib.Path | None = None,
    devices: Sequence[str] | None = None,
    shared_files: Sequence[str] = (),
    elsewhere: Callable[..., Any] | None = None,
) -> str:
    """Makes every TFF computation called from here on run in the chosen executor.

    Args:
      executor: "native" (TFF's C++ worker, CPU) or "device" (TensorFlow devices of this process).
      engine: where clients' parts are computed; the results are the same everywhere.
      log_file: receives the native worker's output; see `native.native_context`.
      devices: names of the TensorFlow devices that clients are dealt to, such as "GPU:0"; None
        means all GPUs, or the CPU where there is none. For the device executor alone.
      shared_files: paths that clients read, which must be there on all machines of a cluster; of
        the first, the content is compared.
      elsewhere: of a coordinator of hospitals: what reaches them, see `device.DeviceContext`.

    Returns:
      A line for the user that says where rounds run.

    Raises:
      errors.InputError: `executor` is neither of these, a device does not exist, the executor and
        the engine do not go together, or the cluster cannot be used.
    """
    if engine.name not in options.ENGINES:
        raise errors.InputError(f"engine: expected one of {options.ENGINES}, found {engine.name!r}")
    if engine.name != "local" and executor != "device":
        raise errors.InputError(
            f"engine: expected the executor 'device' with {engine.name!r}, found {executor!r}"
        )
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
        if engine.name == "ray":
            from tffcxr.runtime import engine as engine_lib
            from tffcxr.runtime import ray_engine

            actors = ray_engine.start(engine.ray_address, engine.ray_workers, shared_files)
            context = device.DeviceContext(
                context.workers[:1], elsewhere=functools.partial(engine_lib.RemoteParts, actors)
            )
            where = actors.describe()
        elif elsewhere is not None:
            context = device.DeviceContext(context.workers[:1], elsewhere=elsewhere)
            where = "hospitals"
        else:
            where = _devices(context.workers)
    tff.framework.get_context_stack().set_default_context(context)
    return f"clients are computed on {where}"


def _devices(workers: Sequence[str]) -> str:
    names = [worker.lstrip("/") for worker in workers]
    counts = {name: names.count(name) for name in names}
    return ", ".join(
        name if count == 1 else f"{name} ({count} clients at once)"
        for name, count in counts.items()
    )


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
