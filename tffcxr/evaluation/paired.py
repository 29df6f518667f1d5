"""Differences between two models that were measured on the same cases.

Cases of one patient are not independent. Intervals are percentiles of the bootstrap that draws
patients, each with all cases, for both models alike (Efron & Tibshirani, "An Introduction to the
Bootstrap", 1993). The test is a randomisation test (R. A. Fisher, "The Design of Experiments",
1935): were the models equally good, they could have changed places in any patient. Of the random
changes of places as many as gave no smaller difference make the p-value, with the one that was
observed among them (B. Phipson & G. K. Smyth, "Permutation P-values Should Never Be Zero",
Statistical Applications in Genetics and Molecular Biology 9(1), 2010).
"""

from __future__ import annotations

import numpy as np

from tffcxr.evaluation import bootstrap, inputs, resampling
from tffcxr.evaluation.mean_interval import Mean, mean_interval

# Signs of patients that are drawn at a time.
_CHUNK = 4_000_000
_ROUNDING = 1e-9


def mean_difference(
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Mean:
    """Returns the mean of `a - b` over the cases, with its interval.

    Args:
      a: [N], a metric of one model by case; NaN where it has no value.
      b: [N], that of the other model; cases without a value in either are left out.
      groups: [N], the patient of each case.
      replicates: number of resamples.
      level: coverage of the interval.
      seed: the same seed gives the same interval.

    Returns:
      NaN, with a warning, where `mean_interval` gives that. There is no interval where the
      difference is the same in all cases, as no resample could give another.

    Raises:
      ValueError: see `mean_interval`.
    """
    difference = _difference(a, b)
    found = mean_interval(difference, groups, replicates, level, seed)
    if found.low == found.high:
        return Mean(found.mean, float("nan"), float("nan"))
    return found


def statistic_difference(
    a: resampling.Statistic,
    b: resampling.Statistic,
    groups: np.ndarray,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Mean:
    """Returns how much larger one metric of all cases is than another, with its interval.

    Args:
      a: the metric of one model as a function of how often each case counts.
      b: that of the other model.
      groups: [N], the patient of each case.
      replicates: number of resamples.
      level: coverage of the interval.
      seed: the same seed gives the same interval.

    Returns:
      `a - b`. The interval is NaN, with a warning, of too few patients or where the metric is
      undefined in too many replicates; and where it is the same in all of them.
    """
    numbers = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    once = np.ones((1, len(numbers)))
    difference = float(a(once)[0] - b(once)[0])
    if np.unique(numbers).size < bootstrap.MINIMUM_PATIENTS:
        inputs.undefined(f"the bootstrap needs {bootstrap.MINIMUM_PATIENTS} patients")
        return Mean(difference, float("nan"), float("nan"))
    drawn = resampling.replicated(numbers, {"a": a, "b": b}, replicates, seed)
    low, high = resampling.percentiles("the difference", drawn["a"] - drawn["b"], level)
    if low == high:
        return Mean(difference, float("nan"), float("nan"))
    return Mean(difference, low, high)


def randomisation_test(
    a: np.ndarray, b: np.ndarray, groups: np.ndarray, changes: int = 9999, seed: int = 0
) -> float:
    """Tests whether two models have the same mean of a metric over the same cases (two-sided).

    Args:
      a: [N], a metric of one model by case; NaN where it has no value.
      b: [N], that of the other model; cases without a value in either are left out.
      groups: [N], the patient of each case.
      changes: how many random changes of places there are.
      seed: the same seed gives the same p-value.

    Returns:
      The p-value; 1 where the models are alike in every patient; NaN, with a warning, of fewer than
      `bootstrap.MINIMUM_PATIENTS` patients, who can change places in too few ways.
    """
    difference = _difference(a, b)
    known = ~np.isnan(difference)
    patients, numbers = np.unique(np.asarray(groups)[known].astype(str), return_inverse=True)
    if patients.size < bootstrap.MINIMUM_PATIENTS:
        inputs.undefined(
            f"{patients.size} patients with a value of both models: the randomisation test needs "
            f"{bootstrap.MINIMUM_PATIENTS} and is undefined"
        )
        return float("nan")
    of_patients = np.bincount(numbers, weights=difference[known])
    of_patients = of_patients[of_patients != 0]
    if not of_patients.size:
        return 1.0
    least = abs(of_patients.sum()) - _ROUNDING * np.abs(of_patients).sum()
    generator = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // of_patients.size)
    as_large = 0
    for start in range(0, changes, at_once):
        count = min(at_once, changes - start)
        signs = 2.0 * generator.integers(2, size=(count, of_patients.size)) - 1.0
        as_large += int(np.count_nonzero(np.abs(signs @ of_patients) >= least))
    return (as_large + 1) / (changes + 1)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns `a - b`, NaN where one of them is NaN."""
    first, second = (np.asarray(values, np.float64) for values in (a, b))
    if first.shape != second.shape:
        raise ValueError(f"expected values of the same cases, found {first.shape}, {second.shape}")
    return first - second
