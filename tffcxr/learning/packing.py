"""Many tensors as one vector, and back.

A step hands its state to the next one through the executor. A DenseNet121 has some 600 weights, and
Adam twice as many moments: as tensors of their own they cost tens of milliseconds per step at the
step's boundary and in the optimizer's element-wise operations, as vectors next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
import math

import tensorflow as tf


class Packing:
    """How tensors of known shapes lie one behind the other in one vector per dtype.

    Args:
      specs: shape and dtype of each tensor, in order; the shapes are static.
    """

    def __init__(self, specs: Sequence[tf.TensorSpec]) -> None:
        self._shapes = [tuple(spec.shape) for spec in specs]
        self._positions: dict[tf.DType, list[int]] = {}
        for position, spec in enumerate(specs):
            self._positions.setdefault(tf.as_dtype(spec.dtype), []).append(position)

    def pack(self, tensors: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """One vector per dtype, in the order in which the dtypes first appear."""
        return tuple(
            tf.concat([tf.reshape(tensors[position], [-1]) for position in positions], 0)
            for positions in self._positions.values()
        )

    def unpack(self, vectors: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """The tensors, in their order."""
        tensors: list[tf.Tensor] = [None] * len(self._shapes)
        for vector, positions in zip(vectors, self._positions.values()):
            shapes = [self._shapes[position] for position in positions]
            parts = tf.split(vector, [math.prod(shape) for shape in shapes])
            for position, shape, part in zip(positions, shapes, parts):
                tensors[position] = tf.reshape(part, shape)
        return tuple(tensors)
