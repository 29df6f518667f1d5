"""Values of sequence type: datasets that a TFF computation receives, maps, reduces and returns.

Inside the device executor a tensor is a `tf.Tensor`, a struct is a tuple in the order of its type,
and a sequence is one of the classes below. Names live in the types alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import dataclasses
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.runtime import private_apis

_PREFETCHED = 2


def element_types(struct_type: tff.StructType) -> list[tff.Type]:
    """The types of a struct's elements, in order."""
    return [element for _, element in tff.structure.iter_elements(struct_type)]


def zeros(type_spec: tff.Type) -> Any:
    """Zero in every tensor of a type, 1 where a dimension is unknown, to be broadcast."""
    if isinstance(type_spec, tff.StructType):
        return tuple(map(zeros, element_types(type_spec)))
    return tf.zeros([size or 1 for size in type_spec.shape], type_spec.dtype)


def from_nested(value: Any, type_spec: tff.Type) -> Any:
    """Brings a nest as tf.data makes them (dicts, tuples, attrs) into our form."""
    if not isinstance(type_spec, tff.StructType):
        return value
    parts = parts_of_nest(value, type_spec)
    return tuple(map(from_nested, parts, element_types(type_spec)))


def parts_of_nest(value: Any, type_spec: tff.StructType) -> list[Any]:
    """The parts of a dict, a tuple or an attrs class, in the order of its type."""
    names = tff.structure.name_list_with_nones(type_spec)
    if isinstance(value, Mapping):
        return [value[name] for name in names]
    if isinstance(value, (tuple, list)):
        return list(value)
    return [getattr(value, name) for name in names]


def to_nested(value: Any, type_spec: tff.Type) -> Any:
    """Brings a value of ours into the nest that tf.data makes for `type_spec`."""
    if not isinstance(type_spec, tff.StructType):
        return value
    parts = map(to_nested, value, element_types(type_spec))
    elements = zip(tff.structure.name_list_with_nones(type_spec), parts)
    return tff.types.type_to_py_container(tff.structure.Struct(elements), type_spec)


@dataclasses.dataclass(frozen=True)
class DatasetSequence:
    """A sequence that is a `tf.data.Dataset`, with elements of TFF type `element`."""

    dataset: tf.data.Dataset
    element: tff.Type

    def __iter__(self) -> Iterator[Any]:
        """Yields the elements in our form, while the next ones are prepared on the CPU."""
        for value in self.dataset.prefetch(_PREFETCHED):
            yield from_nested(value, self.element)

    def to_dataset(self) -> tf.data.Dataset:
        """The dataset itself."""
        return self.dataset


@dataclasses.dataclass(frozen=True)
class MappedSequence:
    """The elements of `source`, each put through `function` when it is asked for."""

    source: Sequence
    function: Callable[[Any], Any]
    element: tff.Type

    def __iter__(self) -> Iterator[Any]:
        return map(self.function, self.source)

    def to_dataset(self) -> tf.data.Dataset:
        """All elements, computed now: a graph that takes a sequence takes nothing else."""
        elements = [to_nested(value, self.element) for value in self]
        return private_apis.make_data_set_from_elements(None, elements, self.element)


Sequence = DatasetSequence | MappedSequence


def ingest(value: Any, type_spec: tff.SequenceType) -> DatasetSequence:
    """Accepts what TFF accepts as a sequence: a `tf.data.Dataset` or a list of elements.

    Raises:
      TypeError: `value` is neither, or its elements are of another type.
    """
    if isinstance(value, list):
        value = private_apis.make_data_set_from_elements(None, value, type_spec.element)
    if not isinstance(value, tf.data.Dataset):
        raise TypeError(f"expected a sequence of type {type_spec}, found {type(value).__name__}")
    found = tff.SequenceType(tff.types.tensorflow_to_type(value.element_spec))
    if not type_spec.is_assignable_from(found):
        raise TypeError(f"expected a sequence of type {type_spec}, found one of type {found}")
    return DatasetSequence(_without_autotune(value), type_spec.element)


def _without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switches tf.data's autotuning off, unless the user has said something about it.

    Its thread sleeps 10 ms, then twice as long each time, and the end of an iterator often waits
    for it to wake: up to half of all wall-clock time (seen with TensorFlow 2.14 on two cores).
    """
    if dataset.options().autotune.enabled is not None:
        return dataset
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def to_variant(value: Sequence) -> tf.Tensor:
    """The tensor through which a dataset enters a graph."""
    with tf.device("/CPU:0"):
        return tf.data.experimental.to_variant(value.to_dataset())


def from_variant(variant: tf.Tensor, element: tff.Type) -> DatasetSequence:
    """The dataset that a graph has made, as a sequence of `element`."""
    spec = private_apis.type_to_tf_structure(element)
    with tf.device("/CPU:0"):
        return DatasetSequence(tf.data.experimental.from_variant(variant, spec), element)
