"""What every metric asks of its labels and scores: checks them and drops the unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
import warnings

import numpy as np
from sklearn import exceptions


class Known(NamedTuple):
    """The images whose label is known.

    Attributes:
      positive: bool [N], whether the finding is present.
      scores: float64 [models, N], one row per model, higher = more likely present.
      groups: int64 [N], the patient of each image, numbered from 0; without patients every
        image is its own group.
      finite: whether every score is a finite number; where it is not (a model that diverged),
        no metric of these scores is defined.
    """

    positive: np.ndarray
    scores: np.ndarray
    groups: np.ndarray
    finite: bool

    @property
    def has_both_classes(self) -> bool:
        """Whether there is a positive and a negative image."""
        return bool(self.positive.any() and not self.positive.all())


def known(
    labels: np.ndarray, scores: Sequence[np.ndarray], groups: np.ndarray | None = None
) -> Known:
    """Checks labels, scores and groups, and drops the images whose label is unknown.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown.
      scores: one array [N] per model that is evaluated on these images.
      groups: [N], the patient of each image (numbers or strings), or None.

    Raises:
      ValueError: for arrays of different lengths, a label that is not 0, 1 or NaN, or an image
        without a patient where patients are given.
    """
    labels = np.asarray(labels, dtype=np.float64)
    stacked = np.stack([np.asarray(row, dtype=np.float64) for row in scores])
    if labels.ndim != 1 or stacked.shape[1:] != labels.shape:
        raise ValueError(
            f"expected labels [N] and scores [N], found {labels.shape} and {stacked.shape[1:]}"
        )
    is_known = ~np.isnan(labels)
    strange = labels[is_known & (labels != 0) & (labels != 1)]
    if strange.size:
        raise ValueError(f"expected labels 0, 1 or NaN, found {strange[0]:g}")
    if groups is None:
        numbers = np.arange(labels.size)
    else:
        numbers = _number(np.asarray(groups), labels.shape)
    stacked = stacked[:, is_known]
    return Known(
        labels[is_known] == 1, stacked, numbers[is_known], bool(np.isfinite(stacked).all())
    )


def undefined(message: str) -> None:
    """Warns that a metric has no value; the caller then returns NaN."""
    warnings.warn(message, exceptions.UndefinedMetricWarning, stacklevel=3)


def _number(groups: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers the patients 0, 1, ... in the order of their sorted names."""
    if groups.shape != shape:
        raise ValueError(f"expected a patient per image {shape}, found {groups.shape}")
    # NaN and None are the only values that differ from themselves or are None.
    missing = [index for index, group in enumerate(groups) if group is None or group != group]
    if missing:
        raise ValueError(f"expected a patient for every image, found none for image {missing[0]}")
    comparable = groups.astype(str) if groups.dtype == object else groups
    return np.unique(comparable, return_inverse=True)[1]
