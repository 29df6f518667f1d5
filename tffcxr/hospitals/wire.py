"""Messages between the coordinator and a hospital: plain values and arrays, nothing executable.

    4 bytes  magic            4 bytes  length of the head, little-endian
    head     JSON: `kind`, `about`, and of every field `name`, `dtype`, `shape`
    content  of every field, in order: the array's bytes, little-endian, in C order

A reader knows from the head how long the message is, and refuses it before reading on if that is
more than it expects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import json
import math
from typing import Any, Protocol

import numpy as np

from tffcxr.errors import InputError

MAGIC = b"TCX1"
CHUNK_BYTES = 1 << 17  # Each connection has some in memory.
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
      chunks: its bytes as they are sent, where many messages have it; made for each otherwise.
    """

    name: str
    array: np.ndarray
    chunks: tuple[bytes, ...] = ()

    def serialized(self) -> Field:
        """The same for many messages, which share its bytes.

        Raises:
          TypeError: see `encode`.
        """
        return dataclasses.replace(self, chunks=tuple(_chunks(self)))


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the head of a message says of an array.

    Attributes:
      name: of its field.
      dtype: little-endian.
      shape: its axes.
    """

    name: str
    dtype: np.dtype
    shape: list[int]

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def field(self, content: bytearray) -> Field:
        """The array that has these bytes.

        Raises:
          MessageError: NumPy has no such array.
        """
        try:
            return Field(self.name, np.frombuffer(content, self.dtype).reshape(self.shape))
        except ValueError as error:  # NumPy has not every shape of an empty array.
            raise MessageError(f"expected the shape of an array, found {self.shape}") from error


class Store(Protocol):
    """Takes the arrays of a message that arrives."""

    def __call__(
        self, layouts: Sequence[Layout], take: Callable[[int], Iterator[memoryview]]
    ) -> Sequence[Field]:
        """Stores the arrays.

        Args:
          layouts: of all arrays.
          take: yields so many of the bytes that come next, piece by piece; MessageError where
            they do not come.

        Returns:
          The fields of the message.
        """


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
    fields: Sequence[Field] = ()


def encode(message: Message) -> Iterator[bytes]:
    """Yields the bytes of a message in chunks of at most `CHUNK_BYTES`.

    Raises:
      TypeError: an array is not of numbers or truth values.
    """
    fields = []
    for field in message.fields:
        _check_numbers(field)
        fields.append([field.name, field.array.dtype.name, list(field.array.shape)])
    head = json.dumps(
        {"kind": message.kind, "about": dict(message.about), "fields": fields}, allow_nan=True
    ).encode()
    yield from _cut(MAGIC + len(head).to_bytes(4, "little") + head)
    for field in message.fields:
        yield from field.chunks or _chunks(field)


def begun(message: Message) -> Iterator[bytes]:
    """As `encode`; what cannot be sent raises TypeError here, not where the chunks are taken."""
    chunks = encode(message)
    return itertools.chain([next(chunks)], chunks)


def decode(
    chunks: Iterable[bytes],
    largest: int | Callable[[str], int],
    store_of: Callable[[Message], Store] | None = None,
) -> Message:
    """The message that arrives in chunks.

    Args:
      chunks: its bytes, however they are cut.
      largest: how many bytes it may have in all; or a function that says so of its kind, and may
        raise MessageError.
      store_of: what takes the arrays of a message, of which it gets the rest; None where all are
        kept in memory, see `in_memory`.

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
    kind, about, layouts = _head(bytes(reader.take(length)))
    size = 8 + length + sum(layout.size for layout in layouts)
    most = largest(kind) if callable(largest) else largest
    if size > most:
        raise MessageError(f"expected a {kind[:40]!r} of at most {most} bytes, found {size}")
    store = in_memory if store_of is None else store_of(Message(kind, about))
    found = store(layouts, reader.pieces)
    if not reader.is_at_end():
        raise MessageError("expected the end of a message, found more bytes")
    return Message(kind, about, found)


def in_memory(
    layouts: Sequence[Layout], take: Callable[[int], Iterator[memoryview]]
) -> Sequence[Field]:
    """A `Store` that keeps the arrays in memory."""
    return tuple(layout.field(_joined(take(layout.size))) for layout in layouts)


def nowhere(
    layouts: Sequence[Layout], take: Callable[[int], Iterator[memoryview]]
) -> Sequence[Field]:
    """A `Store` that drops the arrays of a message whose values alone count."""
    for layout in layouts:
        for _ in take(layout.size):
            pass
    return ()


def _check_numbers(field: Field) -> None:
    if field.array.dtype.name not in _DTYPES:
        raise TypeError(f"expected numbers in {field.name}, found {field.array.dtype}")


def _chunks(field: Field) -> Iterator[bytes]:
    _check_numbers(field)
    array = np.ascontiguousarray(field.array)
    yield from _cut(memoryview(array.astype(array.dtype.newbyteorder("<"), copy=False)))


def _head(content: bytes) -> tuple[str, dict[str, Any], list[Layout]]:
    try:
        head = json.loads(content)
        kind, about = head["kind"], head["about"]
        layouts = [
            Layout(name, _dtype(dtype), _shape(shape)) for name, dtype, shape in head["fields"]
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MessageError("expected the head of a message, found other bytes") from error
    texts = (kind, *(layout.name for layout in layouts))
    if not (isinstance(about, dict) and all(isinstance(text, str) for text in texts)):
        raise MessageError("expected the head of a message, found other values")
    return kind, about, layouts


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


def _joined(pieces: Iterable[memoryview]) -> bytearray:
    joined = bytearray()
    for piece in pieces:
        joined += piece
    return joined


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
        return _joined(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        while size > 0:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    raise CutMessageError("expected the rest of a message, found its end")
            piece = self._rest[:size]
            size -= len(piece)
            self._rest = self._rest[len(piece) :]
            yield piece

    def is_at_end(self) -> bool:
        return not self._rest and not any(len(chunk) for chunk in self._chunks)
