"""Confidence intervals of all metrics of a finding that `metrics.binary_metrics` gives.

Proportions (accuracy, sensitivity, specificity, predictive values) have the interval of
`proportion_interval`. Loss and Brier score are means, see `mean_interval`. AUROC has the interval
of `bootstrap.auroc_interval`. AUPR and F1 are calculated for every replicate of a bootstrap that
draws patients with replacement, each with all of its images; unlike the AUROC, they depend on how
common the finding is, so patients with and without it are drawn together.

The calibration error has the interval of `resampling.around`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tffcxr.evaluation import bootstrap, calibration, inputs, metrics, resampling
from tffcxr.evaluation.mean_interval import mean_interval
from tffcxr.evaluation.proportion_interval import proportion_interval


def binary_intervals(
    labels: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    groups: np.ndarray | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """Returns the ends of the intervals, as `<metric>_low` and `<metric>_high`.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      scores: [N], probabilities in 0..1.
      threshold: a score of at least this much counts as positive; NaN if there is none.
      groups: [N], the patient of each image; None: every image is a patient.
      replicates: number of resamples.
      level: coverage, 0.95 for the 2.5th to the 97.5th percentile.
      seed: the same seed gives the same intervals.

    Returns:
      Both ends of every metric of `metrics.binary_metrics`. NaN where the metric is; with a
      warning, where too few patients are behind it or it is undefined in too many replicates.

    Raises:
      ValueError: for arrays that do not fit together, a level outside 0..1, or no replicates.
    """
    data = inputs.known(labels, [scores], groups)
    ends = {
        f"{name}_{end}": float("nan") for name in metrics.BINARY_NAMES for end in ("low", "high")
    }
    if not data.positive.size or not data.finite:
        return ends
    positive, probabilities, patients = data.positive, data.scores[0], data.groups
    options: Any = {"replicates": replicates, "level": level, "seed": seed}

    def note(name: str, low: float, high: float) -> None:
        ends[f"{name}_low"], ends[f"{name}_high"] = low, high

    for name, (hits, trials) in metrics.proportions(positive, probabilities, threshold).items():
        if trials.any():
            found = proportion_interval(hits[trials], patients[trials], **options)
            note(name, found.low, found.high)
    for name, of_image in (
        ("loss", metrics.losses(positive, probabilities)),
        ("brier", (probabilities - positive) ** 2),
    ):
        found = mean_interval(of_image, patients, **options)
        note(name, found.low, found.high)
    if data.has_both_classes:
        note("auroc", *bootstrap.auroc_interval(labels, scores, groups, **options))
    everyone = np.unique(patients)
    if everyone.size < bootstrap.MINIMUM_PATIENTS:
        return ends  # `mean_interval` has warned.
    statistics = resampled_metrics(positive, probabilities, threshold)
    fewest = min(np.unique(patients[of]).size for of in (positive, ~positive) if of.any())
    if fewest < bootstrap.MINIMUM_PATIENTS:
        statistics.pop("aupr", None)  # `bootstrap.auroc_interval` has warned.
        statistics.pop("f1", None)
    statistics["ece"] = resampling.calibration_noise(positive, probabilities)
    drawn = resampling.replicated(patients, statistics, replicates, seed)
    error = calibration.reliability(positive, probabilities).error
    note("ece", *resampling.around(error, drawn.pop("ece"), level))
    for name, values in drawn.items():
        note(name, *resampling.percentiles(name, values, level))
    return ends


def resampled_metrics(
    positive: np.ndarray, probabilities: np.ndarray, threshold: float
) -> dict[str, resampling.Statistic]:
    """The metrics that are calculated for every replicate, by name: those that are defined.

    Args:
      positive: bool [N].
      probabilities: [N].
      threshold: the operating point; NaN if there is none.
    """
    found: dict[str, resampling.Statistic] = {}
    if positive.any() and not positive.all():
        found["aupr"] = _average_precision(positive, probabilities)
    if not np.isnan(threshold):
        called = probabilities >= threshold
        if positive.any() or called.any():
            found["f1"] = _f1(positive, called)
    return found


def _f1(positive: np.ndarray, called: np.ndarray) -> resampling.Statistic:
    hits = (positive & called).astype(float)
    all_of_both = positive.astype(float) + called

    def statistic(weights: np.ndarray) -> np.ndarray:
        return resampling.ratio(2 * (weights @ hits), weights @ all_of_both)

    return statistic


def _average_precision(positive: np.ndarray, probabilities: np.ndarray) -> resampling.Statistic:
    """Sum over distinct scores of the sensitivity that each adds, times the precision there."""
    order = np.argsort(-probabilities, kind="stable")
    starts = np.flatnonzero(np.diff(-probabilities[order], prepend=-np.inf))
    is_positive = positive[order]

    def statistic(weights: np.ndarray) -> np.ndarray:
        sorted_weights = weights[:, order]
        added = np.add.reduceat(sorted_weights * is_positive, starts, axis=1)
        called = np.cumsum(np.add.reduceat(sorted_weights, starts, axis=1), axis=1)
        precision = np.divide(
            np.cumsum(added, axis=1), called, out=np.zeros_like(called), where=called > 0
        )
        return resampling.ratio((added * precision).sum(axis=1), added.sum(axis=1))

    return statistic
