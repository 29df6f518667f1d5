"""Losses of segmentation: BCE-Dice for lungs, binary cross-entropy across domains.

F. Ślazyk et al., "CXR-FL: Deep Learning-based Chest X-ray Image Analysis Using Federated Learning",
ICCS 2022, arXiv:2204.05203. For an image with mask g in {0, 1} and probabilities p over its pixels

    loss = mean BCE(p, g) + 1 - (2 Σ p g + 1) / (Σ p + Σ g + 1)

The soft Dice is that of F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net", 3DV 2016, without squares;
the added 1 makes it 1 where mask and prediction are both empty. CXR-FL's code takes the Dice over
all pixels of a batch together; here each image has its own, so that the loss of an image does not
depend on its neighbours in the batch, nor on how many they are.

V. S. Parekh et al., "Cross-Domain Federated Learning in Medical Imaging", MIDL 2022,
arXiv:2112.10001, have the mean BCE(p, g) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

_SMOOTHING = 1.0
_PIXELS = [1, 2, 3]


def bce(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The mean binary cross-entropy over the pixels of each image; else as `bce_dice`."""
    masks.shape.assert_is_compatible_with(logits.shape)
    return tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(labels=masks, logits=logits), _PIXELS
    )


def bce_dice(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The loss of each image.

    Args:
      masks: float32 [B, H, W, 1], 0 or 1.
      logits: float32 [B, H, W, 1].

    Returns:
      float32 [B]; its gradient is finite wherever the logits are.

    Raises:
      ValueError: the shapes differ.
    """
    cross_entropy = bce(masks, logits)
    probabilities = tf.sigmoid(logits)
    overlap = tf.reduce_sum(probabilities * masks, _PIXELS)
    total = tf.reduce_sum(probabilities, _PIXELS) + tf.reduce_sum(masks, _PIXELS)
    dice = (2.0 * overlap + _SMOOTHING) / (total + _SMOOTHING)
    return cross_entropy + 1.0 - dice


def batch_loss(batch: Mapping[str, tf.Tensor], logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """BCE-Dice of one batch in the form that local training takes; see `_of_batch`."""
    return _of_batch(bce_dice, batch, logits)


def bce_batch_loss(
    batch: Mapping[str, tf.Tensor], logits: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Binary cross-entropy of one batch in the form that local training takes."""
    return _of_batch(bce, batch, logits)


def _of_batch(
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    batch: Mapping[str, tf.Tensor],
    logits: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of the annotated images of a batch.

    Args:
      loss: of each image.
      batch: holds "masks", float32 [B, H, W, 1] of 0 and 1. An image whose mask has a NaN is not
        annotated: it adds nothing to either result.
      logits: float32 [B, H, W, 1].

    Returns:
      `(loss, images)`, float32 scalars: the sum over the annotated images and their number.
    """
    masks = batch["masks"]
    known = tf.logical_not(tf.reduce_any(tf.math.is_nan(masks), _PIXELS))
    # NaN is replaced before the loss: masking it afterwards would leave NaN gradients.
    losses = loss(tf.where(tf.math.is_nan(masks), tf.zeros_like(masks), masks), logits)
    losses = tf.where(known, losses, tf.zeros_like(losses))
    return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(known, tf.float32))
