"""BCE-Dice and BCE against values worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.models import segmentation_losses
from tffcxr.models.networks import segmentation_encoders

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


class TestPackage:
    """The losses of `segmentation-models`, which take probabilities.

    Its Dice loss of one image and a smoothing of 1 is ours. By default it smooths by 1e-5, so that
    of an image without the region every prediction but none at all costs 1, and it takes a batch
    for one image, as the code of CXR-FL does. Its cross-entropy is the mean over the batch, clipped
    at probabilities of 1e-7: 16, where ours goes on with the logit.
    """

    def _losses(self, **options):
        losses = segmentation_encoders.package().losses
        return losses.DiceLoss(**options), losses.BinaryCELoss()

    def _batch(self):
        generator = np.random.default_rng(0)
        logits = tf.constant(generator.normal(size=(4, 5, 6, 1)), tf.float32)
        masks = generator.random((4, 5, 6, 1)) < np.array([0.0, 0.3, 0.6, 1.0])[:, None, None, None]
        return tf.constant(masks, tf.float32), logits

    def test_images_with_and_without_the_region(self):
        masks, logits = self._batch()
        dice, cross_entropy = self._losses(per_image=True, smooth=1.0)
        for mask, logit, ours in zip(masks, logits, segmentation_losses.bce_dice(masks, logits)):
            pair = mask[None], tf.sigmoid(logit)[None]
            assert float(ours) == pytest.approx(float(dice(*pair) + cross_entropy(*pair)), rel=1e-5)

    def test_a_batch_is_the_mean_of_its_images(self):
        masks, logits = self._batch()
        dice, cross_entropy = self._losses(per_image=True, smooth=1.0)
        expected = dice(masks, tf.sigmoid(logits)) + cross_entropy(masks, tf.sigmoid(logits))
        total, images = segmentation_losses.batch_loss({"masks": masks}, logits)
        assert float(total / images) == pytest.approx(float(expected), rel=1e-5)

    def test_an_empty_mask_costs_the_whole_dice_by_default(self):
        empty, logits = _image(0, 0, 0, 0), _image(*[-5.0] * 4)
        dice, _ = self._losses(per_image=True)
        assert float(dice(empty, tf.sigmoid(logits))) == pytest.approx(1.0, abs=1e-3)
        ours = segmentation_losses.bce_dice(empty, logits) - segmentation_losses.bce(empty, logits)
        # 1 - (0 + 1) / (4 / (1 + e^5) + 1).
        assert float(ours[0]) == pytest.approx(1 - 1 / (4 / (1 + math.exp(5)) + 1), rel=1e-4)

    def test_the_whole_batch_together_by_default(self):
        masks, logits = (
            tf.concat([_image(1, 1, 1, 1), _image(0, 0, 0, 0)], 0),
            tf.zeros([2, 2, 2, 1]),
        )
        together, _ = self._losses(smooth=1.0)
        # 1 - (2 * 2 + 1) / (4 + 4 + 1); by image 1 - 5 / 7 and 1 - 1 / 3.
        assert float(together(masks, tf.sigmoid(logits))) == pytest.approx(4 / 9)
        ours = segmentation_losses.bce_dice(masks, logits) - segmentation_losses.bce(masks, logits)
        np.testing.assert_allclose(ours, [2 / 7, 2 / 3], rtol=1e-5)
