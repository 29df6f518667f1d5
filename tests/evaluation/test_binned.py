"""Counts of scores in bins, and the AUROC that hospitals have together."""

import math

import numpy as np
import pytest

from tffcxr.evaluation import binned, metrics


def test_bins_are_halves_that_hold_enough_images():
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7])
    labels = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    # Both halves hold two or more, the quarters of the lower half two each; 0.6 and 0.7 are in one
    # quarter, whose halves would hold one each.
    assert binned.bins(labels, scores, 2) == [
        (0.0, 0.25, 0, 2), (0.25, 0.5, 1, 1), (0.5, 0.75, 2, 0), (0.75, 1.0, 0, 0),
    ]  # fmt: skip
    assert binned.bins(labels, scores, 3) == [(0.0, 1.0, 3, 3)]
    assert binned.bins(labels, scores, 7) == []


def test_no_bin_with_images_holds_fewer_than_the_smallest_count():
    random = np.random.default_rng(0)
    for smallest in (1, 5, 10, 30):
        labels, scores = random.integers(0, 2, 200).astype(float), random.beta(2, 5, 200)
        found = binned.bins(labels, scores, smallest)
        sizes = [positive + negative for _, _, positive, negative in found]
        assert sum(sizes) == 200
        assert all(size == 0 or size >= smallest for size in sizes)


def test_unknown_labels_do_not_count():
    labels, scores = np.array([1.0, np.nan, 0.0]), np.array([0.9, 0.1, 0.2])
    assert sum(each[2] + each[3] for each in binned.bins(labels, scores, 1)) == 2


def test_fine_bins_give_the_auroc_itself():
    labels = np.array([0, 1, 0, 1, 1, 0, 1, 0], float)
    scores = np.array([0.05, 0.9, 0.3, 0.62, 0.3, 0.55, 0.8, 0.7])
    expected = metrics.binary_metrics(labels, scores, 0.5)["auroc"]
    assert binned.auroc(binned.bins(labels, scores, 1)) == pytest.approx(expected)


def test_one_bin_of_all_images_and_one_class_have_no_auroc():
    assert math.isnan(binned.auroc([(0.0, 1.0, 3, 3)]))
    assert math.isnan(binned.auroc([(0.0, 0.5, 3, 3), (0.5, 1.0, 0, 0)]))
    assert math.isnan(binned.auroc([(0.0, 0.5, 3, 0), (0.5, 1.0, 2, 0)]))
    assert binned.auroc([(0.0, 0.5, 3, 3), (0.5, 1.0, 1, 1)]) == 0.5


def test_pooled_bins_are_the_coarser_ones_with_all_images():
    fine = [(0.0, 0.25, 1, 2), (0.25, 0.5, 0, 3), (0.5, 1.0, 4, 0)]
    coarse = [(0.0, 0.5, 1, 1), (0.5, 1.0, 2, 2)]
    assert binned.pooled([fine, coarse]) == [(0.0, 0.5, 2, 6), (0.5, 1.0, 6, 2)]
    assert binned.pooled([coarse, fine]) == binned.pooled([fine, coarse])


def test_the_pooled_auroc_is_near_that_of_all_images():
    random = np.random.default_rng(1)
    parts = []
    for shift in (0.0, 0.1):
        labels = random.integers(0, 2, 600).astype(float)
        scores = np.clip(random.normal(0.4 + 0.2 * labels + shift, 0.15), 0.01, 0.99)
        parts.append((labels, scores))
    labels, scores = map(np.concatenate, zip(*parts))
    exact = metrics.binary_metrics(labels, scores, 0.5)["auroc"]
    found = binned.auroc(binned.pooled([binned.bins(*part, 10) for part in parts]))
    assert abs(found - exact) < 0.01


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [(0.0, 0.5, 1, 1)],
        [(0.0, 0.5, 1, 1), (0.6, 1.0, 1, 1)],
        [(0.0, 1.0, -1, 2)],
        [(0.0, 1.0, 1.5, 2)],
    ],
)
def test_other_values_are_no_bins(wrong):
    with pytest.raises(ValueError, match="bins from 0 to 1"):
        binned.pooled([[(0.0, 1.0, 1, 1)], wrong])
