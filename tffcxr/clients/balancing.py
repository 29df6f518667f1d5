"""Draws a client's training images so that its classes come equally often.

For mutually exclusive classes. A client with n images of C classes, n(c) of class c, draws each
image n / (C * n(c)) times per epoch in expectation: rare classes several times, others not in every
epoch, and about n images in all. The number is rounded up or down at random for each image and
epoch, so that all images of a class have the same chance, and one pass over the shards is enough.
Only classes that the client has are counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def expected_copies(counts: Sequence[int]) -> list[float]:
    """Returns how often an image of each class comes per epoch, in expectation.

    Args:
      counts: images of each class, 0 where there are none; these get 0.
    """
    present = sum(count > 0 for count in counts)
    return [sum(counts) / (present * count) if count else 0.0 for count in counts]


def balance(examples: tf.data.Dataset, copies: tf.Tensor, seed: tf.Tensor) -> tf.data.Dataset:
    """Repeats or leaves out examples.

    Args:
      examples: serialized examples with "labels" float32 [C], 1 for the class and else 0. One of
        unknown class (NaN) comes once.
      copies: float32 [C], of `expected_copies`.
      seed: int64 [2]; another for each epoch.

    Returns:
      The examples, copies of one after the other.
    """
    features = {"labels": tf.io.FixedLenFeature([copies.shape[0]], tf.float32)}

    def repeat(index: tf.Tensor, serialized: tf.Tensor) -> tf.data.Dataset:
        labels = tf.io.parse_single_example(serialized, features)["labels"]
        expected = tf.tensordot(labels, copies, axes=1)
        expected = tf.where(tf.math.is_nan(expected), tf.ones_like(expected), expected)
        draw = tf.random.stateless_uniform(
            [], tf.random.experimental.stateless_fold_in(seed, index), alg="philox"
        )
        count = tf.cast(tf.floor(expected + draw), tf.int64)
        return tf.data.Dataset.from_tensors(serialized).repeat(count)

    return examples.enumerate().flat_map(repeat)
