"""Overlap of a predicted mask with the true one: Jaccard, Dice, and their mean over images.

P. Jaccard, "The distribution of the flora in the alpine zone", New Phytologist 11(2), 1912;
L. R. Dice, "Measures of the amount of ecologic association between species", Ecology 26(3), 1945.
Two empty masks are equal sets, so both are 1 for them, as in M. Levandowsky, D. Winter, "Distance
between sets", Nature 234, 1971, and in the code of CXR-FL (arXiv:2204.05203). Leaving such images
out would count an image without the region only when the model is wrong about it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tffcxr.evaluation import bootstrap, inputs


def jaccard(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Returns intersection over union of two masks of one image.

    Args:
      predicted: bool [H, W].
      truth: bool [H, W].

    Returns:
      0..1; 1 where both masks are empty, 0 where one is.

    Raises:
      ValueError: for a mask that is not bool [H, W], or two of different sizes.
    """
    _check(predicted, truth)
    union = np.count_nonzero(predicted | truth)
    return np.count_nonzero(predicted & truth) / union if union else 1.0


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Returns twice the intersection over the sum of the areas; else as `jaccard`."""
    _check(predicted, truth)
    areas = np.count_nonzero(predicted) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(predicted & truth) / areas if areas else 1.0


class Mean(NamedTuple):
    """Mean over images and its interval.

    Attributes:
      mean: NaN where no image has a value.
      low: lower end of the interval, NaN where it is undefined.
      high: upper end of the interval, NaN where it is undefined.
    """

    mean: float
    low: float
    high: float


def mean_interval(
    values: np.ndarray,
    groups: np.ndarray | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Mean:
    """Returns the mean of a metric over images, with its percentile bootstrap interval.

    Patients are drawn with replacement, each with all of its images; see `bootstrap`.

    Args:
      values: [N], one per image; NaN where the image has no true mask (left out).
      groups: [N], the patient of each image; None: every image is a patient.
      replicates: number of resamples.
      level: coverage, 0.95 for the 2.5th to the 97.5th percentile.
      seed: the same seed gives the same interval.

    Returns:
      The mean and its interval. With a warning, NaN: the mean without any image, the interval with
      fewer than `bootstrap.MINIMUM_PATIENTS` patients.

    Raises:
      ValueError: for an infinite value, arrays that do not fit together, a level outside 0..1, or
        no replicates.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, found {level}")
    if replicates < 1:
        raise ValueError(f"expected at least 1 replicate, found {replicates}")
    values = np.asarray(values, dtype=np.float64)
    data = inputs.known(np.where(np.isnan(values), np.nan, 1.0), [values], groups)
    known = data.scores[0]
    if not data.finite:
        raise ValueError("expected finite values or NaN, found an infinite one")
    if not known.size:
        inputs.undefined("no image has a value: the mean is undefined")
        return Mean(np.nan, np.nan, np.nan)
    patients = np.unique(data.groups)
    if patients.size < bootstrap.MINIMUM_PATIENTS:
        inputs.undefined(
            f"{patients.size} patients: the bootstrap needs {bootstrap.MINIMUM_PATIENTS} and is "
            "undefined"
        )
        return Mean(float(known.mean()), np.nan, np.nan)
    means = np.concatenate(
        [
            weights @ known / weights.sum(axis=1)
            for weights in bootstrap.draws(data.groups, (patients,), replicates, seed)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Mean(float(known.mean()), float(low), float(high))


def _check(predicted: np.ndarray, truth: np.ndarray) -> None:
    for name, mask in (("predicted", predicted), ("true", truth)):
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise ValueError(
                f"expected a {name} mask of bool [H, W], found {mask.dtype} {list(mask.shape)}"
            )
    if predicted.shape != truth.shape:
        raise ValueError(
            f"expected masks of one size, found {list(predicted.shape)} predicted and "
            f"{list(truth.shape)} true"
        )
