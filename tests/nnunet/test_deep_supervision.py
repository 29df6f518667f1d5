"""nnU-Net's loss against values worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.nnunet import deep_supervision

NAN = float("nan")
# Logit ln 3 is probability 3/4, -ln 3 is 1/4; cross-entropy of the right side is ln(4/3), of the
# wrong one ln 4.
_UP, _DOWN = math.log(3), -math.log(3)
_RIGHT, _WRONG = math.log(4 / 3), math.log(4)


def _image(*pixels):
    return tf.reshape(tf.constant(pixels, tf.float32), [1, 2, 2, 1])


def _two(differences):
    """Two-class logits [B, H, W, 2] whose difference is given; a constant in both is nothing."""
    return tf.concat([tf.fill(tf.shape(differences), 5.0), 5.0 + differences], -1)


def _loss(masks, *outputs):
    loss, images = deep_supervision.batch_loss({"masks": masks}, list(outputs))
    return float(loss), float(images)


def test_by_hand():
    masks, logits = _image(1, 1, 0, 0), _image(_UP, _DOWN, _DOWN, _UP)
    # Overlap 3/4 + 1/4 = 1; sum of probabilities 2, of the mask 2: Dice 2 / 4.
    expected = (_RIGHT + _WRONG) / 2 - 2 / 4
    assert _loss(masks, _two(logits)) == (pytest.approx(expected, abs=1e-5), 1)
    np.testing.assert_allclose(deep_supervision.image_loss(masks, logits), [expected], atol=1e-5)


def test_runs_from_infinity_to_minus_one():
    masks = _image(1, 0, 1, 0)
    sure = _image(100, -100, 100, -100)
    assert _loss(masks, _two(sure))[0] == pytest.approx(-1)
    # Cross-entropy 100; no overlap.
    assert _loss(masks, _two(-sure))[0] == pytest.approx(100, abs=1e-4)
    assert float(deep_supervision.image_loss(masks, sure)[0]) == pytest.approx(-1)


def test_the_dice_is_of_the_batch():
    masks = tf.concat([_image(1, 1, 1, 1), _image(0, 0, 0, 0)], 0)
    logits = tf.concat([_image(_UP, _UP, _UP, _UP), _image(_DOWN, _DOWN, _DOWN, _DOWN)], 0)
    # Overlap 3; probabilities 3 + 1; mask 4: Dice 6 / 8. All are on the right side.
    loss, images = _loss(masks, _two(logits))
    assert images == 2
    assert loss / images == pytest.approx(_RIGHT - 6 / 8, abs=1e-5)
    # Alone the empty one has no overlap: Dice nearly 0.
    alone = deep_supervision.image_loss(masks, logits).numpy()
    np.testing.assert_allclose(alone, [_RIGHT - 6 / 7, _RIGHT], atol=1e-4)


def test_an_empty_mask_with_nothing_predicted_is_right():
    masks, logits = _image(0, 0, 0, 0), _image(-100, -100, -100, -100)
    assert _loss(masks, _two(logits))[0] == pytest.approx(-1)


def test_weights_of_the_resolutions():
    assert deep_supervision.supervision_weights(4) == pytest.approx((4 / 7, 2 / 7, 1 / 7, 0))
    assert deep_supervision.supervision_weights(2) == (1, 0)
    assert deep_supervision.supervision_weights(1) == (1,)


def test_lower_resolutions_have_the_mask_of_the_nearest_pixel():
    masks = np.zeros((1, 4, 8, 1), np.float32)
    masks[0, 2, 3] = 1  # In rows 0 to 3 and columns 2 and 3.
    full = _two(tf.zeros([1, 4, 8, 1]))
    half = np.full((1, 1, 4, 1), -100, np.float32)
    half[0, 0, 1] = 100  # Row 4 // 2 = 2 and column 2 + 2 // 2 = 3 of the mask.
    lowest = _two(tf.fill([1, 1, 2, 1], NAN))  # Counts nothing.
    loss, _ = deep_supervision.batch_loss({"masks": masks}, [full, _two(half), lowest])
    # At full size every probability is 1/2: Dice 2 * 0.5 / (16 + 1).
    expected = (math.log(2) - 1 / 17) * 2 / 3 - 1 * 1 / 3
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_an_image_that_is_not_annotated_adds_nothing():
    masks = tf.concat([_image(1, 1, 0, 0), _image(NAN, NAN, NAN, NAN)], 0)
    logits = tf.Variable(_two(tf.concat([_image(_UP, _DOWN, _DOWN, _UP), _image(5, 5, -5, 0)], 0)))
    with tf.GradientTape() as tape:
        loss, images = deep_supervision.batch_loss({"masks": masks}, [logits])
    expected = _loss(masks[:1], logits[:1])
    assert (float(loss), float(images)) == (pytest.approx(expected[0]), 1)
    gradient = tape.gradient(loss, logits).numpy()
    np.testing.assert_array_equal(gradient[1], np.zeros((2, 2, 2)))
    assert np.all(gradient[0] != 0)


def test_nothing_annotated_is_no_loss():
    loss, images = _loss(_image(NAN, 0, 0, 0), _two(_image(1, 2, 3, 4)))
    assert (loss, images) == (0, 0)


def test_extreme_logits_have_a_finite_loss_and_gradient():
    logits = tf.Variable(_two(_image(-1000, 1000, -1000, 1000)))
    with tf.GradientTape() as tape:
        loss, _ = deep_supervision.batch_loss({"masks": _image(1, 0, 1, 0)}, [logits])
    assert float(loss) == pytest.approx(1000, abs=1e-3)
    assert np.all(np.isfinite(tape.gradient(loss, logits)))


def test_masks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="multiple of 3x2 pixels, found 4x4"):
        deep_supervision.batch_loss({"masks": tf.zeros([1, 4, 4, 1])}, [tf.zeros([1, 3, 2, 2])])
    with pytest.raises(ValueError, match="incompatible"):  # It would broadcast.
        deep_supervision.image_loss(tf.zeros([2, 2, 2, 1]), tf.zeros([1, 2, 2, 1]))
