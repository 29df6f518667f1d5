"""A Ray cluster: one that runs already, or one on this machine that ends with the program."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import logging
import os
import socket
import sys
import tempfile
import time
import warnings

import psutil
import ray

from tffcxr import errors
from tffcxr.runtime import own_folder

_logger = logging.getLogger(__name__)

_SERVICES = ("gcs_server", "raylet")
_STARTS = 5
_LONGEST_FOLDER = 30  # Ray adds some 70 bytes to it, and a Unix socket's name has at most 107.
_LOOPBACK = "127.0.0.1"
_OF_THIS_MACHINE = "auto"
_CONNECT_SECONDS = 10.0
_LOADING_SECONDS = 1.0
_ON_CPU_AT_ONCE = 2  # Actors per machine, as the local engine computes two clients at once.


class Cluster:
    """The connection to a cluster.

    Args:
      address: of a running cluster, as "HOST:PORT" or "auto"; None starts one on this machine, for
        this program alone.
      workers: how many actors there are to be; None for as many as the cluster has GPUs, or two per
        machine without any.

    Attributes:
      workers: how many actors there are to be.
      on_gpu: whether each of them has a GPU.

    Raises:
      errors.InputError: there is no cluster at the address, or it is too small.
      errors.RunError: one of this program's own cannot be started.
    """

    def __init__(self, address: str | None, workers: int | None) -> None:
        self._address = address
        self._wanted = workers
        self._folder: own_folder.OwnFolder | None = None
        self._services: list[psutil.Process] = []
        self._processes: list[psutil.Process] = []
        self._connect()
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        self.on_gpu = gpus > 0
        self.workers = workers or gpus or self._workers_on_cpu()
        available = gpus or int(resources.get("CPU", 0))
        if self.workers > available:
            self.disconnect()
            raise errors.InputError(
                f"--ray_workers: expected at most {available}, as the cluster has "
                f"{'GPUs' if gpus else 'CPUs'}, found {self.workers}"
            )

    @staticmethod
    def _workers_on_cpu() -> int:
        counts = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        return max(1, sum(min(_ON_CPU_AT_ONCE, int(count)) for count in counts))

    @property
    def is_lost(self) -> bool:
        """Whether a cluster of this program's own has ended; of others Ray says so in time."""
        return any(not _is_running(service) for service in self._services)

    def reconnect(self) -> None:
        """Starts another cluster of this program's own, in place of one that is lost."""
        self.disconnect()
        self._connect()

    def disconnect(self) -> None:
        """Leaves the cluster, and ends it if it is this program's own."""
        ray.shutdown()
        # Those of a raylet that was killed would stay for minutes, and those of a cluster that has
        # not started altogether until the program ends.
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._services, self._processes = [], []
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def _connect(self) -> None:
        with _environment(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            if self._address is None:
                self._start()
            else:
                self._join(self._address)

    def _start(self) -> None:
        """Starts a cluster; again if that fails, as when one of its processes is killed meanwhile.

        Raises:
          errors.RunError: it has failed several times.
        """
        for left in reversed(range(_STARTS)):
            try:
                self._start_once()
                return
            except Exception as error:  # noqa: BLE001  Ray raises this very class.
                reason = errors.one_line(error)
            self.disconnect()
            if left:
                _logger.warning("a Ray cluster did not start (%s); trying again", reason)
        raise errors.RunError(f"a Ray cluster did not start on this machine: {reason}")

    def _start_once(self) -> None:
        base = tempfile.gettempdir()
        if len(os.fsencode(base)) > _LONGEST_FOLDER:
            base = "/tmp"
        self._folder = own_folder.OwnFolder(base)
        try:
            ray.init(
                address="local",
                num_cpus=self._wanted or min(_ON_CPU_AT_ONCE, os.cpu_count() or 1),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address=_LOOPBACK,  # Then Ray's services listen there alone.
                _temp_dir=str(self._folder.path),
            )
        finally:
            self._note_processes(str(self._folder.path))
        if len(self._services) < len(_SERVICES):
            raise errors.RunError(f"expected {' and '.join(_SERVICES)} to run, found one ended")

    def _note_processes(self, path: str) -> None:
        """Notes which processes this one has started with a path in their command."""
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if path in _command(child):
                    self._processes += [child, *child.children()]
                    if child.name() in _SERVICES:
                        self._services.append(child)

    def _join(self, address: str) -> None:
        try:
            if address != _OF_THIS_MACHINE:  # Ray itself would try for some minutes.
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise errors.InputError(
                "--ray_address: expected the address of a Ray cluster that this machine is part "
                f"of, found {address!r}: {errors.one_line(error)}"
            ) from error


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """What Ray and its workers find in the environment when they start."""
    changes = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # As the local engine; Ray's own default is 15.
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def of_workers() -> dict[str, str]:
    """The environment of an actor, wherever it is started."""
    chosen = {name: value for name, value in os.environ.items() if name.startswith("TF_")}
    return {**chosen, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _command(process: psutil.Process) -> str:
    """The command of a process, which is empty for a moment while the kernel loads the program.

    Raises:
      psutil.NoSuchProcess: it has ended.
    """
    end = time.monotonic() + _LOADING_SECONDS
    while not (command := process.cmdline()) and time.monotonic() < end:
        time.sleep(0.001)
    return " ".join(command)


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
