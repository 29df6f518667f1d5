"""Cross-entropy over the labels that are known, of findings and of classes.

Sites label different findings, so most labels of a pooled or fixed-width task block are unknown
(NaN). An unknown label adds nothing to the loss, to its gradient or to the count it is divided by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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
    _, losses, known = _class_losses(batch["labels"], logits)
    return tf.reduce_sum(losses), tf.reduce_sum(known)


def weighted_class_batch_loss(
    weights: Sequence[float],
) -> Callable[[Mapping[str, tf.Tensor], tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns `class_batch_loss` with the cross-entropy of each image times its class's weight.

    The number of images stays what it is divided by: dividing by the sum of the weights, as PyTorch
    does, would undo them in a batch of one class, and make a client's part in the federated mean
    depend on its batches.

    Args:
      weights: of each class, such as `inverse_frequencies`, C of them.
    """

    def batch_loss(
        batch: Mapping[str, tf.Tensor], logits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        labels, losses, known = _class_losses(batch["labels"], logits)
        of_image = tf.linalg.matvec(labels, tf.constant(weights, tf.float32))  # [B]
        return tf.reduce_sum(of_image * losses), tf.reduce_sum(known)

    return batch_loss


def inverse_frequencies(counts: Sequence[int]) -> tuple[float, ...]:
    """Returns N / (C * n) for each class: as if it had as many images as every other.

    Their mean over the images is 1, so that the loss keeps its size.

    Args:
      counts: n, images of each of C classes, N in all.

    Raises:
      ValueError: a class has no image, and so no weight.
    """
    if min(counts) < 1:
        raise ValueError(f"expected images of every class, found {list(counts)}")
    return tuple(sum(counts) / (len(counts) * count) for count in counts)


def _class_losses(labels: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns labels [B, C], losses [B] and known [B], all 0 for images of unknown class."""
    known = tf.logical_not(tf.reduce_any(tf.math.is_nan(labels), axis=-1))
    # NaN is replaced before the logarithm: masking it afterwards would leave NaN gradients.
    safe_labels = tf.where(tf.math.is_nan(labels), tf.zeros_like(labels), labels)
    losses = tf.nn.softmax_cross_entropy_with_logits(labels=safe_labels, logits=logits)
    losses = tf.where(known, losses, tf.zeros_like(losses))
    return safe_labels, losses, tf.cast(known, tf.float32)
