"""CSV files with a row per round (or per round and client) that survive a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import csv
import io
import os
import pathlib
from typing import Any

from tffcxr.errors import InputError
from tffcxr.files import write_text


class RoundLog:
    """A CSV file that grows by rounds and can be taken back to an earlier round.

    Args:
      path: the file; made with its header if it is not there.
      columns: its columns, the first of which is "round".

    Raises:
      ValueError: the first column is another.
    """

    def __init__(self, path: pathlib.Path, columns: Sequence[str]):
        if columns[0] != "round":
            raise ValueError(f"the first column must be 'round', found {columns[0]!r}")
        self._path = path
        self._columns = list(columns)

    @property
    def path(self) -> pathlib.Path:
        """The file."""
        return self._path

    def rewind(self, last_round: int) -> list[dict[str, str]]:
        """Drops all rows after a round, and a row that a kill left incomplete.

        Returns:
          The rows that remain.

        Raises:
          InputError: the file that is there has other columns; it is left as it is.
        """
        kept = {str(number) for number in range(last_round + 1)}
        rows = [row for row in self._read() if row["round"] in kept]
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self._path, text.getvalue())
        return rows

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows and flushes them to the disk; floats keep every digit.

        Raises:
          OSError: the file cannot be written, or is not there any more: `rewind` makes it.
        """
        text = io.StringIO()
        csv.DictWriter(text, self._columns, lineterminator="\n").writerows(rows)
        with open(self._path, "a", encoding="utf-8", newline="", opener=_open_existing) as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> list[dict[str, str]]:
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        complete = text[: text.rfind("\n") + 1]
        reader = csv.DictReader(io.StringIO(complete))
        if reader.fieldnames is not None and list(reader.fieldnames) != self._columns:
            raise InputError(
                f"{self._path}: expected columns {','.join(self._columns)}, "
                f"found {','.join(reader.fieldnames)}"
            )
        return list(reader)


def _open_existing(path: str, flags: int) -> int:
    """Opens a file as `open` does, but makes none, which would have no header."""
    return os.open(path, flags & ~os.O_CREAT)
