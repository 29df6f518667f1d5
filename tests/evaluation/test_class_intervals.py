"""Tests of evaluation.class_intervals: scikit-learn's values, replicates, and what is undefined."""

import numpy as np
import pytest
from sklearn import exceptions
from sklearn import metrics as sklearn_metrics

from tffcxr.evaluation import calibration, class_intervals, class_metrics, mean_interval
from tffcxr.evaluation import proportion_interval as proportions


def _classes(seed=0, images=90):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, images)
    logits = generator.normal(0, 1, (images, 3)) + 1.5 * np.eye(3)[truth]
    return truth, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def _end(values, name):
    return values[f"{name}_low"], values[f"{name}_high"]


def test_values_are_those_of_scikit_learn_and_lie_in_their_intervals():
    truth, scores = _classes()
    values = class_intervals.class_values(truth, scores, np.arange(90), 100)
    called = scores.argmax(axis=1)
    assert values["accuracy"] == sklearn_metrics.accuracy_score(truth, called)
    assert values["loss"] == pytest.approx(sklearn_metrics.log_loss(truth, np.exp(scores)))
    assert values["f1"] == sklearn_metrics.f1_score(truth, called, average="macro")
    assert values["kappa"] == pytest.approx(sklearn_metrics.cohen_kappa_score(truth, called))
    assert values["brier"] == calibration.class_brier_score(truth, np.exp(scores))
    assert values["ece"] == calibration.class_calibration_error(truth, np.exp(scores))
    for name in class_intervals.NAMES:
        low, high = _end(values, name)
        assert low < values[name] < high
    assert _end(values, "accuracy") == proportions.proportion_interval(called == truth)[1:]
    of_image = calibration.class_brier_scores(truth, np.exp(scores))
    brier = mean_interval.mean_interval(of_image, replicates=100)
    assert _end(values, "brier") == brier[1:]


def test_a_replicate_is_the_metric_of_images_that_count_as_often_as_they_were_drawn():
    truth, scores = _classes(1, 30)
    called = scores.argmax(axis=1)
    weights = np.random.default_rng(2).integers(0, 4, (4, 30)).astype(float)
    found = {
        name: statistic(weights)
        for name, statistic in class_intervals.resampled_metrics(truth, called, 3).items()
    }
    for place, times in enumerate(weights.astype(int)):
        of, at = np.repeat(truth, times), np.repeat(called, times)
        assert found["f1"][place] == pytest.approx(
            sklearn_metrics.f1_score(of, at, average="macro")
        )
        assert found["kappa"][place] == pytest.approx(sklearn_metrics.cohen_kappa_score(of, at))


def test_a_class_that_is_neither_there_nor_called_does_not_count_in_f1():
    truth, scores = _classes(3)
    with_fourth = np.column_stack([scores, np.full(90, -50.0)])
    expected = class_intervals.class_values(truth, scores, np.arange(90), 50)
    found = class_intervals.class_values(truth, with_fourth, np.arange(90), 50)
    assert found == pytest.approx(expected)


def test_one_class_has_no_kappa():
    scores = np.log(np.tile([0.75, 0.25], (12, 1)))
    with pytest.warns(exceptions.UndefinedMetricWarning, match="kappa is undefined in 20 of 20"):
        values = class_intervals.class_values(np.zeros(12, int), scores, np.arange(12), 20)
    assert np.isnan([values["kappa"], *_end(values, "kappa")]).all()
    assert (values["accuracy"], values["f1"]) == (1.0, 1.0)
    assert values["accuracy_low"] == pytest.approx(1 / (1 + 3.8414588 / 12))


def test_few_patients_and_diverged_models():
    truth, scores = _classes(4, 8)
    with pytest.warns(exceptions.UndefinedMetricWarning, match="2 patients"):
        values = class_intervals.class_values(truth, scores, np.arange(8) // 4, 20)
    assert values["accuracy"] == class_metrics.accuracy(class_metrics.confusion(truth, scores))
    assert np.isnan([*_end(values, "f1"), *_end(values, "ece"), *_end(values, "loss")]).all()
    for diverged in ((truth, scores * np.nan), (truth[:0], scores[:0])):
        with pytest.warns(exceptions.UndefinedMetricWarning, match="every metric is undefined"):
            values = class_intervals.class_values(*diverged, np.arange(len(diverged[0])))
        assert np.isnan(list(values.values())).all()


def test_a_probability_of_0_for_the_truth_has_an_infinite_loss_without_interval():
    truth, scores = _classes(5)
    scores[0] = np.where(np.arange(3) == truth[0], -np.inf, np.log(0.5))
    values = class_intervals.class_values(truth, scores, np.arange(90), 20)
    assert values["loss"] == np.inf
    assert np.isnan(_end(values, "loss")).all()
    assert np.isfinite(_end(values, "brier")).all()
