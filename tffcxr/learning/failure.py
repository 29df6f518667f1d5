"""Why a client's update was left out of a round: a number in TFF, a `Failure` for readers."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tffcxr.learning.weight_groups import WeightPartition

# Any other code is the position in `model.weights` of the first weight that is not finite.
_NONE = -1
_LOSS = -2
NOT_FINITE = " is not finite"  # What a description ends with.


@dataclasses.dataclass(frozen=True)
class Failure:
    """What was not finite after a client's training.

    Attributes:
      weight: the position in `model.weights` of the first such weight; None for the loss.
    """

    weight: int | None

    def describe(self, partition: WeightPartition) -> str:
        """A short text with the layer's name."""
        if self.weight is None:
            return "loss" + NOT_FINITE
        return f"layer {partition.weights[self.weight].layer}{NOT_FINITE}"


def encode(weights_are_finite: tf.Tensor, loss_is_finite: tf.Tensor) -> tf.Tensor:
    """The code of a client's training.

    Args:
      weights_are_finite: bool [W], in the order of `model.weights`.
      loss_is_finite: bool scalar.

    Returns:
      int32 scalar, for `succeeded` and `decode`.
    """
    first_bad = tf.argmin(tf.cast(weights_are_finite, tf.int32), output_type=tf.int32)
    of_loss = tf.where(loss_is_finite, _NONE, _LOSS)
    return tf.where(tf.reduce_all(weights_are_finite), of_loss, first_bad)


def succeeded(code: tf.Tensor) -> tf.Tensor:
    """Whether nothing failed: bool scalar."""
    return tf.equal(code, _NONE)


def decode(code: int) -> Failure | None:
    """The failure of a code, or None."""
    if code == _NONE:
        return None
    return Failure(None if code == _LOSS else code)
