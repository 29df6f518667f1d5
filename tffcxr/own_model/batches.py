"""Batches as Keras takes them, `(inputs, labels)` or `(inputs, labels, sample weights)`."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tffcxr.errors import InputError


def unpack(batch: Any) -> tuple[Any, Any, Any]:
    """`(inputs, labels, sample weights or None)` of a batch."""
    return (*batch, None) if len(batch) == 2 else tuple(batch)


def spec_of(dataset: tf.data.Dataset, whose: str) -> Any:
    """The `tf.TensorSpec`s of a dataset's batches, of any length.

    Mappings become ordered ones, as TFF wants them; they take the same batches.

    Raises:
      InputError: the dataset has something else than batches of inputs and labels.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise InputError(
            f"{whose}: expected a tf.data.Dataset of batches (inputs, labels), found "
            f"{type(dataset).__name__}"
        )
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise InputError(
            f"{whose}: expected batches (inputs, labels) or (inputs, labels, sample weights), "
            f"found {describe(spec)}"
        )
    leaves = tf.nest.flatten(spec)
    for leaf in leaves:
        if not isinstance(leaf, tf.TensorSpec) or leaf.shape.rank is None:
            raise InputError(f"{whose}: expected dense tensors of known rank, found {leaf}")
        if leaf.shape.rank == 0:
            raise InputError(
                f"{whose}: expected batches, found single examples; add .batch(8) to the dataset"
            )
    return ordered(tf.nest.map_structure(_of_any_length, spec))


def check_same(spec: Any, expected: Any, whose: str, like: str) -> None:
    """Raises InputError unless two specifications of batches agree but for unknown dimensions."""
    try:
        tf.nest.assert_same_structure(spec, expected)
        same = all(
            a.dtype == b.dtype and a.shape.is_compatible_with(b.shape)
            for a, b in zip(tf.nest.flatten(spec), tf.nest.flatten(expected))
        )
    except (TypeError, ValueError):
        same = False
    if not same:
        raise InputError(
            f"{whose}: expected batches like those of {like}, {describe(expected)}; found "
            f"{describe(spec)}"
        )


def describe(structure: Any) -> str:
    """A short text such as "(float32 [?, 28, 28, 1], int64 [?])"."""
    if isinstance(structure, Mapping):
        inner = ", ".join(f"{name}: {describe(value)}" for name, value in structure.items())
        return f"{{{inner}}}"
    if isinstance(structure, (tuple, list)):
        return f"({', '.join(describe(value) for value in structure)})"
    if hasattr(structure, "dtype") and hasattr(structure, "shape"):
        return f"{tf.as_dtype(structure.dtype).name} {describe_shape(structure.shape)}"
    return str(structure)


def describe_shape(shape: Any) -> str:
    """A shape such as "[?, 28, 28, 1]"."""
    sizes = ["?" if size is None else str(size) for size in tuple(shape)]
    return f"[{', '.join(sizes)}]"


def _of_any_length(leaf: tf.TensorSpec) -> tf.TensorSpec:
    return tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype)


def ordered(structure: Any) -> Any:
    """The same structure with its mappings in the order of their names."""
    if isinstance(structure, Mapping):
        return collections.OrderedDict(
            (name, ordered(structure[name])) for name in sorted(structure)
        )
    if isinstance(structure, (tuple, list)):
        return tuple(ordered(value) for value in structure)
    return structure
