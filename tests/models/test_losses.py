"""The masked loss against values worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.models import losses

NAN = float("nan")


def test_sums_and_counts_per_example():
    labels = tf.constant([[1.0, 0.0], [NAN, 1.0], [NAN, NAN]])
    logits = tf.constant([[0.0, 0.0], [100.0, 2.0], [3.0, -3.0]])
    loss, known = losses.masked_binary_crossentropy_sums(labels, logits)
    # ln 2 twice; -ln sigmoid(2) = ln(1 + e^-2); nothing.
    expected = [2 * math.log(2), math.log1p(math.exp(-2)), 0.0]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_array_equal(known, [2, 1, 0])


def test_mean_is_over_known_labels_and_not_over_examples():
    labels = tf.constant([[1.0, 0.0], [NAN, 1.0]])
    logits = tf.constant([[0.0, 0.0], [100.0, 2.0]])
    expected = (2 * math.log(2) + math.log1p(math.exp(-2))) / 3
    mean = float(losses.masked_binary_crossentropy(labels, logits))
    assert mean == pytest.approx(expected, rel=1e-6)
    loss, known = losses.batch_loss({"labels": labels}, logits)
    assert float(loss / known) == pytest.approx(expected, rel=1e-6)


def test_unknown_labels_give_no_gradient():
    labels = tf.constant([[1.0, NAN], [NAN, NAN]])
    logits = tf.Variable([[0.0, 5.0], [-700.0, 700.0]])
    with tf.GradientTape() as tape:
        loss = losses.masked_binary_crossentropy(labels, logits)
    # d/dz of -ln sigmoid(z) at 0 is sigmoid(0) - 1.
    np.testing.assert_allclose(tape.gradient(loss, logits), [[-0.5, 0.0], [0.0, 0.0]])


def test_batch_without_known_labels_is_zero_with_weight_zero():
    labels = tf.fill([2, 3], NAN)
    logits = tf.Variable(tf.ones([2, 3]))
    with tf.GradientTape() as tape:
        mean = losses.masked_binary_crossentropy(labels, logits)
    assert float(mean) == 0.0
    np.testing.assert_array_equal(tape.gradient(mean, logits), np.zeros((2, 3)))
    assert [float(x) for x in losses.batch_loss({"labels": labels}, logits)] == [0.0, 0.0]


def test_extreme_logits_stay_finite():
    loss, _ = losses.masked_binary_crossentropy_sums(
        tf.constant([[1.0, 0.0]]), tf.constant([[-1000.0, 1000.0]])
    )
    np.testing.assert_allclose(loss, [2000.0])


def test_the_cross_entropy_of_classes_by_hand():
    labels = tf.constant([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [NAN, NAN, NAN]])
    logits = tf.Variable([[0.0, np.log(2.0), 0.0], [0.0, 0.0, 0.0], [700.0, -700.0, 0.0]])
    with tf.GradientTape() as tape:
        loss, images = losses.class_batch_loss({"labels": labels}, logits)
    # Probabilities 1/4, 1/2, 1/4 and thrice 1/3; the third image has no known class.
    assert float(loss) == pytest.approx(np.log(2.0) + np.log(3.0))
    assert float(images) == 2.0
    expected = [[1 / 4, 1 / 2 - 1, 1 / 4], [1 / 3 - 1, 1 / 3, 1 / 3], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(tape.gradient(loss, logits), expected, rtol=1e-5)


def test_weighted_classes_by_hand():
    labels = tf.constant([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [NAN, 1.0, 0.0]])
    logits = tf.Variable([[0.0, np.log(2.0), 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    with tf.GradientTape() as tape:
        loss, images = losses.weighted_class_batch_loss((0.5, 3.0, 7.0))({"labels": labels}, logits)
    # The class of the first image counts 3, that of the second 0.5; the third has none.
    assert float(loss) == pytest.approx(3.0 * np.log(2.0) + 0.5 * np.log(3.0))
    assert float(images) == 2.0
    expected = [[3 / 4, 3 / 2 - 3, 3 / 4], [0.5 / 3 - 0.5, 0.5 / 3, 0.5 / 3], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(tape.gradient(loss, logits), expected, rtol=1e-5)


def test_equal_weights_change_nothing():
    batch = {"labels": tf.constant([[0.0, 1.0], [NAN, NAN], [1.0, 0.0]])}
    logits = tf.constant([[0.3, -1.0], [2.0, 0.0], [0.5, 4.0]])
    plain = losses.class_batch_loss(batch, logits)
    weighted = losses.weighted_class_batch_loss((1.0, 1.0))(batch, logits)
    np.testing.assert_array_equal(plain, weighted)


def test_inverse_frequencies_by_hand():
    # 12 images of 3 classes: 12 / (3 * 1), 12 / (3 * 3), 12 / (3 * 8).
    np.testing.assert_allclose(losses.inverse_frequencies([1, 3, 8]), [4.0, 4 / 3, 0.5])
    weights = losses.inverse_frequencies([5, 45, 50])
    assert np.dot(weights, [5, 45, 50]) == pytest.approx(100)  # Their mean over the images is 1.
    with pytest.raises(ValueError, match=r"images of every class, found \[3, 0\]"):
        losses.inverse_frequencies([3, 0])
