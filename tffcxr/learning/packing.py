"""Many small tensors as a few vectors, and back.

A step hands its state to the next one through the executor. A DenseNet121 has some 600 weights,
and Adam twice as many moments: as tensors of their own they cost tens of milliseconds per step at
the step's boundary and in the optimizer's element-wise operations. As one vector they would cost
more in a large model: what the optimizer computes in between would not fit into the processor's
cache (a ResNet50 step took 10 % longer).
"""

from __future__ import annotations

from collections.abc import Sequence
import math

import tensorflow as tf

# Elements, 1 MiB of float32. Tensors of this size and above stay by themselves.
_LARGE = 2**18


class Packing:
    """How tensors of known shapes are concatenated in vectors of about a megabyte.

    Args:
      specs: shape and dtype of each tensor, in order; the shapes are static.

    Attributes:
      specs: of the vectors.
    """

    def __init__(self, specs: Sequence[tf.TensorSpec]) -> None:
        self._shapes = [tuple(spec.shape) for spec in specs]
        self._vectors: list[list[int]] = []  # The positions of the tensors in each vector.
        growing: dict[tf.DType, list[int]] = {}
        sizes: dict[tf.DType, int] = {}
        for position, spec in enumerate(specs):
            size, dtype = math.prod(self._shapes[position]), tf.as_dtype(spec.dtype)
            if size >= _LARGE:
                self._vectors.append([position])
                continue
            if dtype not in growing or sizes[dtype] + size > _LARGE:
                growing[dtype], sizes[dtype] = [], 0
                self._vectors.append(growing[dtype])
            growing[dtype].append(position)
            sizes[dtype] += size
        self.specs = tuple(
            tf.TensorSpec(
                [sum(math.prod(self._shapes[position]) for position in positions)],
                specs[positions[0]].dtype,
            )
            for positions in self._vectors
        )

    def pack(self, tensors: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """The vectors, each of one dtype."""
        # Gradients may come without a static shape, which a step of TFF must not change.
        flat = [
            tf.reshape(tensor, [math.prod(shape)]) for tensor, shape in zip(tensors, self._shapes)
        ]
        return tuple(
            tf.concat([flat[position] for position in positions], 0) for positions in self._vectors
        )

    def unpack(self, vectors: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """The tensors, in their order."""
        tensors: list[tf.Tensor] = [None] * len(self._shapes)
        for vector, positions in zip(vectors, self._vectors):
            shapes = [self._shapes[position] for position in positions]
            parts = tf.split(vector, [math.prod(shape) for shape in shapes])
            for position, shape, part in zip(positions, shapes, parts):
                tensors[position] = tf.reshape(part, shape)
        return tuple(tensors)
