"""Our Dice and Jaccard against those of `segmentation-models`."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.evaluation import segmentation
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
