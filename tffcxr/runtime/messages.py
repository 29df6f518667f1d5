"""Values of a computation as messages: TFF's `executor_pb2.Value`, with the arrays behind it.

    8 bytes  length of the head, little-endian
    head     an `executor_pb2.Value` of all values:
             tensor    dtype and shape; texts also with their content, as a list of bytes
             struct    a message per element, in the order of the type
             sequence  the graph of a `tf.data.Dataset`, which names files, and the type of its
                       elements
    content  of every tensor but texts, in the order of the head: its bytes in C order, filled up to
             a multiple of 16

The arrays are no part of the head since protobuf copies bytes several times. The receiver knows the
type of what it expects, and refuses anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
from typing import Any, TypeAlias

from google.protobuf import message as protobuf
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.runtime import private_apis, sequences

Buffer: TypeAlias = bytes | memoryview

_Value = private_apis.executor_pb2.Value
_LENGTH_BYTES = 8
_ALIGNMENT = 16  # Of the largest numbers.


def encode_all(found: Sequence[Any], types: Sequence[tff.Type | None]) -> bytes:
    """The message of several values."""
    head, parts = _Value(), _Parts()
    head.struct.SetInParent()
    for value, type_spec in zip(found, types):
        _fill(head.struct.element.add().value, value, _known(type_spec), parts)
    content = head.SerializeToString()
    length = len(content).to_bytes(_LENGTH_BYTES, "little")
    padding = bytes(_padding(_LENGTH_BYTES + len(content)))
    return b"".join([length, content, padding, *parts.parts])


def decode_all(content: Buffer, types: Sequence[tff.Type | None]) -> list[Any]:
    """The values that `encode_all` has had.

    Raises:
      TypeError: they are others than expected, or these are no such bytes.
    """
    view = memoryview(content)
    start = _LENGTH_BYTES + int.from_bytes(view[:_LENGTH_BYTES], "little")
    try:
        if not _LENGTH_BYTES <= start <= len(view):
            raise protobuf.DecodeError
        head = _Value.FromString(bytes(view[_LENGTH_BYTES:start]))
    except protobuf.DecodeError as error:
        raise TypeError(f"expected a message, found {len(view)} other bytes") from error
    found = head.struct.element
    if len(found) != len(types):
        raise TypeError(f"expected {len(types)} values, found {len(found)}")
    reader = _Reader(view, start + _padding(start))
    values = [_decode(each.value, _known(of), reader) for each, of in zip(found, types)]
    reader.check_end()
    return values


class _Parts:
    """The arrays of a message that is written."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def add(self, array: np.ndarray) -> None:
        """Appends an array, without copying it if it is contiguous."""
        self.parts.append(array.reshape(-1).view(np.uint8))
        self.parts.append(bytes(_padding(array.nbytes)))


class _Reader:
    """The arrays of a message that is read, in order."""

    def __init__(self, view: memoryview, place: int) -> None:
        self._view = view
        self._place = place

    def take(self, dtype: Any, shape: Sequence[int]) -> np.ndarray:
        """The next array, not copied.

        Raises:
          TypeError: the message has not so many bytes.
        """
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        if min(shape, default=0) < 0 or size > len(self._view) - self._place:
            raise TypeError(f"expected {dtype.__name__}{list(shape)}, found the message's end")
        array = np.frombuffer(self._view[self._place : self._place + size], dtype)
        self._place += size + _padding(size)
        return array.reshape(shape)

    def check_end(self) -> None:
        """Checks that nothing is left.

        Raises:
          TypeError: something is.
        """
        if len(self._view) != self._place:
            raise TypeError(f"expected {self._place} bytes, found {len(self._view)}")


def _padding(size: int) -> int:
    return -size % _ALIGNMENT


def _fill(
    message: private_apis.executor_pb2.Value, value: Any, type_spec: tff.Type, parts: _Parts
) -> None:
    """Makes an empty message that of a value in the form that `interpreter.py` gives to it.

    In place, since protobuf copies a message that becomes a part of another.
    """
    if isinstance(type_spec, tff.StructType):
        message.struct.SetInParent()
        for part, part_type in zip(value, sequences.element_types(type_spec)):
            _fill(message.struct.element.add().value, part, part_type, parts)
    elif isinstance(type_spec, tff.SequenceType):
        message.sequence.CopyFrom(_encode_sequence(value, type_spec.element))
    elif value.dtype == tf.string:
        dtype = type_spec.dtype.type
        message.array.CopyFrom(private_apis.arrays.to_proto(value.numpy(), dtype_hint=dtype))
    else:
        message.array.dtype = private_apis.dtypes.to_proto(type_spec.dtype.type)
        message.array.shape.dim.extend(value.shape)
        parts.add(np.ascontiguousarray(value))


def _known(type_spec: tff.Type | None) -> tff.Type:
    assert type_spec is not None  # The interpreter gives one to every placed value.
    return type_spec


def _decode(message: private_apis.executor_pb2.Value, type_spec: tff.Type, reader: _Reader) -> Any:
    kind = message.WhichOneof("value")
    if isinstance(type_spec, tff.StructType) and kind == "struct":
        types, found = sequences.element_types(type_spec), message.struct.element
        if len(found) != len(types):
            raise TypeError(f"expected {len(types)} elements of {type_spec}, found {len(found)}")
        return tuple(_decode(each.value, of, reader) for each, of in zip(found, types))
    if isinstance(type_spec, tff.SequenceType) and kind == "sequence":
        return _decode_sequence(message.sequence, type_spec)
    if isinstance(type_spec, tff.TensorType) and kind == "array":
        return _decode_tensor(message.array, type_spec, reader)
    raise TypeError(f"expected a value of type {type_spec}, found a message of {kind or 'nothing'}")


def _decode_tensor(array: Any, type_spec: tff.TensorType, reader: _Reader) -> tf.Tensor:
    if array.HasField("string_list"):
        read = private_apis.arrays.from_proto(array)
    else:
        read = reader.take(private_apis.dtypes.from_proto(array.dtype), tuple(array.shape.dim))
    with tf.device("/CPU:0"):
        tensor = tf.convert_to_tensor(read)
    found = tff.types.tensorflow_to_type((tensor.dtype, tensor.shape))
    if not type_spec.is_assignable_from(found):
        raise TypeError(f"expected a tensor of type {type_spec}, found one of type {found}")
    return tensor


def _encode_sequence(
    value: sequences.Sequence, element: tff.Type
) -> private_apis.executor_pb2.Value.Sequence:
    dataset = value.to_dataset()
    with tf.device("/CPU:0"):
        variant = tf.data.experimental.to_variant(dataset)
        graph = tf.raw_ops.DatasetToGraphV2(input_dataset=variant).numpy()
    sent_type = private_apis.serialize_type(_as_laid_out(element, dataset.element_spec))
    return _Value.Sequence(serialized_graph_def=graph, element_type=sent_type)


def _decode_sequence(
    message: private_apis.executor_pb2.Value.Sequence, type_spec: tff.SequenceType
) -> sequences.DatasetSequence:
    found = private_apis.deserialize_type(message.element_type)
    if found is None or not _is_layout_of(found, type_spec.element):
        raise TypeError(f"expected a sequence of type {type_spec}, found elements of type {found}")
    with tf.device("/CPU:0"):
        variant = tf.raw_ops.DatasetFromGraph(graph_def=message.serialized_graph_def)
        spec = private_apis.type_to_tf_structure(found)
        dataset = tf.data.experimental.from_variant(variant, spec)
    return sequences.DatasetSequence(dataset, type_spec.element)


def _as_laid_out(element: tff.Type, spec: Any) -> tff.Type:
    """The type of a dataset's elements, without names where tf.data lays them out in order.

    The parts of a dict it lays out by their sorted names; those of tuples, named tuples and attrs
    in their own order.
    """
    if not isinstance(element, tff.StructType):
        return element
    parts = sequences.parts_of_nest(spec, element)
    types = map(_as_laid_out, sequences.element_types(element), parts)
    if isinstance(spec, Mapping):
        names = tff.structure.name_list_with_nones(element)
        return tff.StructType(list(zip(names, types)))
    return tff.StructType([(None, part) for part in types])


def _is_layout_of(found: tff.Type, element: tff.Type) -> bool:
    """Whether `_as_laid_out` may have made `found` of `element`."""
    if not (isinstance(found, tff.StructType) and isinstance(element, tff.StructType)):
        return element.is_assignable_from(found)
    names = tff.structure.name_list_with_nones(found)
    of_found, of_element = sequences.element_types(found), sequences.element_types(element)
    return (
        len(of_found) == len(of_element)
        and (not any(names) or names == tff.structure.name_list_with_nones(element))
        and all(map(_is_layout_of, of_found, of_element))
    )
