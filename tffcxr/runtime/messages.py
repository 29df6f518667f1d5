"""Values of a computation as messages: TFF's `executor_pb2.Value`, with the arrays beside it.

The head is an `executor_pb2.Value` of all values:

    tensor    dtype and shape; texts also with their content, as a list of bytes
    struct    a message per element, in the order of the type
    sequence  the graph of a `tf.data.Dataset`, which names files, and the type of its elements

The arrays are the content of every tensor but texts, in the order of the head. They are no part of
the head since protobuf copies bytes several times. The receiver knows the type of what it expects,
and refuses anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import math
from typing import Any, NamedTuple

from google.protobuf import message as protobuf
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.runtime import private_apis, sequences

_Value = private_apis.executor_pb2.Value


class Packed(NamedTuple):
    """A message.

    Attributes:
      head: a serialized `executor_pb2.Value`.
      arrays: uint8 [bytes of a tensor], in C order. They may share memory with what was encoded.
    """

    head: bytes
    arrays: tuple[np.ndarray, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.head) + sum(array.nbytes for array in self.arrays)


NOTHING = Packed(b"", ())


def encode_all(found: Sequence[Any], types: Sequence[tff.Type | None]) -> Packed:
    """The message of several values; tensors may also be NumPy arrays."""
    head, arrays = _Value(), list[np.ndarray]()
    head.struct.SetInParent()
    for value, type_spec in zip(found, types):
        _fill(head.struct.element.add().value, value, _known(type_spec), arrays)
    return Packed(head.SerializeToString(), tuple(arrays))


def decode_all(packed: Packed, types: Sequence[tff.Type | None]) -> list[Any]:
    """The values that `encode_all` has had.

    Raises:
      TypeError: they are others than expected, or these are no such bytes.
    """
    try:
        head = _Value.FromString(packed.head)
    except protobuf.DecodeError as error:
        raise TypeError(f"expected a message, found {len(packed.head)} other bytes") from error
    found = head.struct.element
    if len(found) != len(types):
        raise TypeError(f"expected {len(types)} values, found {len(found)}")
    arrays = iter(packed.arrays)
    values = [_decode(each.value, _known(of), arrays) for each, of in zip(found, types)]
    left = sum(1 for _ in arrays)
    if left:
        raise TypeError(f"expected {len(packed.arrays) - left} arrays, found {len(packed.arrays)}")
    return values


def _fill(
    message: private_apis.executor_pb2.Value,
    value: Any,
    type_spec: tff.Type,
    arrays: list[np.ndarray],
) -> None:
    """Makes an empty message that of a value in the form that `interpreter.py` gives to it.

    In place, since protobuf copies a message that becomes a part of another.
    """
    if isinstance(type_spec, tff.StructType):
        message.struct.SetInParent()
        for part, part_type in zip(value, sequences.element_types(type_spec)):
            _fill(message.struct.element.add().value, part, part_type, arrays)
    elif isinstance(type_spec, tff.SequenceType):
        message.sequence.CopyFrom(_encode_sequence(value, type_spec.element))
    elif type_spec.dtype.type is np.str_:
        array = private_apis.arrays.to_proto(np.asarray(value), dtype_hint=np.str_)
        message.array.CopyFrom(array)
    else:
        message.array.dtype = private_apis.dtypes.to_proto(type_spec.dtype.type)
        message.array.shape.dim.extend(value.shape)
        arrays.append(np.ascontiguousarray(value).reshape(-1).view(np.uint8))


def _known(type_spec: tff.Type | None) -> tff.Type:
    assert type_spec is not None  # The interpreter gives one to every placed value.
    return type_spec


def _decode(
    message: private_apis.executor_pb2.Value, type_spec: tff.Type, arrays: Iterator[np.ndarray]
) -> Any:
    kind = message.WhichOneof("value")
    if isinstance(type_spec, tff.StructType) and kind == "struct":
        types, found = sequences.element_types(type_spec), message.struct.element
        if len(found) != len(types):
            raise TypeError(f"expected {len(types)} elements of {type_spec}, found {len(found)}")
        return tuple(_decode(each.value, of, arrays) for each, of in zip(found, types))
    if isinstance(type_spec, tff.SequenceType) and kind == "sequence":
        return _decode_sequence(message.sequence, type_spec)
    if isinstance(type_spec, tff.TensorType) and kind == "array":
        return _decode_tensor(message.array, type_spec, arrays)
    raise TypeError(f"expected a value of type {type_spec}, found a message of {kind or 'nothing'}")


def _decode_tensor(
    array: Any, type_spec: tff.TensorType, arrays: Iterator[np.ndarray]
) -> tf.Tensor:
    if array.HasField("string_list"):
        content = private_apis.arrays.from_proto(array)
    else:
        content = _take(arrays, private_apis.dtypes.from_proto(array.dtype), array.shape.dim)
    with tf.device("/CPU:0"):
        tensor = tf.convert_to_tensor(content)
    found = tff.types.tensorflow_to_type((tensor.dtype, tensor.shape))
    if not type_spec.is_assignable_from(found):
        raise TypeError(f"expected a tensor of type {type_spec}, found one of type {found}")
    return tensor


def _take(arrays: Iterator[np.ndarray], dtype: Any, shape: Sequence[int]) -> np.ndarray:
    """The next array, not copied."""
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    array = next(arrays, None)
    if array is None or array.nbytes != expected or min(shape, default=0) < 0:
        found = "none" if array is None else f"{array.nbytes}"
        raise TypeError(f"expected an array of {expected} bytes, found {found}")
    return array.view(dtype).reshape(shape)


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
