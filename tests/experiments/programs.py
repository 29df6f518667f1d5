"""Runs the programs of `experiments` in processes of their own that start fast.

A server process imports TensorFlow once, and every program is a fork of it: the program's flags
and TensorFlow's state are new each time, and a test may kill it.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import importlib
import multiprocessing
import os
import pathlib
import sys
import tempfile

import psutil

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TESTDATA = REPOSITORY / "testdata"
_TIMEOUT = 600.0

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.experiments.preloaded"])


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
      status: its exit status; minus the signal's number if it was killed.
      output: of standard output.
      errors: of standard error.
    """

    status: int
    output: str
    errors: str


class Program:
    """A program that was started.

    Args:
      name: the module's name in `experiments`.
      arguments: of its command line.
    """

    def __init__(self, name: str, arguments: Sequence[object]):
        self._folder = tempfile.TemporaryDirectory()
        self._process = _CONTEXT.Process(
            target=_run, args=(name, [str(a) for a in arguments], self._folder.name)
        )
        self._process.start()

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self._process.kill()

    def children(self) -> list[psutil.Process]:
        """The processes that it has started and that run now."""
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def wait(self) -> Ended:
        """Waits for its end."""
        self._process.join(_TIMEOUT)
        if self._process.is_alive():
            self.kill()
            self._process.join()
        status = self._process.exitcode
        texts = [_read(pathlib.Path(self._folder.name) / name) for name in ("1", "2")]
        self._folder.cleanup()
        return Ended(status if status is not None else -1, *texts)


def run(name: str, *arguments: object) -> Ended:
    """Runs a program to its end."""
    return Program(name, arguments).wait()


def refusal(ended: Ended) -> str:
    """The one line of a program that refused its input; checks that it is nothing else."""
    lines = ended.errors.strip().splitlines()
    assert ended.status == 2, ended
    assert len(lines) == 1, ended.errors
    assert ended.output == ""
    assert "Traceback" not in ended.errors
    return lines[0]


def _read(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _run(name: str, arguments: list[str], folder: str) -> None:
    for descriptor in (1, 2):
        file = os.open(os.path.join(folder, str(descriptor)), os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    module = importlib.import_module(f"experiments.{name}")
    from experiments import command_line

    # The name under which absl knows the flags of a module that is not the main program.
    sys.argv = [module.__name__, *arguments]
    try:
        command_line.run(module.main)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
