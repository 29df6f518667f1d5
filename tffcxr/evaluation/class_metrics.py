"""Metrics of classes that exclude each other: accuracy, cross-entropy, confusion, sensitivities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import metrics

from tffcxr.evaluation import inputs


def confusion(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Counts images by true class (rows) and the class with the highest score (columns).

    Args:
      truth: int [N], the class of each image, 0..C-1.
      scores: [N, C], probabilities or their logarithms; of equal ones the first class counts.

    Returns:
      int64 [C, C]; with a warning nothing but 0 if a score is NaN, as of a model that diverged.
    """
    classes = scores.shape[1]
    if np.isnan(scores).any():
        inputs.undefined("a score is NaN: no image has a predicted class")
        return np.zeros((classes, classes), np.int64)
    found = scores.argmax(axis=1)
    return metrics.confusion_matrix(truth, found, labels=np.arange(classes)).astype(np.int64)


def cross_entropy(truth: np.ndarray, log_probabilities: np.ndarray) -> float:
    """The mean of minus the logarithm of the true class's probability; NaN without any image.

    From logarithms, since a probability that is rounded to 0 would have to be made up.

    Args:
      truth: int [N], 0..C-1.
      log_probabilities: [N, C], natural logarithms.
    """
    if not len(truth):
        return float("nan")
    return float(-np.mean(log_probabilities[np.arange(len(truth)), truth], dtype=np.float64))


def accuracy(matrix: np.ndarray) -> float:
    """The share of the images on the diagonal of `confusion`; NaN without any image."""
    return float(np.trace(matrix) / matrix.sum()) if matrix.sum() else float("nan")


def sensitivities(matrix: np.ndarray) -> np.ndarray:
    """The share of each class's images that are recognised.

    Args:
      matrix: of `confusion`.

    Returns:
      float64 [C]; NaN, with a warning, for a class without images.
    """
    totals = matrix.sum(axis=1)
    for number in np.flatnonzero(totals == 0):
        inputs.undefined(f"class {number} has no image: its sensitivity is undefined")
    with np.errstate(invalid="ignore"):
        return np.where(totals > 0, np.diag(matrix) / np.maximum(totals, 1), np.nan)


def true_classes(labels: Any) -> np.ndarray:
    """The class of each image from its label columns.

    Args:
      labels: [N, C] with one 1 in each row.

    Returns:
      int64 [N].

    Raises:
      ValueError: a row that is not one 1 and else 0.
    """
    labels = np.asarray(labels)
    is_one_hot = np.isin(labels, (0, 1)).all(axis=1) & (labels.sum(axis=1) == 1)
    if not is_one_hot.all():
        raise ValueError(f"expected one class per image, found {labels[~is_one_hot][0].tolist()}")
    return labels.argmax(axis=1).astype(np.int64)
