"""Loss scaling, for gradients that float16 would round to zero.

The loss is multiplied by a scale before it is differentiated, and the gradients are divided by it
afterwards, in float32. A step whose gradients overflow is skipped and halves the scale; after many
steps without one the scale doubles (Micikevicius et al., "Mixed Precision Training", ICLR 2018,
section 3.2).
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

_SCALE = "loss_scale"
_INITIAL = 2.0**12
_STEPS_TO_DOUBLE = 2000


class LossScaling(tff.learning.optimizers.Optimizer):
    """Takes gradients of a scaled loss; its state says by how much, see `loss_scale`.

    Args:
      inner: gets the gradients of the loss itself.
    """

    def __init__(self, inner: tff.learning.optimizers.Optimizer):
        self._inner = inner

    def initialize(self, specs: Any) -> Any:
        """The state of `inner`, the scale, and the steps since it last changed."""
        return collections.OrderedDict(
            [
                (_SCALE, tf.constant(_INITIAL)),
                ("good_steps", tf.constant(0)),
                ("inner", self._inner.initialize(specs)),
            ]
        )

    def next(self, state: Any, weights: Any, gradients: Any) -> tuple[Any, Any]:
        """A step of `inner`, or no step if a gradient is not finite."""
        scale = state[_SCALE]
        gradients = tf.nest.map_structure(lambda g: g / scale, gradients)
        finite = [tf.reduce_all(tf.math.is_finite(g)) for g in tf.nest.flatten(gradients)]
        is_good = tf.reduce_all(finite)
        moved = self._inner.next(state["inner"], weights, gradients)
        inner, weights = tf.nest.map_structure(
            lambda new, old: tf.where(is_good, new, old), moved, (state["inner"], weights)
        )
        steps = tf.where(is_good, state["good_steps"] + 1, 0)
        doubles = tf.equal(steps, _STEPS_TO_DOUBLE)
        scale = tf.where(is_good, tf.where(doubles, 2.0 * scale, scale), tf.maximum(scale / 2, 1.0))
        steps = tf.where(doubles, 0, steps)
        return collections.OrderedDict(
            [(_SCALE, scale), ("good_steps", steps), ("inner", inner)]
        ), weights

    def get_hparams(self, state: Any) -> Any:
        """Those of `inner`."""
        return self._inner.get_hparams(state["inner"])

    def set_hparams(self, state: Any, hparams: Any) -> Any:
        """Those of `inner`."""
        inner = self._inner.set_hparams(state["inner"], hparams)
        return collections.OrderedDict(state, inner=inner)


def loss_scale(optimizer_state: Any) -> Any:
    """The factor for the loss; 1 for optimizers that do not scale."""
    is_scaled = isinstance(optimizer_state, Mapping) and _SCALE in optimizer_state
    return optimizer_state[_SCALE] if is_scaled else 1.0
