"""Tests of evaluation.finding_intervals: replicates against scikit-learn, and what is undefined."""

from typing import Any

import numpy as np
import pytest
from sklearn import exceptions
from sklearn import metrics as sklearn_metrics

from tffcxr.evaluation import (
    bootstrap,
    calibration,
    finding_intervals,
    mean_interval,
    metrics,
    proportion_interval,
    resampling,
)


def _finding(seed=0, images=120):
    generator = np.random.default_rng(seed)
    labels = (generator.random(images) < 0.4).astype(float)
    scores = 1 / (1 + np.exp(-generator.normal(2 * labels - 1, 1.2)))
    return labels, scores


def _of(ends, name):
    return ends[f"{name}_low"], ends[f"{name}_high"]


def test_a_replicate_is_the_metric_of_images_that_count_as_often_as_they_were_drawn():
    labels, scores = _finding(1, 40)
    scores = np.round(scores, 1)  # With ties.
    weights = np.random.default_rng(2).integers(0, 4, (5, 40)).astype(float)
    found = {
        name: statistic(weights)
        for name, statistic in finding_intervals.resampled_metrics(labels == 1, scores, 0.5).items()
    }
    assert set(found) == {"aupr", "f1"}
    for place, times in enumerate(weights.astype(int)):
        of, at = np.repeat(labels, times), np.repeat(scores, times)
        expected = sklearn_metrics.average_precision_score(of, at)
        assert found["aupr"][place] == pytest.approx(expected)
        assert found["f1"][place] == pytest.approx(sklearn_metrics.f1_score(of, at >= 0.5))


def test_every_metric_lies_in_its_interval():
    labels, scores = _finding()
    values = metrics.binary_metrics(labels, scores, 0.5)
    ends = finding_intervals.binary_intervals(labels, scores, 0.5, replicates=200)
    for name in metrics.BINARY_NAMES:
        low, high = _of(ends, name)
        assert low < high
        assert low <= values[name] <= high


def test_intervals_are_those_of_the_modules_that_make_them():
    labels, scores = _finding(3)
    patients = np.arange(120) // 2
    ends = finding_intervals.binary_intervals(labels, scores, 0.5, patients, 60, 0.9, 7)
    options: Any = {"replicates": 60, "level": 0.9, "seed": 7}
    positive, called = labels == 1, scores >= 0.5
    assert _of(ends, "auroc") == bootstrap.auroc_interval(labels, scores, patients, **options)
    brier = mean_interval.mean_interval((scores - labels) ** 2, patients, **options)
    assert _of(ends, "brier") == brier[1:]
    for name, hits, among in (
        ("sensitivity", called, positive), ("specificity", ~called, ~positive),
        ("ppv", positive, called), ("npv", ~positive, ~called),
        ("accuracy", called == positive, positive | ~positive),
    ):  # fmt: skip
        found = proportion_interval.proportion_interval(hits[among], patients[among], **options)
        assert _of(ends, name) == found[1:]


def test_the_calibration_error_moves_no_further_than_its_noise():
    labels, scores = _finding(1, 40)
    weights = np.random.default_rng(2).integers(0, 4, (5, 40)).astype(float)
    noise = resampling.calibration_noise(labels == 1, scores)(weights)
    error = calibration.calibration_error(labels, scores)
    for times, most in zip(weights.astype(int), noise):
        drawn = calibration.calibration_error(np.repeat(labels, times), np.repeat(scores, times))
        assert abs(drawn - error) <= most + 1e-12
    same = resampling.calibration_noise(labels == 1, scores)(np.full((1, 40), 2.0))
    assert same == pytest.approx(0, abs=1e-12)


def test_the_interval_of_the_calibration_error_covers_the_true_one():
    held = {0.0: 0, 0.25: 0}
    for excess in held:
        for seed in range(40):
            generator = np.random.default_rng(seed)
            scores = generator.uniform(0.3, 0.7, 150)
            labels = (generator.random(150) < scores + excess).astype(float)
            ends = finding_intervals.binary_intervals(labels, scores, 0.5, replicates=60)
            held[excess] += ends["ece_low"] <= excess <= ends["ece_high"]
    assert held[0.0] >= 34  # 38 expected, standard deviation 1.4
    assert held[0.25] >= 36  # Conservative there.


def test_what_is_undefined_has_no_interval():
    labels, scores = _finding()
    ends = finding_intervals.binary_intervals(labels, scores, float("nan"), replicates=20)
    undefined = {name for name in metrics.BINARY_NAMES if np.isnan(_of(ends, name)).all()}
    assert undefined == {"accuracy", "sensitivity", "specificity", "ppv", "npv", "f1"}
    ends = finding_intervals.binary_intervals(np.ones(30), scores[:30], 0.5, replicates=20)
    undefined = {name for name in metrics.BINARY_NAMES if np.isnan(_of(ends, name)).all()}
    assert undefined == {"auroc", "aupr", "specificity"}
    nothing = finding_intervals.binary_intervals(labels * np.nan, scores, 0.5)
    diverged = finding_intervals.binary_intervals(labels, scores * np.nan, 0.5)
    assert np.isnan([*nothing.values(), *diverged.values()]).all()


def test_few_patients_have_wilsons_intervals_alone_with_a_warning():
    labels, scores = np.array([1, 1, 0, 0, 0, 0, 0, 0.0]), np.linspace(0.9, 0.1, 8)
    with pytest.warns(exceptions.UndefinedMetricWarning, match="2 positive and 6 negative"):
        ends = finding_intervals.binary_intervals(labels, scores, 0.5, replicates=20)
    assert np.isnan([*_of(ends, "auroc"), *_of(ends, "aupr"), *_of(ends, "f1")]).all()
    assert _of(ends, "sensitivity") == pytest.approx((1 / (1 + 3.8414588 / 2), 1))


def test_a_metric_without_value_in_many_replicates_has_no_interval():
    # One patient of six holds what is positive or called so: F1 is undefined without it.
    labels = np.zeros(10)
    scores = np.array([0.9] + [0.1] * 9)
    patients = np.arange(10)
    with pytest.warns(exceptions.UndefinedMetricWarning, match="f1 is undefined in"):
        ends = finding_intervals.binary_intervals(labels, scores, 0.5, patients, 100)
    assert np.isnan(_of(ends, "f1")).all()
    assert np.isfinite(_of(ends, "brier")).all()
