"""Shows the rounds of a run while it trains, from what it adds to its log."""

from __future__ import annotations

import shutil
import time
from typing import BinaryIO, TextIO

from tffcxr.training import progress

# In a file, a line of a run is followed by its next one after so many seconds at the earliest.
_BETWEEN_SECONDS = 10.0
_CLEAR = "\r\x1b[K"


class Display:
    """Where rounds are shown: in one line of a terminal, or now and then in a line of a file.

    Args:
      stream: the terminal or file.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def of(self, title: str, log: BinaryIO) -> Rounds:
        """Shows a run's rounds from here on.

        Args:
          title: stands before every round.
          log: what it prints, from where it starts.
        """
        return Rounds(self._stream, title, log)


class Rounds:
    """The rounds of one run; as a context manager, it removes the line from a terminal."""

    def __init__(self, stream: TextIO, title: str, log: BinaryIO):
        self._stream = stream
        self._title = title
        self._log = log
        self._shown_at = time.monotonic()
        self._unfinished = b""
        self._latest: str | None = None

    def __enter__(self) -> Rounds:
        return self

    def __exit__(self, *unused_error: object) -> None:
        if self._stream.isatty():
            print(_CLEAR, end="", file=self._stream, flush=True)

    def update(self) -> None:
        """Shows the latest round, if there is a new one that may be shown now."""
        *lines, self._unfinished = (self._unfinished + self._log.read()).split(b"\n")
        texts = (line.decode(errors="replace") for line in lines)
        rounds = [text for text in texts if progress.is_round(text)]
        self._latest = rounds[-1] if rounds else self._latest
        if self._latest is None:
            return
        line = f"{self._title}: {self._latest}"
        if self._stream.isatty():
            width = shutil.get_terminal_size().columns
            print(_CLEAR + line[: width - 1], end="", file=self._stream, flush=True)
        elif time.monotonic() - self._shown_at < _BETWEEN_SECONDS:
            return
        else:
            print(line, file=self._stream, flush=True)
        self._shown_at, self._latest = time.monotonic(), None
