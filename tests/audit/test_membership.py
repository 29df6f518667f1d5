"""Members have smaller losses where the model has learnt them by heart, and only there."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.audit import membership
from tffcxr.audit.audited_run import Images
from tffcxr.models import losses


def _measure(members, others):
    patients = np.arange(len(members) + len(others)).astype(str).astype(object)
    return membership.measure(np.array(members), np.array(others), patients, 200, 0)


def test_separable_losses_give_one_and_equal_ones_a_half():
    members, others = np.linspace(0, 1, 200), np.linspace(2, 3, 200)
    apart = _measure(members, others)
    assert (apart.auc, apart.low, apart.high, apart.caught) == (1.0, 1.0, 1.0, 1.0)
    same = _measure(members, members)
    assert same.auc == pytest.approx(0.5)
    assert same.low < 0.5 < same.high
    # Of 200 others two may be named; so are the two members with the same losses.
    assert same.caught == pytest.approx(2 / 200)


def test_one_member_in_four_is_certain():
    # A quarter of the members is below all others, the rest above: AUC 1/4, caught 1/4.
    members = np.concatenate([np.zeros(50), np.full(150, 9.0)]) + np.arange(200) * 1e-6
    found = _measure(members, 1 + np.arange(400) * 1e-6)
    assert (found.auc, found.caught) == (0.25, 0.25)


def test_what_cannot_be_computed_is_nan_with_a_warning():
    with pytest.warns(match="0 members and 3 others"):
        found = _measure([np.nan], [1.0, 2.0, 3.0])
    assert np.isnan([found.auc, found.low, found.high, found.caught]).all()
    with pytest.warns(match="50 images that were not trained on"):
        few = _measure(np.zeros(50), np.ones(50))
    assert few.auc == 1.0 and np.isnan(few.caught)


def test_losses_are_those_of_each_image():
    model = tf.keras.Sequential([tf.keras.Input((1, 1, 1)), tf.keras.layers.Flatten(),
                                 tf.keras.layers.Dense(2)])  # fmt: skip
    weights = [np.array([[1.0, -2.0]]), np.array([0.5, 0.0])]
    pixels = np.array([0.0, 1.0, 1.0], np.float32).reshape(3, 1, 1, 1)
    labels = np.array([[1, 0], [np.nan, 1], [np.nan, np.nan]], np.float32)
    images = Images(pixels, labels, np.array(["a", "b", "c"], object))
    found = membership.losses(model, weights, losses.batch_loss, images)
    # Logits (0.5, 0) and (1.5, -2); a label that is unknown does not count.
    first = (np.log1p(np.exp(-0.5)) + np.log(2)) / 2
    np.testing.assert_allclose(found, [first, np.log1p(np.exp(2)), np.nan], rtol=1e-5)
