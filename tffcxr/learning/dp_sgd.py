"""Gradients of single images, clipped and noised: differential privacy within a client.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016. A step moves along the sum of its
images' clipped gradients, with Gaussian noise, divided by the batch size. An image that is replaced
changes the one batch of a pass that it is in, and moves its sum by up to twice the norm.

The noise follows from a secret seed of the client and the round, see `keyed_noise`, from the number
of the step, and from the sum itself, so that no noise serves two sums: whoever has a round repeated
with other weights learns nothing by the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import tensorflow as tf

from tffcxr.learning import keyed_noise

# One image's batch -> (its gradients, loss, known labels).
OfBatch = Callable[[Any], tuple[Sequence[tf.Tensor], tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class DpSgd:
    """Settings of the clients' steps.

    Attributes:
      noise_multiplier: standard deviation of the noise of a sum, relative to `clip`.
      clip: the greatest norm of one image's gradient.
      batch_size: images by which a sum is divided, also that of a last, smaller batch: the noise
        is the same in all steps.
    """

    noise_multiplier: float
    clip: float
    batch_size: int


def gradients(
    settings: DpSgd,
    of_batch: OfBatch,
    batch: Any,
    variables: Sequence[tf.Variable],
    seed: tf.Tensor,
    step: tf.Tensor,
) -> tuple[tuple[tf.Tensor, ...], tf.Tensor, tf.Tensor]:
    """The gradients of a step.

    One image after the other, which needs no more memory than a batch and took as long as
    `tf.vectorized_map` on two cores. A gradient that is not finite counts as zero.

    Args:
      settings: see `DpSgd`.
      of_batch: of a batch of one image; nothing of it may depend on other images.
      batch: tensors [B, …].
      variables: those of the gradients.
      seed: int64 [2], of the client and the round.
      step: int64 [], in the round.

    Returns:
      `(gradients, loss, labels)`: as `of_batch` gives them, gradients with noise, sums without.
      Without a seed, that is one of zeros, the gradients are NaN.
    """
    images = tf.shape(tf.nest.flatten(batch)[0])[0]

    def add(place: tf.Tensor, total: Any, loss: tf.Tensor, labels: tf.Tensor) -> Any:
        one = tf.nest.map_structure(lambda tensor: tensor[place][tf.newaxis], batch)
        found, of_loss, of_labels = of_batch(one)
        norm = tf.linalg.global_norm(found)
        factor = settings.clip / tf.maximum(norm, settings.clip)
        is_finite = tf.math.is_finite(norm)
        clipped = [tf.where(is_finite, value * factor, tf.zeros_like(value)) for value in found]
        total = [so_far + value for so_far, value in zip(total, clipped)]
        return place + 1, total, loss + of_loss, labels + of_labels

    zero = tf.constant(0.0)
    _, total, loss, labels = tf.while_loop(
        lambda place, *_: place < images,
        add,
        (tf.constant(0), [tf.zeros(each.shape, each.dtype) for each in variables], zero, zero),
        parallel_iterations=1,
    )
    return _noised(settings, total, seed, step), loss, labels


def _noised(
    settings: DpSgd, total: Sequence[tf.Tensor], seed: tf.Tensor, step: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    own = tf.bitwise.bitwise_xor(seed, keyed_noise.digest(total))
    own = tf.random.experimental.stateless_fold_in(own, step)
    seeds = tf.unstack(tf.random.experimental.stateless_split(own, max(1, len(total))))
    deviation = settings.noise_multiplier * settings.clip
    is_set = tf.reduce_any(tf.not_equal(seed, 0))
    nothing = tf.constant(float("nan"))
    return tuple(
        (value + tf.random.stateless_normal(tf.shape(value), of_value) * deviation)
        / settings.batch_size
        + tf.where(is_set, 0.0, nothing)
        for value, of_value in zip(total, seeds)
    )
