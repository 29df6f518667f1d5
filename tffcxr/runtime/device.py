"""Runs any TFF computation in this process, on any TensorFlow device.

TFF's own compiler turns a computation into federated operations over TensorFlow graphs. Each graph
becomes a TensorFlow function that is built once (`graphs.py`), and the rest is interpreted
(`interpreter.py`), client by client (`placed.py`).

The loop of `tff.sequence_reduce` is driven from here, one call of the step per batch. So a client
that trains by `tff.sequence_reduce` runs its steps as Keras runs them, while `Dataset.reduce`
inside a graph is about a third slower.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Sequence
import contextlib
import functools
import logging
import os
import threading
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr import errors
from tffcxr.runtime import (
    compiling,
    graphs,
    interpreter,
    parts,
    placed,
    private_apis,
    threads,
    values,
)

_logger = logging.getLogger(__name__)

_MOST_ATTEMPTS = 5

# What was compiled and built for one context serves all.
functions = graphs.GraphFunctions()
_compile = functools.lru_cache(compiling.compile_for_device)
_compiling = threading.Lock()  # Two threads that call one computation would both compile it.


@atexit.register
def _forget_stock_worker() -> None:
    """Lets TFF's own default context go while the modules that its end needs are still there.

    Otherwise a program that ends before it has chosen an executor ends with a traceback.
    """
    tff.framework.get_context_stack().set_default_context(DeviceContext(["/CPU:0"]))


class DeviceContext(tff.framework.SyncContext):
    """A TFF execution context on TensorFlow devices of this process.

    Args:
      workers: the name of a device for each worker that clients are dealt to. The first device
        is also the server's. A device may be named several times, to compute several clients at
        once there.
      default_clients: number of clients where the arguments do not tell.
      elsewhere: makes what computes the clients' parts in place of the workers, from the
        computation, its compiled form, its ingested argument and the number of clients; None for
        the workers.
    """

    def __init__(
        self,
        workers: Sequence[str],
        default_clients: int = 0,
        elsewhere: Callable[..., parts.Parts] | None = None,
    ) -> None:
        self.workers = tuple(workers)
        self._default_clients = default_clients
        self._elsewhere = elsewhere

    def invoke(self, comp: Any, arg: Any) -> Any:
        """Runs `comp` on `arg`.

        Raises:
          placed.ClientError: the computation failed at a client.
          errors.RunError: workers that mask secure sums were lost again and again.
          TypeError: `arg` is not of the type that `comp` takes.
          ValueError: values at clients in `arg` are of different numbers of clients.
          NotImplementedError: `comp` holds something that TFF's native form has not.
        """
        result_type = comp.type_signature.result  # Compiling loses its Python containers.
        compiled = compiled_form(comp)
        parameter_type = compiled.type_signature.parameter
        clients = self._default_clients
        if arg is not None:
            found = private_apis.infer_cardinalities(arg, parameter_type)
            clients = found.get(tff.CLIENTS, clients)
        with tf.device(self.workers[0]):
            is_sent = self._elsewhere is not None
            argument = None if arg is None else values.ingest(arg, parameter_type, is_sent)
        for _ in range(_MOST_ATTEMPTS):
            with contextlib.closing(self._parts(comp, compiled, argument, clients)) as computed:
                federation = placed.Federation(clients, self.workers[0], computed)
                try:
                    exported = self._evaluate(compiled, argument, result_type, federation)
                except parts.MasksLostError:
                    _logger.warning("the masks of secure sums were lost: beginning them again")
                    continue
            return tff.types.type_to_py_container(exported, result_type)
        raise errors.RunError(
            f"the masks of secure sums were lost {_MOST_ATTEMPTS} times in a row; start the same "
            "command again to resume"
        )

    def _parts(
        self,
        comp: Any,
        compiled: tff.framework.ComputationBuildingBlock,
        argument: Any,
        clients: int,
    ) -> parts.Parts:
        if self._elsewhere is None:
            return threads.Threads(clients, self.workers)
        return self._elsewhere(comp, compiled, argument, clients)

    def _evaluate(
        self,
        compiled: tff.framework.ComputationBuildingBlock,
        argument: Any,
        result_type: tff.Type,
        federation: placed.Federation,
    ) -> Any:
        with tf.device(self.workers[0]):
            run = interpreter.Interpreter(functions, federation)
            result = run.evaluate(compiled, {})(argument)
            requested = values.request(result, result_type, federation)
            return values.export(requested, result_type)


def current_workers() -> tuple[str, ...]:
    """The devices of the workers of the context that computations called here run in.

    Raises:
      RuntimeError: that is another context, such as one of the native executor.
    """
    context = tff.framework.get_context_stack().current
    if not isinstance(context, DeviceContext):
        raise RuntimeError(f"expected the device executor, found {type(context).__name__}")
    return context.workers


def compiled_form(comp: tff.Computation) -> tff.framework.ComputationBuildingBlock:
    """What is evaluated for a computation; made once."""
    with _compiling:
        return _compile(comp)


def device_context(
    devices: Sequence[str] | None = None, *, default_clients: int = 0
) -> DeviceContext:
    """Makes a context on the TensorFlow devices of this process.

    Memory growth is switched on for every GPU, where TensorFlow has not started yet.

    Args:
      devices: names such as "GPU:0" or "CPU:0"; None means all GPUs, or the CPU where there is
        none, with two clients at once. A name may be given several times, to compute several
        clients at once there.
      default_clients: number of clients where the arguments of a computation do not tell.

    Raises:
      errors.InputError: a device does not exist.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            _logger.warning("%s: TensorFlow has started already, memory growth stays", gpu.name)
    available = [
        f"{device.device_type}:{device.name.rsplit(':', 1)[1]}"
        for device in tf.config.list_logical_devices()
        if device.device_type in ("CPU", "GPU")
    ]
    if devices is None:
        gpus = [name for name in available if name.startswith("GPU")]
        # One step alone does not fill two cores; more at once take more memory.
        devices = gpus or ["CPU:0"] * min(2, os.cpu_count() or 1)
    for name in devices:
        if name not in available:
            raise errors.InputError(f"device: expected one of {available}, found {name!r}")
    if not devices:
        raise errors.InputError("devices: expected at least one, found none")
    return DeviceContext([f"/{name}" for name in devices], default_clients)
