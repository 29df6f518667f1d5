"""Programs that run until they end, or are killed."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import pathlib
import signal
from typing import Protocol

import psutil

from tests.experiments import programs
from tffcxr import child_process

# No proxy carries what stays on this computer.
_DIRECT = {"no_grpc_proxy": "127.0.0.1"}


class Process(Protocol):
    """A program that was started."""

    def status(self) -> int | None:
        """Its exit status; None while it runs."""

    def children(self) -> list[psutil.Process]:
        """What it has started and that runs now."""

    def send(self, sig: signal.Signals) -> None:
        """Sends it a signal, unless it has ended."""

    def kill(self) -> None:
        """Ends it with SIGKILL, and waits for that."""

    def said(self) -> str:
        """What it has printed on its standard error output so far."""


class AsUsersDo:
    """A program in a process of its own."""

    def __init__(self, log: pathlib.Path, program: str, words: Sequence[str]) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = child_process.start(f"experiments.{program}", words, file, **_DIRECT)

    def status(self) -> int | None:
        return self._process.poll()

    def children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self._process.pid).children(recursive=True)
        return []

    def send(self, sig: signal.Signals) -> None:
        self._process.send_signal(sig)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


class Fork:
    """A fork of a program that has imported TensorFlow."""

    def __init__(self, log: pathlib.Path, program: str, words: Sequence[str]) -> None:
        del log  # It keeps one of its own.
        self._program = programs.Program(program, words, environment=_DIRECT)

    def status(self) -> int | None:
        return self._program.status

    def children(self) -> list[psutil.Process]:
        return self._program.children()

    def send(self, sig: signal.Signals) -> None:
        self._program.send(sig)

    def kill(self) -> None:
        self._program.kill()
        self._program.wait()

    def said(self) -> str:
        return self._program.errors()
