"""Values of a TFF computation as the arrays of a message, and back.

A value has the form that `runtime.interpreter` gives to it: tensors in tuples. Its arrays come in
the order of its type, whose names they bear. The receiver knows the type, and takes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.hospitals import wire


def fields(value: Any, type_spec: tff.Type, name: str) -> list[wire.Field]:
    """The arrays of a value.

    Args:
      value: of the type.
      type_spec: structs of tensors of numbers.
      name: what theirs begin with.
    """
    if isinstance(type_spec, tff.StructType):
        elements = enumerate(tff.structure.iter_elements(type_spec))
        return [
            field
            for part, (place, (key, part_type)) in zip(value, elements)
            for field in fields(part, part_type, f"{name}/{key or place}")
        ]
    return [wire.Field(name, np.asarray(value))]


def value(found: Iterator[wire.Field], type_spec: tff.Type) -> Any:
    """The value of a type whose arrays come next.

    Raises:
      wire.MessageError: they are of another type.
    """
    if isinstance(type_spec, tff.StructType):
        return tuple(value(found, element) for _, element in tff.structure.iter_elements(type_spec))
    field = next(found, None)
    if field is None:
        raise wire.MessageError(f"expected an array of type {type_spec}, found no more")
    array = field.array
    of_array = tff.types.tensorflow_to_type((array.dtype.newbyteorder("="), array.shape))
    if not type_spec.is_assignable_from(of_array):
        raise wire.MessageError(f"{field.name}: expected type {type_spec}, found {of_array}")
    with tf.device("/CPU:0"):
        return tf.convert_to_tensor(array)


def values(found: Sequence[wire.Field], types: Sequence[tff.Type]) -> list[Any]:
    """The values whose arrays these are.

    Raises:
      wire.MessageError: they are of other types, or of others than their number.
    """
    waiting = iter(found)
    result = [value(waiting, type_spec) for type_spec in types]
    if next(waiting, None) is not None:
        raise wire.MessageError(f"expected the arrays of {len(types)} values, found more")
    return result


def is_scalar(type_spec: tff.Type) -> bool:
    """Whether all tensors of a type are single numbers."""
    if isinstance(type_spec, tff.StructType):
        return all(is_scalar(element) for _, element in tff.structure.iter_elements(type_spec))
    return isinstance(type_spec, tff.TensorType) and type_spec.shape == ()


def flat(value: Any) -> list[np.ndarray]:
    """The arrays of a nest, in order."""
    if isinstance(value, tff.structure.Struct):
        return [leaf for part in value for leaf in flat(part)]
    if isinstance(value, Mapping):
        return [leaf for part in value.values() for leaf in flat(part)]
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in flat(part)]
    return [np.asarray(value)]
