"""The mean of a metric over images, such as the Jaccard index, with its bootstrap interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from tffcxr.evaluation import bootstrap, inputs


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

    def named(self, name: str) -> dict[str, float]:
        """What a row of `metrics.json` has of it: NAME, NAME_low, NAME_high."""
        return {name: self.mean, f"{name}_low": self.low, f"{name}_high": self.high}


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
    means = bootstrap_means(data, replicates, seed)
    if means is None:
        return Mean(float(known.mean()), np.nan, np.nan)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Mean(float(known.mean()), float(low), float(high))


def difference_test(
    values: np.ndarray,
    groups: np.ndarray | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> float:
    """Returns p of Wald's test that a mean over images, such as a paired difference, is 0.

    The standard error is that of the bootstrap over patients: B. Efron and R. J. Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 6. Unlike a share of the replicates, p may be
    smaller than one over their number, which an adjustment for many tests needs.

    Args:
      values: [N], finite or NaN (left out).
      groups: [N], the patient of each image; None: every image is a patient.
      replicates: number of resamples.
      seed: the same seed gives the same p-value.

    Returns:
      The two-sided p-value. NaN, with a warning, with fewer than `bootstrap.MINIMUM_PATIENTS`
      patients; 1 where all values are 0, and NaN where they are all the same otherwise.
    """
    values = np.asarray(values, dtype=np.float64)
    data = inputs.known(np.where(np.isnan(values), np.nan, 1.0), [values], groups)
    means = bootstrap_means(data, replicates, seed)
    if means is None:
        return float("nan")
    mean, error = float(data.scores[0].mean()), float(means.std(ddof=1)) if means.size > 1 else 0.0
    if error <= 1e-12 * max(1.0, abs(mean)):
        return 1.0 if mean == 0 else float("nan")
    return float(2 * stats.norm.sf(abs(mean) / error))


def bootstrap_means(data: inputs.Known, replicates: int, seed: int) -> np.ndarray | None:
    """Returns the means of resampled patients, of which `mean_interval` has percentiles.

    Args:
      data: the images that have a value, and their values as the only row of `scores`; finite.
      replicates: number of resamples.
      seed: the same seed gives the same resamples.

    Returns:
      [replicates]; None, after a warning, with fewer than `bootstrap.MINIMUM_PATIENTS` patients.
    """
    patients = np.unique(data.groups)
    if patients.size < bootstrap.MINIMUM_PATIENTS:
        inputs.undefined(
            f"{patients.size} patients: the bootstrap needs {bootstrap.MINIMUM_PATIENTS} and is "
            "undefined"
        )
        return None
    return np.concatenate(
        [
            weights @ data.scores[0] / weights.sum(axis=1)
            for weights in bootstrap.draws(data.groups, (patients,), replicates, seed)
        ]
    )
