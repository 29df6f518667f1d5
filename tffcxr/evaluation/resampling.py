"""Metrics of resampled patients, for the confidence intervals of all kinds of study.

Patients are drawn with replacement, each with all of its images; a metric is a function of how
often each image was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tffcxr.evaluation import bootstrap, calibration, inputs

# Weights [R, N] of images to the values [R] of a metric; NaN where it is undefined.
Statistic = Callable[[np.ndarray], np.ndarray]
# Share of the replicates in which a metric may be undefined.
_MOST_UNDEFINED = 0.1


def replicated(
    groups: np.ndarray, statistics: Mapping[str, Statistic], replicates: int, seed: int
) -> dict[str, np.ndarray]:
    """Returns the values [replicates] of every metric.

    Args:
      groups: int [N], the patient of each image, numbered from 0.
      statistics: by name.
      replicates: number of resamples.
      seed: the same seed gives the same values.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    for weights in bootstrap.draws(groups, (np.unique(groups),), replicates, seed):
        for name, statistic in statistics.items():
            parts[name].append(statistic(weights))
    return {name: np.concatenate(of_chunks) for name, of_chunks in parts.items()}


def percentiles(name: str, values: np.ndarray, level: float) -> tuple[float, float]:
    """Returns the ends of the percentile interval.

    Args:
      name: of the metric, for a warning.
      values: [replicates], NaN where the metric is undefined.
      level: coverage.

    Returns:
      (low, high); NaN, with a warning, if more than a tenth of the replicates are undefined.
    """
    usable = values[np.isfinite(values)]
    if usable.size < (1 - _MOST_UNDEFINED) * values.size:
        inputs.undefined(
            f"{name} is undefined in {values.size - usable.size} of {values.size} bootstrap "
            "replicates: it has no interval"
        )
        return float("nan"), float("nan")
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def calibration_noise(outcomes: np.ndarray, scores: np.ndarray) -> Statistic:
    """How far the excess of probability in the bins of a resample is from that of all images.

    The calibration error has no percentile interval: a resample has a larger one than its sample,
    as a sample has a larger one than all patients (R. Roelofs et al., "Mitigating Bias in
    Calibration Error Estimation", AISTATS 2022, arXiv:2012.08668). It is a norm of the vector x of
    the bins' excess of probability, and by the triangle inequality | |x| - |y| | is at most
    |x - y|, which this is, of a resample y. See `around`.

    Args:
      outcomes: bool [N], what the scores are probabilities of.
      scores: [N], in 0..1.
    """
    in_bin = calibration.bin_of(scores)[:, None] == np.arange(calibration.BINS)
    excess = in_bin * (scores - outcomes)[:, None]  # [N, bins]

    def statistic(weights: np.ndarray) -> np.ndarray:
        of_replicates = (weights @ excess) / weights.sum(axis=1, keepdims=True)
        return np.abs(of_replicates - excess.mean(axis=0)).sum(axis=1)

    return statistic


def share(hits: np.ndarray, trials: np.ndarray) -> Statistic:
    """The share of some images among others, such as a positive predictive value.

    Args:
      hits: bool [N], the images that count.
      trials: bool [N], all that might have counted.
    """
    above, below = hits.astype(float), trials.astype(float)
    return lambda weights: ratio(weights @ above, weights @ below)


def around(error: float, noise: np.ndarray, level: float) -> tuple[float, float]:
    """Returns the ends of the interval of a calibration error; it covers at least at this level.

    Args:
      error: of all images, 0..1.
      noise: [replicates], of `calibration_noise`.
      level: coverage.
    """
    most = float(np.quantile(noise, level))
    return max(0.0, error - most), min(1.0, error + most)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divides; NaN where the divisor is not above 0."""
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
