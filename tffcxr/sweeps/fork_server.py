"""Starts programs as forks of one process that has imported TensorFlow and TFF.

Importing them takes a program longer than a small run. Here it happens once:

    program ──(socket pair)── server, which imports and forks ── child, in a session of its own

The server only imports: TensorFlow starts in the child, with the child's flags. What TensorFlow
reads from the environment when it is imported is the server's, so a program that needs another
environment must be started by `child_process`. The kernel kills the server when the program ends,
and the child when the server ends.
"""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from typing import Any, BinaryIO

from tffcxr import child_process

_START = "from tffcxr.sweeps import fork_server; fork_server.main()"
_LARGEST_MESSAGE = 1 << 20
_REAPED_SECONDS = 10.0


class Fork:
    """A program that the server has started; see `child_process.Process`.

    Args:
      pid: its number.
      descriptor: a pidfd, which names this process alone, also when its number has gone to another.
      server: where the server sends its exit status.
    """

    def __init__(self, pid: int, descriptor: int, server: socket.socket):
        self.pid = pid
        self._descriptor = descriptor
        self._server = server
        self._status: int | None = None

    def send_signal(self, sig: int) -> None:
        """See `child_process.Process`."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, sig)

    def wait(self, timeout: float | None = None) -> int:
        """See `child_process.Process`; a server that died has taken the program along."""
        if self._status is None:
            if not select.select([self._server], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            answer = _receive(self._server)[0]
            if answer is None:
                select.select([self._descriptor], [], [], _REAPED_SECONDS)
            self._status = -signal.SIGKILL if answer is None else answer["status"]
            os.close(self._descriptor)
        return self._status


class Server:
    """The server and its process, which starts with the first program.

    One program at a time. To be used in the main thread, see `child_process.start`.

    Args:
      preloaded: modules that the server imports before it forks.
    """

    def __init__(self, preloaded: Sequence[str] = ()) -> None:
        self._preloaded = tuple(preloaded)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self, module: str, arguments: Sequence[str], log: BinaryIO) -> child_process.Process:
        """Starts a program as `child_process.start` does.

        A server that has died is replaced; what it prints goes to the log of the program that it
        was started for.
        """
        try:
            if self._socket is None:
                self._socket = self._start_server(log)
            request = json.dumps([module, *arguments]).encode()
            with contextlib.suppress(ConnectionError):  # Then there is no answer, either.
                socket.send_fds(self._socket, [request], [log.fileno()])
            answer, descriptors = _receive(self._socket)
            if descriptors:
                return Fork(answer["pid"], descriptors[0], self._socket)
            self.close()  # It could not import, or it or the fork was killed.
            return child_process.start(module, arguments, log)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the server, and with it the program that runs."""
        if self._process is not None:
            child_process.kill_session(self._process)
        if self._socket is not None:
            self._socket.close()
        self._process = self._socket = None

    def _start_server(self, log: BinaryIO) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _START),
                    *(str(os.getpid()), str(theirs.fileno()), *self._preloaded),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_process.environment(PYTHONUNBUFFERED="1"),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        return ours


def main() -> None:
    """The server's side: `sys.argv` has the program's id, the socket, and what to import."""
    parent, descriptor, *modules = sys.argv[1:]
    child_process.end_with(int(parent))
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # What was imported is no garbage; looking for some costs each child seconds.
    with socket.socket(fileno=int(descriptor)) as program:
        order = _serve(program)
    if order is None:
        os._exit(0)  # What the imports have registered for the end is the children's to do.
    child_process.run_program(order[0], order[1:])


def _serve(program: socket.socket) -> list[str] | None:
    """Forks for every request; returns the module and its arguments in a child, None at the end."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(program, _LARGEST_MESSAGE, 1)
        if not request:
            return None
        server, child = os.getpid(), os.fork()
        if child == 0:
            _set_up_child(server, descriptors[0])
            # Only now may it be signalled: what ends it ends its session.
            answer = json.dumps({"pid": os.getpid()}).encode()
            socket.send_fds(program, [answer], [os.pidfd_open(os.getpid())])
            return json.loads(request)
        os.close(descriptors[0])
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # Its number is still its own.
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        program.send(json.dumps({"status": status}).encode())


def _set_up_child(server: int, log: int) -> None:
    """Makes a fork what `child_process.start` makes."""
    os.setsid()
    child_process.end_with(server)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)


def _receive(server: socket.socket) -> tuple[Any, list[int]]:
    """What the server says, and descriptors that came with it; None if it has died."""
    with contextlib.suppress(ConnectionError):
        message, descriptors, _, _ = socket.recv_fds(server, _LARGEST_MESSAGE, 1)
        return json.loads(message) if message else None, descriptors
    return None, []
