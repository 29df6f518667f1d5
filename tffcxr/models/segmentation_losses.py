"""BCE-Dice, the loss of lung segmentation.

F. Ślazyk et al., "CXR-FL: Deep Learning-based Chest X-ray Image Analysis Using Federated Learning",
ICCS 2022, arXiv:2204.05203. For an image with mask g in {0, 1} and probabilities p over its pixels

    loss = mean BCE(p, g) + 1 - (2 Σ p g + 1) / (Σ p + Σ g + 1)

The soft Dice is that of F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net", 3DV 2016, without squares;
the added 1 makes it 1 where mask and prediction are both empty. CXR-FL's code takes the Dice over
all pixels of a batch together; here each image has its own, so that the loss of an image does not
depend on its neighbours in the batch, nor on how many they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

_SMOOTHING = 1.0


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
    masks.shape.assert_is_compatible_with(logits.shape)
    pixels = [1, 2, 3]
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=masks, logits=logits)
    probabilities = tf.sigmoid(logits)
    overlap = tf.reduce_sum(probabilities * masks, pixels)
    total = tf.reduce_sum(probabilities, pixels) + tf.reduce_sum(masks, pixels)
    dice = (2.0 * overlap + _SMOOTHING) / (total + _SMOOTHING)
    return tf.reduce_mean(cross_entropy, pixels) + 1.0 - dice


def batch_loss(batch: Mapping[str, tf.Tensor], logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of one batch in the form that local training takes.

    Args:
      batch: holds "masks", float32 [B, H, W, 1] of 0 and 1. An image whose mask has a NaN is not
        annotated: it adds nothing to either result.
      logits: float32 [B, H, W, 1].

    Returns:
      `(loss, images)`, float32 scalars: the sum over the annotated images and their number.
    """
    masks = batch["masks"]
    known = tf.logical_not(tf.reduce_any(tf.math.is_nan(masks), [1, 2, 3]))
    # NaN is replaced before the loss: masking it afterwards would leave NaN gradients.
    losses = bce_dice(tf.where(tf.math.is_nan(masks), tf.zeros_like(masks), masks), logits)
    losses = tf.where(known, losses, tf.zeros_like(losses))
    return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(known, tf.float32))
