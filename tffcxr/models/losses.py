"""Cross-entropy over the labels that are known, of findings and of classes.

Sites label different findings, so most labels of a pooled or fixed-width task block are unknown
(NaN). An unknown label adds nothing to the loss, to its gradient or to the count it is divided by.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


def masked_binary_crossentropy_sums(
    labels: tf.Tensor, logits: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums the cross-entropy of each example's known labels.

    Args:
      labels: float32 [B, F]; 1 present, 0 absent, NaN unknown.
      logits: float32 [B, F].

    Returns:
      `(loss, known)`, both float32 [B]: the sum over an example's known labels (natural
      logarithm), and how many there are. Their gradient is finite wherever the logits are.
    """
    known = tf.math.logical_not(tf.math.is_nan(labels))
    # NaN is replaced before the logarithm: masking it afterwards would leave NaN gradients.
    safe_labels = tf.where(known, labels, tf.zeros_like(labels))
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=safe_labels, logits=logits)
    losses = tf.where(known, losses, tf.zeros_like(losses))
    return tf.reduce_sum(losses, axis=-1), tf.reduce_sum(tf.cast(known, tf.float32), axis=-1)


def masked_binary_crossentropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy over all known labels of the batch; 0 where there is none.

    Args:
      labels: float32 [B, F]; 1 present, 0 absent, NaN unknown.
      logits: float32 [B, F].

    Returns:
      float32 scalar.
    """
    losses, known = masked_binary_crossentropy_sums(labels, logits)
    return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.reduce_sum(known))


def batch_loss(batch: Mapping[str, tf.Tensor], logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of one batch in the form that local training takes.

    Args:
      batch: holds "labels", float32 [B, F], NaN unknown.
      logits: float32 [B, F].

    Returns:
      `(loss, known)`, float32 scalars: the sum over the batch's known labels and their number.
    """
    losses, known = masked_binary_crossentropy_sums(batch["labels"], logits)
    return tf.reduce_sum(losses), tf.reduce_sum(known)


def class_batch_loss(
    batch: Mapping[str, tf.Tensor], logits: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The softmax cross-entropy of one batch in the form that local training takes.

    Args:
      batch: holds "labels", float32 [B, C], 1 for the class of an image and 0 for the others. An
        image with a NaN has no known class: it adds nothing to either result.
      logits: float32 [B, C].

    Returns:
      `(loss, images)`, float32 scalars: the sum over the images of known class, natural logarithm,
      and their number.
    """
    labels = batch["labels"]
    known = tf.logical_not(tf.reduce_any(tf.math.is_nan(labels), axis=-1))
    # NaN is replaced before the logarithm: masking it afterwards would leave NaN gradients.
    safe_labels = tf.where(tf.math.is_nan(labels), tf.zeros_like(labels), labels)
    losses = tf.nn.softmax_cross_entropy_with_logits(labels=safe_labels, logits=logits)
    losses = tf.where(known, losses, tf.zeros_like(losses))
    return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(known, tf.float32))
