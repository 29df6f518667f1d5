"""Brings the arguments of a TFF computation into the device executor, and its results out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.runtime import placed, private_apis, sequences


class Elsewhere:
    """Stands for a value of a client that never comes into this process.

    An engine whose clients bring their data themselves takes such values in an argument, and puts
    them into a result in place of what clients keep.
    """


def ingest(value: Any, type_spec: tff.Type, as_sent: bool = False) -> Any:
    """The form that `interpreter.py` gives to a value of `type_spec`.

    Args:
      value: as TFF's caller has it.
      type_spec: its type.
      as_sent: whether clients' arrays stay NumPy arrays, which are not copied, as they will only be
        sent to other processes.

    Raises:
      TypeError: the value is not of that type.
    """
    if isinstance(type_spec, tff.FederatedType):
        if type_spec.all_equal:
            return placed.known(_ingest(value, type_spec.member, False), type_spec.member)
        return placed.ClientValue(
            lambda client: _ingest(value[client], type_spec.member, as_sent),
            (),
            type_spec.member,
        )
    if isinstance(type_spec, tff.StructType):
        return tuple(
            ingest(part, part_type, as_sent) for part, part_type in _elements(value, type_spec)
        )
    return _ingest(value, type_spec, False)


def _elements(value: Any, type_spec: tff.StructType) -> Iterator[tuple[Any, tff.Type]]:
    parts = list(tff.structure.from_container(value))
    types = sequences.element_types(type_spec)
    if len(parts) != len(types):
        raise TypeError(f"expected {len(types)} elements of {type_spec}, found {len(parts)}")
    return zip(parts, types)


def _ingest(value: Any, type_spec: tff.Type, as_sent: bool) -> Any:
    """A value that is at one place."""
    if isinstance(value, Elsewhere):
        return value
    if isinstance(type_spec, tff.StructType):
        elements = _elements(value, type_spec)
        return tuple(_ingest(part, part_type, as_sent) for part, part_type in elements)
    if isinstance(type_spec, tff.SequenceType):
        return sequences.ingest(value, type_spec)
    if isinstance(type_spec, tff.TensorType):
        return _tensor(value, type_spec, as_sent)
    raise TypeError(f"the device executor takes no argument of type {type_spec}")


def of_client(argument: Any, client: int, device: str) -> list[Any]:
    """What one client and nobody has of an ingested argument: all but the values at the server."""
    return [
        part.at(client, device, {}) if isinstance(part, placed.ClientValue) else part
        for part in tf.nest.flatten(argument)
        if not isinstance(part, placed.ServerValue)
    ]


def _tensor(value: Any, type_spec: tff.TensorType, as_sent: bool) -> tf.Tensor | np.ndarray:
    if isinstance(value, tf.Variable):
        value = value.read_value()
    if isinstance(value, tf.Tensor):
        found = tff.types.tensorflow_to_type((value.dtype, value.shape))
        if not type_spec.is_assignable_from(found):
            raise TypeError(f"expected a tensor of type {type_spec}, found one of type {found}")
        return value
    if isinstance(value, (list, tuple)):
        value = np.asarray(value, type_spec.dtype.type)
    if not (
        private_apis.is_compatible_dtype(value, type_spec.dtype.type)
        and private_apis.is_compatible_shape(value, type_spec.shape)
    ):
        raise TypeError(f"expected a tensor of type {type_spec}, found {value!r}")
    if as_sent and isinstance(value, np.ndarray) and type_spec.dtype.type is not np.str_:
        return np.asarray(value, type_spec.dtype.type)
    return tf.constant(value, type_spec.dtype)


def request(value: Any, type_spec: tff.Type, federation: placed.Federation) -> Any:
    """Records what of a result has to be computed, so that one walk over the clients does it.

    Returns:
      The result with an aggregation for every value at clients. `export` takes it from there.
    """
    if isinstance(type_spec, tff.StructType):
        types = sequences.element_types(type_spec)
        return tuple(request(part, part_type, federation) for part, part_type in zip(value, types))
    if isinstance(value, placed.ClientValue):
        return federation.collect(value, lambda part: export(part, type_spec.member))
    return value


def export(value: Any, type_spec: tff.Type) -> Any:
    """The value as TFF hands it to its caller: NumPy arrays in Structs and lists."""
    if isinstance(value, Elsewhere):
        return value
    if isinstance(type_spec, tff.FederatedType):
        if type_spec.all_equal:
            return export(value.get(), type_spec.member)
        return value.get()  # What `request` has put there.
    if isinstance(type_spec, tff.StructType):
        names = tff.structure.name_list_with_nones(type_spec)
        parts = map(export, value, sequences.element_types(type_spec))
        return tff.structure.Struct(zip(names, parts))
    if isinstance(type_spec, tff.SequenceType):
        return private_apis.coerce_dataset_elements_to_tff_type_spec(
            value.to_dataset(), type_spec.element
        )
    return value.numpy()
