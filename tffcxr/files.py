"""Files that a killed program never leaves half-written under their final name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import contextlib
import json
import logging
import os
import pathlib
import re
from typing import TYPE_CHECKING, Any, BinaryIO

import filelock

if TYPE_CHECKING:
    import pandas as pd


def write_atomically(path: pathlib.Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file under a temporary name, flushes it to the disk and renames it.

    Args:
      path: the final name; its folder is made if need be.
      write: gets the open binary file.

    Raises:
      OSError: nothing was written, or not all of it; the file that was there is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_unfinished(folder: pathlib.Path) -> None:
    """Removes what `write_atomically` left in a folder when its program was killed.

    To be called where no other program can be writing there.
    """
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Holds a lock file, made if missing; the kernel releases it however the process ends.

    Raises:
      OSError: the file cannot be made or locked.
    """
    with path.open("a") as lock:
        if not filelock.lock_descriptor(lock.fileno(), blocking=False):
            logging.getLogger(__name__).info("waiting for another run that writes %s", path.parent)
            filelock.lock_descriptor(lock.fileno())
        yield


def differ_as_names(names: Iterable[str]) -> bool:
    """Whether names differ in letters or digits, whatever their case: files can be named so."""
    plain = [re.sub("[^a-z0-9]+", "-", name.lower()) for name in names]
    return len(set(plain)) == len(plain)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file atomically, in UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_table(path: pathlib.Path, table: pd.DataFrame) -> None:
    """Writes a table without its index atomically, as CSV with the same bytes on all systems."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes JSON atomically, readable and with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")
