"""Starts programs as processes of their own that end with the process that starts them.

A child is started with the parent's `sys.path`, which under Bazel lies in the runfiles. However the
parent ends, the kernel kills the child (`PR_SET_PDEATHSIG` of prctl(2)).
"""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import ctypes
import os
import runpy
import signal
import subprocess
import sys
from typing import BinaryIO, Protocol

_PR_SET_PDEATHSIG = 1
_START = "from tffcxr import child_process; child_process.main()"


class Process(Protocol):
    """A child that leads a session: of `start`, or of `fork_server`."""

    @property
    def pid(self) -> int:
        """Its number, and that of its session."""

    def send_signal(self, sig: int) -> None:
        """Sends a signal, unless it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end and returns its exit status; minus the signal if one ended it.

        Raises:
          subprocess.TimeoutExpired: it has not ended within `timeout` seconds.
        """


def environment(**changes: str) -> dict[str, str]:
    """The environment in which a child finds the same modules, with changes."""
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONPATH": path, **changes}


def start(
    module: str, arguments: Sequence[str], log: BinaryIO, **changes: str
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, out of reach of Ctrl-C in the terminal.

    To be called in the main thread: the kernel takes the end of the thread for that of the parent.

    Args:
      module: the program, in full ("experiments.cheXviz").
      arguments: of its command line.
      log: gets all that it prints, in the order in which it is printed.
      changes: variables of its environment that differ from those here.
    """
    return subprocess.Popen(
        [sys.executable, "-c", _START, str(os.getpid()), module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment(PYTHONUNBUFFERED="1", **changes),
        start_new_session=True,
    )


def ask(code: str, question: bytes) -> subprocess.CompletedProcess[bytes]:
    """Runs a few lines of Python to their end, with `question` as their standard input."""
    return subprocess.run(
        [sys.executable, "-c", code],
        input=question,
        capture_output=True,
        env=environment(),
        check=False,
    )


def stop(process: Process, patience: float, sig: signal.Signals = signal.SIGINT) -> None:
    """Ends a child as Ctrl-C would, and kills what is left of its session after `patience` s.

    What a script starts in the background ignores Ctrl-C, and so do its children; with SIGTERM as
    `sig` they end, too.
    """
    try:
        process.send_signal(sig)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    finally:
        kill_session(process)


def kill_session(process: Process) -> None:
    """Kills a child that leads a session, and all that it started in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_with(parent: int) -> None:
    """Has the kernel kill this process when its parent ends; ends it if that has happened."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # It died before the line above.
        sys.exit(1)


def run_program(module: str, arguments: Sequence[str]) -> None:
    """Runs a module as the main program of this process."""
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """The child's side: `sys.argv` has the parent's id, the module to run, and its arguments."""
    parent, module, *arguments = sys.argv[1:]
    end_with(int(parent))
    run_program(module, arguments)
