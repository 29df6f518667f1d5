"""nnU-Net's loss: cross-entropy minus soft Dice, at every resolution of the decoder.

F. Isensee, P. F. Jaeger, S. A. A. Kohl, J. Petersen, K. H. Maier-Hein, "nnU-Net: a self-configuring
method for deep learning-based biomedical image segmentation", Nature Methods 18, 2021; as in
nnunetv2 (`DC_and_CE_loss`, `MemoryEfficientSoftDiceLoss` without background, `batch_dice` of its
2-D plans, `DeepSupervisionWrapper`). For the n pixels of a batch with mask g in {0, 1} and
probability p of the region, the softmax of two logits,

    loss = -1/n Σ log p(g) - (2 Σ p g + ε) / max(Σ p + Σ g + ε, 1e-8),      ε = 1e-5

so that it runs from +∞ to -1, where every pixel is right for sure. The Dice is of all images of a
batch together: an image without the region counts by what is predicted in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

_SMOOTHING = 1e-5
_LEAST = 1e-8
_PIXELS = [1, 2]


def batch_loss(
    batch: Mapping[str, tf.Tensor], outputs: Sequence[tf.Tensor] | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of one batch in the form that local training takes.

    Args:
      batch: holds "masks", float32 [B, H, W, 1] of 0 and 1. An image whose mask has a NaN is not
        annotated: it adds nothing to either result.
      outputs: float32 logits [B, h, w, 2] of each resolution, the full one first, or of the only
        one; H and W are multiples of h and w. The mask of a lower resolution is the nearest pixel.

    Returns:
      `(loss, images)`, float32 scalars: the batch's loss times its annotated images, and their
      number.

    Raises:
      ValueError: the shapes do not fit.
    """
    masks = batch["masks"]
    unknown = tf.reduce_any(tf.math.is_nan(masks), [1, 2, 3])
    known = tf.cast(tf.logical_not(unknown), tf.float32)
    # NaN is replaced before the loss: masking it afterwards would leave NaN gradients.
    truth = tf.where(tf.math.is_nan(masks), tf.zeros_like(masks), masks)[..., 0]
    loss, heads = tf.constant(0.0), tf.nest.flatten(outputs)
    for weight, logits in zip(supervision_weights(len(heads)), heads):
        if weight:
            loss += weight * _batch_loss(_nearest(truth, logits), logits, known)
    images = tf.reduce_sum(known)
    return loss * images, images


def image_loss(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The loss of each image alone, at full resolution.

    Args:
      masks: float32 [B, H, W, 1], 0 or 1.
      logits: float32 [B, H, W, 1], the logit of the region minus that of the background.

    Returns:
      float32 [B].

    Raises:
      ValueError: the shapes differ.
    """
    masks.shape.assert_is_compatible_with(logits.shape)
    axes = [1, 2, 3]
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=masks, logits=logits)
    probabilities = tf.sigmoid(logits)
    overlap = tf.reduce_sum(probabilities * masks, axes)
    total = tf.reduce_sum(probabilities, axes) + tf.reduce_sum(masks, axes)
    return tf.reduce_mean(cross_entropy, axes) - _dice(overlap, total)


def supervision_weights(resolutions: int) -> tuple[float, ...]:
    """What the loss of each resolution counts, the full one first; the sum is 1.

    Each counts half as much as the one before, but the lowest nothing, unless it is the only one.
    """
    weights = 0.5 ** np.arange(resolutions)
    if resolutions > 1:
        weights[-1] = 0.0
    return tuple(map(float, weights / weights.sum()))


def _batch_loss(truth: tf.Tensor, logits: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """The loss at one resolution.

    Args:
      truth: float32 [B, h, w].
      logits: float32 [B, h, w, 2].
      known: float32 [B], 0 for an image that does not count.
    """
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(truth, tf.int32), logits)
    probabilities = tf.nn.softmax(logits)[..., 1]

    def total(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(known * tf.reduce_sum(values, _PIXELS))

    pixels = tf.cast(tf.reduce_prod(tf.shape(truth)[1:]), tf.float32) * tf.reduce_sum(known)
    dice = _dice(total(probabilities * truth), total(probabilities) + total(truth))
    return tf.math.divide_no_nan(total(cross_entropy), pixels) - dice


def _dice(overlap: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    return (2.0 * overlap + _SMOOTHING) / tf.maximum(total + _SMOOTHING, _LEAST)


def _nearest(truth: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Takes every r-th pixel of masks [B, H, W] so that they are of the size of logits.

    The one in the middle of the r pixels, or after it, as PyTorch's "nearest-exact".
    """
    (height, width), (rows, columns) = truth.shape[1:3], logits.shape[1:3]
    if height % rows or width % columns:
        raise ValueError(
            f"expected masks of a multiple of {rows}x{columns} pixels, found {height}x{width}"
        )
    down, across = height // rows, width // columns
    return truth[:, down // 2 :: down, across // 2 :: across]
