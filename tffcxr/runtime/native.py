"""TFF's C++ worker, confined: it ends with the program, logs to a file, and nobody else reaches it.

TFF 0.87 starts `worker_binary` with the program's own stdout, listening on every interface, and
leaves it running when the interpreter shuts down. Here `native_launcher.py` stands between
(isolation, end of life), and the context below starts the worker again and repeats the
computation when it dies.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable, Coroutine
import concurrent.futures
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import grpc
import tensorflow_federated as tff

from tffcxr import errors
from tffcxr.runtime import compiling, native_launcher, private_apis

_logger = logging.getLogger(__name__)

ISOLATIONS = ("auto", "namespace", "loopback", "none")

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_START = (
    f"import sys; sys.path.insert(0, {str(_ROOT)!r}); "
    "from tffcxr.runtime import native_launcher; sys.exit(native_launcher.main())"
)
_START_SECONDS = 60.0
_END_SECONDS = 5.0
_MAX_RESTARTS = 3
_MAX_MESSAGE_BYTES = 2 * 1000 * 1000 * 1000
_CHANNEL_OPTIONS = [
    ("grpc.max_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.client_idle_timeout_ms", 2**31 - 1),  # The worker's values belong to the connection.
]


class Worker:
    """One launcher with its `worker_binary`, from start to stop.

    Attributes:
      stub: what TFF's remote executor talks to.
      log_file: where the worker's output goes.
    """

    def __init__(
        self, log_file: pathlib.Path | None, isolation: str, max_concurrent_calls: int
    ) -> None:
        self._owner = os.getpid()
        self._folder = _private_folder()
        self.log_file = log_file or self._folder / "worker.log"
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        socket = self._folder / "socket"
        command = [
            *(sys.executable, "-I", "-S", "-c", _START),
            f"--program={self._owner}",
            f"--socket={socket}",
            f"--isolation={isolation}",
            f"--worker={pathlib.Path(tff.__file__).parent / 'data' / 'worker_binary'}",
            f"--max_concurrent_computation_calls={max_concurrent_calls}",
        ]
        self._log = self.log_file.open("a+b")  # The launcher removes a log in its own folder.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # A Ctrl-C at the terminal is not for the worker.
        )
        atexit.register(self.stop)
        deadline = time.monotonic() + _START_SECONDS
        self._wait(socket.exists, deadline)
        channel = grpc.insecure_channel(f"unix:{socket}", _CHANNEL_OPTIONS)
        is_ready = grpc.channel_ready_future(channel)
        self._wait(is_ready.done, deadline)
        self.stub = private_apis.WorkerStub(channel)

    def _wait(self, ready: Callable[[], bool], deadline: float) -> None:
        while not ready():
            status = self._process.poll()
            if status is None and time.monotonic() < deadline:
                time.sleep(0.01)
                continue
            log = self.log_tail()
            self.stop()
            if status == native_launcher.EXIT_NOT_ISOLATED:
                raise errors.InputError(
                    "the native worker listens on every network interface without "
                    "authentication, and this system offers no way to confine it without root "
                    f"({log}); use the device executor, or isolation='none' to accept this"
                )
            raise RuntimeError(f"TFF's native worker did not start: {log}")

    @property
    def launcher_pid(self) -> int:
        """The process whose child `worker_binary` is."""
        return self._process.pid

    def log_tail(self) -> str:
        """The last lines of the worker's output, on one line."""
        self._log.seek(0)
        return "; ".join(self._log.read().decode(errors="replace").splitlines()[-5:])

    def has_ended(self, within: float = 0.0) -> bool:
        """Whether the worker has ended, waiting up to `within` seconds for that."""
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Ends the worker and removes its folder. Harmless when repeated."""
        if os.getpid() != self._owner:
            return  # A forked child inherits the exit handler, but not the worker.
        atexit.unregister(self.stop)
        self._process.kill()  # The kernel kills the worker with its launcher.
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _WorkerExecutors(tff.framework.ExecutorFactory):
    """Remote executors, one per number of clients, on a worker started when first needed."""

    def __init__(self, start: Callable[[], Worker], default_clients: int) -> None:
        self._start = start
        self._default_clients = default_clients
        self._executors: dict[int, tff.framework.RemoteExecutor] = {}
        self.worker: Worker | None = None

    def create_executor(self, cardinalities: Any) -> tff.framework.RemoteExecutor:
        if self.worker is None:
            self.worker = self._start()
        clients = cardinalities.get(tff.CLIENTS, self._default_clients)
        if clients not in self._executors:
            executor = tff.framework.RemoteExecutor(self.worker.stub)
            executor.set_cardinalities({tff.CLIENTS: clients})
            self._executors[clients] = executor
        return self._executors[clients]

    def clean_up_executor(self, cardinalities: Any) -> None:
        clients = cardinalities.get(tff.CLIENTS, self._default_clients)
        executor = self._executors.pop(clients, None)
        if executor is not None:
            executor.close()

    def stop(self) -> None:
        """Ends the worker; the next executor starts another."""
        if self.worker is not None:
            self.worker.stop()
        self.worker = None
        self._executors.clear()


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine wherever this is called from, an event loop included.

    TFF's own runner has a thread that its destructor waits for, which can hang at exit when the
    thread is inside a call.
    """
    result: concurrent.futures.Future = concurrent.futures.Future()

    def target() -> None:
        try:
            result.set_result(asyncio.run(coroutine))
        except BaseException as error:  # noqa: BLE001  Whatever it is, it is for the caller.
            result.set_exception(error)

    threading.Thread(target=target, daemon=True).start()
    return result.result()


class NativeContext(tff.framework.SyncContext):
    """TFF's native execution context on a confined worker.

    A computation during which the worker dies is repeated on a new one, at most three times.
    """

    def __init__(self, executors: _WorkerExecutors) -> None:
        self._executors = executors
        self._context = tff.framework.AsyncExecutionContext(
            executor_fn=executors,
            compiler_fn=compiling.compile_for_native,
            transform_args=tff.tensorflow.transform_args,
            transform_result=tff.tensorflow.transform_result,
        )

    @property
    def worker(self) -> Worker | None:
        """The running worker, None before the first computation."""
        return self._executors.worker

    def invoke(self, comp: Any, arg: Any) -> Any:
        """Runs `comp` on `arg`.

        Raises:
          RuntimeError: the worker died again on every repetition.
        """
        for repetition in range(_MAX_RESTARTS + 1):
            try:
                return _run(private_apis.invoke_once(self._context, comp, arg))
            except tff.framework.RetryableError:
                worker = self._executors.worker
                if worker is None or not worker.has_ended(within=_END_SECONDS):
                    raise  # The computation's own failure.
                log = worker.log_tail()
                self._executors.stop()
                _logger.warning("the native worker ended (%s)", log)
            if repetition < _MAX_RESTARTS:
                _logger.warning("starting it again and repeating the computation")
        raise RuntimeError(f"the native worker ended {_MAX_RESTARTS + 1} times in a row: {log}")

    def close(self) -> None:
        """Ends the worker. A later computation starts another."""
        self._executors.stop()


def native_context(
    log_file: pathlib.Path | None = None,
    *,
    isolation: str = "auto",
    default_clients: int = 0,
    max_concurrent_calls: int = -1,
) -> NativeContext:
    """Makes a context that runs computations in TFF's C++ worker, started when first needed.

    Args:
      log_file: receives the worker's output, appended; None drops it when the worker ends.
      isolation: how the worker is kept from the network: "namespace" (its own network namespace:
        nobody but this program reaches it, and it reaches nobody), "loopback" (a seccomp filter:
        nobody on another machine reaches it), "auto" (the first of these that the system
        allows) or "none" (as TFF does: everybody reaches it).
      default_clients: number of clients where the arguments do not tell.
      max_concurrent_calls: how many calls of one computation run at once; no limit if negative.

    Raises:
      errors.InputError: `isolation` is none of these; on the first computation, the system allows
        none of the ways to isolate.
    """
    if isolation not in ISOLATIONS:
        raise errors.InputError(f"isolation: expected one of {ISOLATIONS}, found {isolation!r}")
    return NativeContext(
        _WorkerExecutors(lambda: Worker(log_file, isolation, max_concurrent_calls), default_clients)
    )


def _private_folder() -> pathlib.Path:
    """A new folder of mode 0700 whose path leaves room for a Unix socket's name (107 bytes)."""
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > 80:
        base = "/tmp"
    return pathlib.Path(tempfile.mkdtemp(prefix="tffcxr-", dir=base))
