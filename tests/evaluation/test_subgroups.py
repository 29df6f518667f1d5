"""Tests of evaluation.subgroups: groups measured alone, their gaps, and too small groups."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tffcxr.evaluation import bootstrap, subgroups
from tffcxr.evaluation.mean_interval import mean_interval
from tffcxr.evaluation.proportion_interval import proportion_interval


def _images(seed=0, images=240, shifts=(2.0, 0.5)):
    """Two groups in turn, in which scores tell images apart by so much."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(images) // 2 % 2).astype(float)
    group = np.arange(images) % 2
    scores = 1 / (1 + np.exp(-generator.normal(np.array(shifts)[group] * labels, 1.0)))
    return np.array(["a", "b"], object)[group], labels, scores


def _compare(names, labels, scores, order=("a", "b"), **options):
    patients = np.arange(len(labels))
    return subgroups.compare(
        names, order, labels, scores, scores >= 0.6, patients, replicates=100, **options
    )


def test_a_group_is_measured_as_if_it_were_alone():
    names, labels, scores = _images()
    first, second = _compare(names, labels, scores, seed=3)
    mine = names == "a"
    assert (first.name, first.images, first.patients, first.positives) == ("a", 120, 120, 60)
    assert first.auroc.mean == sklearn_metrics.roc_auc_score(labels[mine], scores[mine])
    interval = bootstrap.auroc_interval(labels[mine], scores[mine], replicates=100, seed=3)
    assert first.auroc[1:] == interval
    called = scores[names == "b"] >= 0.6
    positive = labels[names == "b"] == 1
    assert second.sensitivity == proportion_interval(called[positive])
    assert second.specificity == proportion_interval(~called[~positive])


def test_the_gap_is_that_to_the_best_group():
    first, second = _compare(*_images())
    assert np.isnan(first.gap).all()
    assert second.gap.mean == pytest.approx(first.auroc.mean - second.auroc.mean)
    assert 0 < second.gap.low < second.gap.mean < second.gap.high
    width = np.hypot(
        first.auroc.high - first.auroc.low, second.auroc.high - second.auroc.low
    )  # Of independent groups, variances add up.
    assert second.gap.high - second.gap.low == pytest.approx(width, rel=0.25)


def test_groups_that_are_treated_alike_have_a_gap_whose_interval_holds_0_mostly():
    held = 0
    for seed in range(10):
        *_, worse = sorted(_compare(*_images(seed, shifts=(1.0, 1.0))), key=lambda g: -g.auroc.mean)
        held += worse.gap.low <= 0
    assert held >= 8


def test_small_groups_are_measured_and_not_compared():
    names, labels, scores = _images()
    names = names.copy()
    names[np.flatnonzero(labels == 1)[:9]] = "c"
    names[np.flatnonzero(labels == 0)[:30]] = "c"
    names[-1] = "d"
    found = _compare(names, labels, scores, order=("d", "c", "b", "a", "nobody"))
    assert [group.name for group in found] == ["d", "c", "b", "a"]
    assert [group.is_small for group in found] == [True, True, False, False]
    alone, small, *_ = found
    assert np.isnan([*alone.auroc, *alone.gap, *alone.specificity]).all()
    assert 0 <= small.auroc.low <= small.auroc.mean
    assert np.isnan(small.gap).all()


def test_unknown_labels_are_left_out_and_there_may_be_no_operating_point():
    names, labels, scores = _images()
    labels[:40] = np.nan
    found = subgroups.compare(names, ("a", "b"), labels, scores, None, np.arange(240), 20)
    assert [group.images for group in found] == [100, 100]
    assert np.isnan([value for group in found for value in group.sensitivity]).all()


def test_a_model_that_diverged_has_no_auroc():
    names, labels, scores = _images()
    found = subgroups.compare(names, ("a",), labels, scores * np.nan, None, np.arange(240), 20)
    assert np.isnan(found[0].auroc).all()


def _masks(images=60):
    generator = np.random.default_rng(1)
    group = np.arange(images) % 2
    dice = np.array([0.9, 0.6])[group] + generator.normal(0, 0.02, images)
    return np.array(["a", "b"], object)[group], dice, np.arange(images) // 2 // 2


def test_means_of_groups_have_the_intervals_of_patients_and_gaps():
    names, dice, patients = _masks()
    first, second = subgroups.compare_means(
        names, ("a", "b"), {"dice": dice}, patients, replicates=100, seed=3
    )
    mine = names == "a"
    assert (first.name, first.images, first.patients, first.is_small) == ("a", 30, 15, False)
    assert first.means["dice"] == mean_interval(dice[mine], patients[mine], 100, seed=3)
    assert np.isnan(first.gaps["dice"]).all()
    gap = second.gaps["dice"]
    assert gap.mean == pytest.approx(dice[mine].mean() - dice[~mine].mean())
    assert 0.25 < gap.low < gap.mean < gap.high < 0.35


def test_images_without_a_value_and_small_groups_of_means():
    names, dice, patients = _masks()
    names = names.copy()
    names[:9] = "c"
    names[9], dice[9] = "d", np.nan
    jaccard = dice.copy()
    jaccard[names == "b"] = np.nan  # Undefined of one metric alone.
    found = subgroups.compare_means(
        *(names, ("a", "b", "c", "d"), {"dice": dice, "jaccard": jaccard}, patients, 20)
    )
    assert [group.name for group in found] == ["a", "b", "c"]
    assert [group.is_small for group in found] == [False, True, True]
    assert found[1].means["dice"].mean == pytest.approx(dice[names == "b"].mean())
    assert np.isnan([*found[1].means["jaccard"], *found[1].gaps["dice"]]).all()
