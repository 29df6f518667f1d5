"""Metrics of classes against values worked out by hand."""

import numpy as np
import pytest
from sklearn import exceptions

from tffcxr.evaluation import class_metrics

PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.1, 0.5, 0.4],
        [0.2, 0.2, 0.6],
        [0.25, 0.5, 0.25],
    ]
)
TRUTH = np.array([0, 1, 0, 1])


def test_the_confusion_matrix_has_the_truth_in_its_rows():
    matrix = class_metrics.confusion(TRUTH, PROBABILITIES)
    np.testing.assert_array_equal(matrix, [[1, 0, 1], [0, 2, 0], [0, 0, 0]])
    assert class_metrics.accuracy(matrix) == 0.75


def test_cross_entropy_by_hand():
    expected = -np.log([0.7, 0.5, 0.2, 0.5]).mean()
    assert class_metrics.cross_entropy(TRUTH, np.log(PROBABILITIES)) == pytest.approx(expected)


def test_a_confident_mistake_costs_what_it_costs():
    """Its probability of exp(-1000) is 0 in any floating-point format."""
    assert class_metrics.cross_entropy(np.array([0]), np.array([[-1000.0, 0.0]])) == 1000.0


def test_a_model_that_diverged_has_no_accuracy():
    scores = np.array([[0.5, 0.5], [np.nan, np.nan]])
    with pytest.warns(exceptions.UndefinedMetricWarning, match="a score is NaN"):
        matrix = class_metrics.confusion(np.array([0, 0]), scores)
    assert np.isnan(class_metrics.accuracy(matrix))
    assert np.isnan(class_metrics.cross_entropy(np.array([0, 0]), scores))


def test_a_class_without_images_has_no_sensitivity():
    matrix = class_metrics.confusion(TRUTH, PROBABILITIES)
    with pytest.warns(exceptions.UndefinedMetricWarning, match="class 2 has no image"):
        found = class_metrics.sensitivities(matrix)
    np.testing.assert_array_equal(found, [0.5, 1.0, np.nan])


def test_without_images_nothing_is_defined():
    matrix = class_metrics.confusion(np.zeros(0, int), np.zeros((0, 3)))
    assert matrix.tolist() == [[0] * 3] * 3
    assert np.isnan(class_metrics.accuracy(matrix))
    assert np.isnan(class_metrics.cross_entropy(np.zeros(0, int), np.zeros((0, 3))))


def test_labels_must_tell_one_class():
    assert class_metrics.true_classes([[0, 0, 1], [1, 0, 0]]).tolist() == [2, 0]
    for bad in ([1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [np.nan, 0.0, 1.0], [0.5, 0.5, 0.0]):
        with pytest.raises(ValueError, match="expected one class per image"):
            class_metrics.true_classes([[0.0, 0.0, 1.0], bad])
