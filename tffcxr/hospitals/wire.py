"""Messages between the coordinator and a hospital: plain values and arrays, nothing executable.

    4 bytes  magic            4 bytes  length of the head, little-endian
    head     JSON: `kind`, `about`, and of every field `name`, `dtype`, `shape`
    content  of every field, in order: the array's bytes, little-endian, in C order

A reader knows from the head how long the message is, and refuses it before reading on if that is
more than it expects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np

from tffcxr.errors import InputError

MAGIC = b"TCX1"
CHUNK_BYTES = 1 << 20
_LARGEST_HEAD = 16 << 20
_MOST_AXES = 32
_LONGEST_AXIS = 1 << 40
_DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
           "float16", "float32", "float64")  # fmt: skip


class MessageError(InputError):
    """What arrives is no message, or a larger one than its reader expects."""


class CutMessageError(MessageError):
    """The end of a message is missing: its connection broke, or its sender stopped."""


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """An array of a message.

    Attributes:
      name: for logs.
      array: of numbers or truth values.
    """

    name: str
    array: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Message:
    """What one side says to the other.

    Attributes:
      kind: what it is about, such as "poll".
      about: JSON values by name.
      fields: arrays, in an order that both sides know.
    """

    kind: str
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fields: tuple[Field, ...] = ()


def encode(message: Message) -> Iterator[bytes]:
    """Yields the bytes of a message in chunks of at most `CHUNK_BYTES`.

    Raises:
      TypeError: an array is not of numbers or truth values.
    """
    fields = []
    for field in message.fields:
        if field.array.dtype.name not in _DTYPES:
            raise TypeError(f"expected numbers in {field.name}, found {field.array.dtype}")
        fields.append([field.name, field.array.dtype.name, list(field.array.shape)])
    head = json.dumps(
        {"kind": message.kind, "about": dict(message.about), "fields": fields}, allow_nan=True
    ).encode()
    yield from _cut(MAGIC + len(head).to_bytes(4, "little") + head)
    for field in message.fields:
        array = np.ascontiguousarray(field.array)
        yield from _cut(memoryview(array.astype(array.dtype.newbyteorder("<"), copy=False)))


def begun(message: Message) -> Iterator[bytes]:
    """As `encode`; what cannot be sent raises TypeError here, not where the chunks are taken."""
    chunks = encode(message)
    return itertools.chain([next(chunks)], chunks)


def decode(chunks: Iterable[bytes], largest: int | Callable[[str], int]) -> Message:
    """The message that arrives in chunks.

    Args:
      chunks: its bytes, however they are cut.
      largest: how many bytes it may have in all; or a function that says so of its kind, and may
        raise MessageError.

    Raises:
      MessageError: these are no message, or it says that it is larger, or ends early or late.
    """
    reader = _Reader(iter(chunks))
    start = reader.take(8)
    if start[:4] != MAGIC:
        raise MessageError("expected a message, found other bytes")
    length = int.from_bytes(start[4:], "little")
    if length > _LARGEST_HEAD:
        raise MessageError(f"expected a head of at most {_LARGEST_HEAD} bytes, found {length}")
    kind, about, fields = _head(bytes(reader.take(length)))
    sizes = [math.prod(shape) * dtype.itemsize for _, dtype, shape in fields]
    most = largest(kind) if callable(largest) else largest
    if 8 + length + sum(sizes) > most:
        raise MessageError(
            f"expected a {kind[:40]!r} of at most {most} bytes, found {8 + length + sum(sizes)}"
        )
    found = tuple(
        Field(name, _array(reader.take(size), dtype, shape))
        for (name, dtype, shape), size in zip(fields, sizes)
    )
    if not reader.is_at_end():
        raise MessageError("expected the end of a message, found more bytes")
    return Message(kind, about, found)


def _head(content: bytes) -> tuple[str, dict[str, Any], list[tuple[str, np.dtype, list[int]]]]:
    try:
        head = json.loads(content)
        kind, about = head["kind"], head["about"]
        fields = [(name, _dtype(dtype), _shape(shape)) for name, dtype, shape in head["fields"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MessageError("expected the head of a message, found other bytes") from error
    texts = (kind, *(name for name, _, _ in fields))
    if not (isinstance(about, dict) and all(isinstance(text, str) for text in texts)):
        raise MessageError("expected the head of a message, found other values")
    return kind, about, fields


def _dtype(name: Any) -> np.dtype:
    if name not in _DTYPES:
        raise ValueError(name)
    return np.dtype(name).newbyteorder("<")


def _shape(shape: Any) -> list[int]:
    if not (isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)):
        raise ValueError(shape)
    if len(shape) > _MOST_AXES or max(shape, default=0) > _LONGEST_AXIS:
        raise ValueError(shape)
    return shape


def _array(content: bytearray, dtype: np.dtype, shape: list[int]) -> np.ndarray:
    try:
        return np.frombuffer(content, dtype).reshape(shape)
    except ValueError as error:  # NumPy has not every shape of an empty array.
        raise MessageError(f"expected the shape of an array, found {shape}") from error


def _cut(content: bytes | memoryview) -> Iterator[bytes]:
    view = memoryview(content)
    if not view.nbytes:
        return
    view = view.cast("B")
    for start in range(0, len(view), CHUNK_BYTES):
        yield bytes(view[start : start + CHUNK_BYTES])


class _Reader:
    """Takes so many bytes from chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def take(self, size: int) -> bytearray:
        taken = bytearray()
        while len(taken) < size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    raise CutMessageError("expected the rest of a message, found its end")
            part = self._rest[: size - len(taken)]
            taken += part
            self._rest = self._rest[len(part) :]
        return taken

    def is_at_end(self) -> bool:
        return not self._rest and not any(len(chunk) for chunk in self._chunks)
