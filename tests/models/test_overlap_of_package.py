"""Our Dice, Jaccard and BCE-Dice against those of `segmentation-models`."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.evaluation import segmentation
from tffcxr.models import segmentation_losses
from tffcxr.models.networks import segmentation_encoders

_SIZE = 6


@pytest.fixture(scope="module")
def package():
    return segmentation_encoders.package()


def _masks(count, seed=0):
    """Predicted and true masks bool [N, 6, 6, 1], from nearly empty to nearly full."""
    generator = np.random.default_rng(seed)
    return generator.random((2, count, _SIZE, _SIZE, 1)) < generator.random((2, count, 1, 1, 1))


def test_jaccard_and_dice_are_the_iou_and_f_score_of_the_package(package):
    # Its smoothing of 1e-5 in numerator and denominator is nothing beside a pixel.
    iou = package.metrics.IOUScore(per_image=True)
    f_score = package.metrics.FScore(per_image=True)
    for predicted, truth in zip(*_masks(20)):
        as_batch = [tf.cast(mask[np.newaxis], tf.float32) for mask in (truth, predicted)]
        masks = predicted[..., 0], truth[..., 0]
        assert segmentation.jaccard(*masks) == pytest.approx(float(iou(*as_batch)), abs=1e-4)
        assert segmentation.dice(*masks) == pytest.approx(float(f_score(*as_batch)), abs=1e-4)


@pytest.mark.parametrize(("predicted", "truth"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_empty_and_full_masks_are_rated_as_the_package_does(package, predicted, truth):
    masks = [np.full((_SIZE, _SIZE), bool(value)) for value in (predicted, truth)]
    as_batch = [tf.cast(mask[np.newaxis, ..., np.newaxis], tf.float32) for mask in masks[::-1]]
    expected = float(package.metrics.IOUScore(per_image=True)(*as_batch))
    assert segmentation.jaccard(*masks) == pytest.approx(expected, abs=1e-4)


def test_bce_dice_is_the_sum_of_the_packages_losses_of_each_image(package):
    # Its Dice with a smoothing of 1, image by image; its cross-entropy clips probabilities at 1e-7.
    dice, cross_entropy = package.losses.DiceLoss(smooth=1.0), package.losses.BinaryCELoss()
    _, truth = _masks(8, seed=1)
    logits = np.random.default_rng(2).normal(0.0, 3.0, truth.shape).astype(np.float32)
    masks = tf.cast(truth, tf.float32)
    found = segmentation_losses.bce_dice(masks, tf.constant(logits)).numpy()
    for ours, mask, logit in zip(found, masks, logits):
        pair = mask[tf.newaxis], tf.sigmoid(logit[np.newaxis])
        expected = float(dice(*pair)) + float(tf.reduce_mean(cross_entropy(*pair)))
        assert ours == pytest.approx(expected, rel=1e-4)
