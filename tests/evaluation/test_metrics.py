"""Tests of evaluation.metrics with confusion tables counted by hand."""

import warnings

import numpy as np
import pytest
from sklearn import exceptions
from sklearn import metrics as sklearn_metrics

from tffcxr.evaluation import metrics

NAN = float("nan")


def test_metrics_match_hand_calculation():
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    scores = np.array([0.9, 0.6, 0.3, 0.7, 0.2, 0.1, 0.1])
    result = metrics.binary_metrics(labels, scores, threshold=0.6)
    # Positive at 0.6: two of three positives and one of four negatives.
    assert result["sensitivity"] == pytest.approx(2 / 3)
    assert result["specificity"] == pytest.approx(3 / 4)
    assert result["accuracy"] == pytest.approx(5 / 7)
    # Pairs won: 0.9 beats 4 negatives, 0.6 and 0.3 beat 3 each, of 12.
    assert result["auroc"] == pytest.approx(10 / 12)
    # Precision at each positive, from the highest score: 1/1, 2/3, 3/4.
    assert result["aupr"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    likelihoods = np.array([0.9, 0.6, 0.3, 0.3, 0.8, 0.9, 0.9])
    assert result["loss"] == pytest.approx(-np.log(likelihoods).mean())


def test_predictive_values_and_f1_are_scikit_learns():
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 2, 50), generator.random(50)
    result = metrics.binary_metrics(labels, scores, threshold=0.3)
    called = scores >= 0.3
    assert result["ppv"] == pytest.approx(sklearn_metrics.precision_score(labels, called))
    assert result["npv"] == pytest.approx(sklearn_metrics.precision_score(1 - labels, ~called))
    assert result["f1"] == pytest.approx(sklearn_metrics.f1_score(labels, called))
    assert result["accuracy_half"] == sklearn_metrics.accuracy_score(labels, scores >= 0.5)
    assert result["loss"] == pytest.approx(sklearn_metrics.log_loss(labels, scores))


def test_predictive_values_of_no_image_are_undefined():
    labels = np.array([0, 1, 0, 1])
    with pytest.warns(exceptions.UndefinedMetricWarning, match="no image is called positive: ppv"):
        result = metrics.binary_metrics(labels, np.full(4, 0.2), threshold=0.5)
    assert np.isnan(result["ppv"])
    assert (result["npv"], result["f1"]) == (0.5, 0.0)
    with pytest.warns(exceptions.UndefinedMetricWarning, match="F1 is undefined"):
        result = metrics.binary_metrics(np.zeros(4), np.full(4, 0.2), threshold=0.5)
    assert np.isnan(result["f1"])


def test_unknown_labels_are_left_out_even_where_their_score_is_nan():
    known = metrics.binary_metrics(np.array([1.0, 0, 1, 0]), np.array([0.9, 0.8, 0.3, 0.1]), 0.5)
    with_unknown = metrics.binary_metrics(
        np.array([NAN, 1.0, 0, NAN, 1, 0]), np.array([0.0, 0.9, 0.8, NAN, 0.3, 0.1]), 0.5
    )
    assert with_unknown == known


def test_one_class_leaves_only_its_own_metrics():
    with pytest.warns(exceptions.UndefinedMetricWarning, match="AUROC and AUPR are undefined"):
        result = metrics.binary_metrics(np.ones(4), np.array([0.9, 0.6, 0.4, 0.7]), 0.5)
    assert result["sensitivity"] == 0.75
    assert result["accuracy"] == 0.75
    assert np.isfinite(result["loss"])
    assert np.isnan([result["specificity"], result["auroc"], result["aupr"]]).all()


def test_no_known_label_or_a_diverged_model_makes_everything_nan():
    with pytest.warns(exceptions.UndefinedMetricWarning, match="no image has a known label"):
        empty = metrics.binary_metrics(np.array([NAN]), np.array([0.4]), 0.5)
    with pytest.warns(exceptions.UndefinedMetricWarning, match="diverged"):
        diverged = metrics.binary_metrics(np.array([0, 1]), np.array([0.4, NAN]), 0.5)
    assert np.isnan(list(empty.values())).all()
    assert np.isnan(list(diverged.values())).all()


def test_without_operating_point_ranking_metrics_remain():
    with pytest.warns(exceptions.UndefinedMetricWarning, match="no operating point"):
        result = metrics.binary_metrics(np.array([0, 1]), np.array([0.4, 0.6]), NAN)
    assert result["auroc"] == 1.0
    assert np.isnan([result["sensitivity"], result["specificity"], result["accuracy"]]).all()


def test_saturated_wrong_score_has_finite_loss():
    result = metrics.binary_metrics(np.array([1, 0]), np.array([0.0, 0.5], np.float32), 0.25)
    assert result["loss"] == pytest.approx((-np.log(1e-7) - np.log(0.5)) / 2)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [-3.0, 4.0], "probabilities in 0..1"),
        ([0, 2], [0.1, 0.2], "labels 0, 1 or NaN, found 2"),
        ([0, 1, 1], [0.1, 0.2], "labels \\[N\\]"),
    ],
)
def test_inputs_that_would_give_a_wrong_number_are_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        metrics.binary_metrics(np.array(labels), np.array(scores), 0.5)


def test_youden_point_separates_by_the_midpoint():
    labels = np.array([0, 0, 1, 0, 1, 1])
    scores = np.array([0.1, 0.2, 0.4, 0.5, 0.8, 0.9])
    # Above 0.5: sensitivity 2/3 + specificity 1; above 0.2: 1 + 2/3. The lower one is taken.
    threshold = metrics.operating_point(labels, scores)
    assert threshold == pytest.approx(0.3)
    result = metrics.binary_metrics(labels, scores, threshold)
    assert (result["sensitivity"], result["specificity"]) == (1.0, pytest.approx(2 / 3))


def test_youden_point_is_the_best_of_all_thresholds():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, 200)
    scores = np.round(np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1), 2)  # has ties

    def youden(threshold):
        result = metrics.binary_metrics(labels, scores, threshold)
        return result["sensitivity"] + result["specificity"] - 1

    best = max(youden(threshold) for threshold in np.linspace(-0.005, 1.005, 102))
    assert youden(metrics.operating_point(labels, scores)) == pytest.approx(best)


def test_rules_differ_where_they_should():
    # Youden: (sensitivity 0.4, specificity 1) has 0.4, (0.7, 0.6) has 0.3; the second is closer.
    labels = np.array([1] * 10 + [0] * 10)
    scores = np.array([0.9] * 4 + [0.5] * 3 + [0.1] * 3 + [0.5] * 4 + [0.1] * 6)
    assert metrics.operating_point(labels, scores, "youden") == pytest.approx(0.7)
    assert metrics.operating_point(labels, scores, "closest") == pytest.approx(0.3)
    with pytest.raises(ValueError, match="found 'best'"):
        metrics.operating_point(labels, scores, "best")


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 1, 1], [0.2, 0.4, 0.9], "3 positive and 0 negative"),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], "better than chance"),
        ([1, 0], [0.1, 0.9], "better than chance"),
        ([1, 0], [NAN, 0.9], "not finite"),
    ],
)
def test_operating_point_is_nan_where_there_is_none(labels, scores, message):
    with pytest.warns(exceptions.UndefinedMetricWarning, match=message):
        assert np.isnan(metrics.operating_point(np.array(labels), np.array(scores)))


def test_defined_metrics_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics.binary_metrics(np.array([0, 1, NAN]), np.array([0.2, 0.7, 0.1]), 0.5)
