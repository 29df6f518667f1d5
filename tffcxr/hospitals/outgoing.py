"""The log of what leaves a hospital, outgoing.jsonl: a line of JSON per message, before it is sent.

    number    of the message, from 1
    time      ISO 8601, in UTC
    kind      of the message
    about     its values, all of them
    fields    of every array: name, dtype, shape, bytes, and the SHA-256 of the bytes that are sent
    previous  the SHA-256 of the line before, without its end of line; empty in the first

A line that was changed, added or removed between others breaks the chain. Whoever can write the
file can also make another chain, or cut its end: the SHA-256 of the last line, kept elsewhere,
shows that, too.
"""

from __future__ import annotations

from collections.abc import Mapping
import datetime
import hashlib
import io
import json
import os
import pathlib
import threading
from typing import Any

import filelock
import numpy as np

from tffcxr.errors import InputError
from tffcxr.hospitals import wire

_BLOCK = 1 << 16


class OutgoingLog:
    """Appends to the log; one program at a time has it open.

    Half a line at the end, which a killed program leaves, is cut off: its message was not sent.

    Args:
      path: of the file, which is made if it is missing.

    Raises:
      InputError: another program has the file open, or it is no such log, or cannot be written.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._lock = threading.Lock()
        self._file = _open(path)
        try:
            if not filelock.lock_descriptor(self._file.fileno(), blocking=False):
                raise InputError(f"{path}: expected to be its only writer, found another program")
            end = _end_of_lines(self._file)
            self._file.truncate(end)
            last = _last_line(self._file, end)
            self._number = _number(last) if last else 0
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._file.close()
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: expected a log of messages, found other lines") from None
        self._previous = hashlib.sha256(last).hexdigest() if last else ""
        self._size = end

    def record(self, message: wire.Message) -> None:
        """Appends a message that is about to be sent.

        Raises:
          OSError: the line was not written; the log is as before, and the message may not be sent.
        """
        fields = [_described(field) for field in message.fields]
        with self._lock:
            line = json.dumps(
                {
                    "number": self._number + 1,
                    "time": datetime.datetime.now(datetime.timezone.utc).isoformat(),
                    "kind": message.kind,
                    "about": dict(message.about),
                    "fields": fields,
                    "previous": self._previous,
                }
            ).encode()
            try:
                _write(self._file, line + b"\n")
            except OSError:
                self._file.truncate(self._size)
                raise
            self._number += 1
            self._previous = hashlib.sha256(line).hexdigest()
            self._size += len(line) + 1

    def close(self) -> None:
        """Closes the file, which another program may open then."""
        self._file.close()


def verify(path: pathlib.Path) -> int:
    """Checks the chain of a log from its first line to its last.

    Returns:
      the number of lines.

    Raises:
      InputError: the file cannot be read, or a line does not fit; the message has its number.
    """
    previous, number = "", 0
    try:
        with path.open("rb") as file:
            for line in file:
                number += 1
                _check(path, number, line, previous)
                previous = hashlib.sha256(line[:-1]).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: expected a log to read, found {error.strerror}") from None
    return number


def _check(path: pathlib.Path, number: int, line: bytes, previous: str) -> None:
    if not line.endswith(b"\n"):
        raise InputError(f"{path}: line {number}: expected a whole line, found half of one")
    try:
        entry = json.loads(line)
        found = (entry["number"], entry["previous"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path}: line {number}: expected a message, found other text") from None
    if found != (number, previous):
        raise InputError(
            f"{path}: line {number}: expected message {number}, after the line before it, found "
            f"message {found[0]!r} after another line; this line or the one before was changed, "
            "or lines are missing"
        )


def _described(field: wire.Field) -> Mapping[str, Any]:
    array = np.ascontiguousarray(field.array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    content = memoryview(array).cast("B") if array.nbytes else b""
    return {
        "name": field.name,
        "dtype": array.dtype.name,
        "shape": list(field.array.shape),
        "bytes": array.nbytes,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _open(path: pathlib.Path) -> io.FileIO:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise InputError(f"{path}: expected a log to write, found {error.strerror}") from None
    # Without a buffer a failed write leaves nothing that would be written later.
    return io.FileIO(descriptor, "r+")


def _write(file: io.FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _end_of_lines(file: io.FileIO) -> int:
    """Where the last whole line ends."""
    return _after_newline(file, file.seek(0, os.SEEK_END))


def _last_line(file: io.FileIO, end: int) -> bytes:
    """The last whole line, without its end of line; empty if there is none."""
    if not end:
        return b""
    start = _after_newline(file, end - 1)
    file.seek(start)
    return _read(file, end - 1 - start)


def _after_newline(file: io.FileIO, end: int) -> int:
    """The place after the last newline before a place; 0 if there is none."""
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        found = _read(file, end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _read(file: io.FileIO, size: int) -> bytes:
    content = bytearray()
    while len(content) < size and (part := file.read(size - len(content))):
        content += part
    return bytes(content)


def _number(line: bytes) -> int:
    number = json.loads(line)["number"]
    if type(number) is not int:
        raise ValueError(number)
    return number
