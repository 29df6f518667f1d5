"""BCE-Dice and BCE against values worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.models import segmentation_losses

NAN = float("nan")


def _image(*pixels):
    return tf.reshape(tf.constant(pixels, tf.float32), [1, 2, 2, 1])


# Logit ln 3 is probability 3/4, -ln 3 is 1/4; BCE of the right side is ln(4/3), of the wrong ln 4.
_UP, _DOWN = math.log(3), -math.log(3)


def test_by_hand():
    masks, logits = _image(1, 1, 0, 0), _image(_UP, _DOWN, _DOWN, _UP)
    # Overlap 3/4 + 1/4 = 1; sum of probabilities 2, of the mask 2: Dice (2 + 1) / (4 + 1).
    expected = (math.log(4 / 3) + math.log(4)) / 2 + 1 - 3 / 5
    loss = segmentation_losses.bce_dice(masks, logits)
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, [expected], rtol=1e-6)


def test_bce_by_hand():
    masks, logits = _image(1, 1, 0, 0), _image(_UP, _DOWN, _DOWN, _UP)
    expected = (math.log(4 / 3) + math.log(4)) / 2
    np.testing.assert_allclose(segmentation_losses.bce(masks, logits), [expected], rtol=1e-6)
    both = {"masks": tf.concat([masks, _image(NAN, 0, 0, 0)], 0)}
    loss, count = segmentation_losses.bce_batch_loss(both, tf.concat([logits, logits], 0))
    assert (float(loss), float(count)) == (pytest.approx(expected, rel=1e-6), 1)


def test_an_empty_mask_by_hand():
    masks, logits = _image(0, 0, 0, 0), _image(_DOWN, _DOWN, _DOWN, _DOWN)
    # No overlap; sum of probabilities 1: Dice (0 + 1) / (1 + 0 + 1).
    expected = math.log(4 / 3) + 1 - 1 / 2
    np.testing.assert_allclose(segmentation_losses.bce_dice(masks, logits), [expected], rtol=1e-6)


@pytest.mark.parametrize("masks", [(0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 0, 1)])
def test_a_sure_and_right_prediction_costs_nothing(masks):
    logits = _image(*(100.0 if pixel else -100.0 for pixel in masks))
    np.testing.assert_allclose(segmentation_losses.bce_dice(_image(*masks), logits), [0], atol=1e-6)


def test_a_batch_is_the_sum_of_its_images():
    images = [
        (_image(1, 1, 0, 0), _image(_UP, _DOWN, _DOWN, _UP)),
        (_image(0, 0, 0, 0), _image(_DOWN, _DOWN, _DOWN, _DOWN)),
    ]
    masks, logits = (tf.concat(tensors, 0) for tensors in zip(*images))
    loss, count = segmentation_losses.batch_loss({"masks": masks}, logits)
    alone = [float(segmentation_losses.bce_dice(m, z)[0]) for m, z in images]
    assert (loss.dtype, count.dtype) == (tf.float32, tf.float32)
    assert float(loss) == pytest.approx(sum(alone), rel=1e-6)
    assert float(count) == 2


def test_an_image_that_is_not_annotated_adds_nothing():
    masks = tf.concat([_image(1, 1, 0, 0), _image(NAN, NAN, NAN, NAN)], 0)
    logits = tf.Variable(tf.concat([_image(_UP, _DOWN, _DOWN, _UP), _image(5, 5, -5, 0)], 0))
    with tf.GradientTape() as tape:
        loss, count = segmentation_losses.batch_loss({"masks": masks}, logits)
    expected = segmentation_losses.bce_dice(masks[:1], logits[:1])
    assert (float(loss), float(count)) == (pytest.approx(float(expected[0])), 1)
    gradient = tape.gradient(loss, logits).numpy()
    np.testing.assert_array_equal(gradient[1], np.zeros((2, 2, 1)))
    assert np.all(gradient[0] != 0)


def test_extreme_logits_have_a_finite_loss_and_gradient():
    masks, logits = _image(1, 0, 1, 0), tf.Variable(_image(-1000, 1000, -1000, 1000))
    with tf.GradientTape() as tape:
        loss, _ = segmentation_losses.batch_loss({"masks": masks}, logits)
    # BCE 1000; no overlap: Dice (0 + 1) / (2 + 2 + 1).
    assert float(loss) == pytest.approx(1000 + 1 - 1 / 5)
    assert np.all(np.isfinite(tape.gradient(loss, logits)))


def test_masks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="incompatible"):
        segmentation_losses.batch_loss({"masks": tf.zeros([1, 4, 4, 1])}, tf.zeros([1, 2, 2, 1]))
    with pytest.raises(ValueError, match="incompatible"):  # It would broadcast.
        segmentation_losses.batch_loss({"masks": tf.zeros([2, 2, 2, 1])}, tf.zeros([1, 2, 2, 1]))
