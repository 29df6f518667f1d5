"""Bootstrap interval of an AUROC, and the paired t-test of bootstrap AUROCs of the CheXViz paper.

The interval is the percentile interval of Efron & Tibshirani, "An Introduction to the Bootstrap",
1993, chapter 13, from the cluster bootstrap: patients are drawn with replacement, each with all
of its images, because the images of one patient are not independent. Patients with a positive
image and patients without one are drawn separately, each as often as there are of them, so that
a rare finding does not vanish from a replicate. The test is that of Kulkarni et al., "From
Competition to Collaboration: Making Toy Datasets on Kaggle Clinically Useful for Chest X-Ray
Diagnosis Using Federated Learning", 2022.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats

from tffcxr.evaluation import inputs

# Of fewer patients than this in a class the bootstrap has too few different replicates, and its
# interval is far too narrow.
MINIMUM_PATIENTS = 5
# The share of replicates that must have both classes. Only patients who have images of both
# classes can make a replicate that has not.
_MINIMUM_USABLE = 0.9
# Images times replicates that are resampled at a time: 32 MB in float64.
_CHUNK = 4_000_000


def auroc_interval(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the percentile bootstrap interval of an AUROC.

    An AUROC of exactly 0 or 1 gives an interval of no width: no resample of separated scores is
    less separated. It says little about the next hospital.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      scores: [N], higher = more likely present.
      groups: [N], the patient of each image; None: every image is a patient.
      replicates: number of resamples.
      level: coverage, 0.95 for the 2.5th to the 97.5th percentile.
      seed: the same seed gives the same interval.

    Returns:
      (low, high). NaN and a warning with fewer than `MINIMUM_PATIENTS` patients in a class, a
      score that is not finite, or more than a tenth of the replicates with one class only.

    Raises:
      ValueError: for arrays that do not fit together, a level outside 0..1, or no replicates.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, found {level}")
    areas = bootstrap_aurocs(inputs.known(labels, [scores], groups), replicates, seed)
    if areas is None:
        return float("nan"), float("nan")
    low, high = np.quantile(areas[0], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_ttest(
    labels: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> float:
    """Returns p of a paired t-test between the bootstrap AUROCs of two models, as the paper does.

    This p-value is reported for comparison with the paper only. Its sample is the replicates, not
    the patients: a real but meaningless difference gets any p-value, however small, from enough
    replicates. `delong.delong_test` asks the same question of the patients; trust that one.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      a: [N], scores of one model, higher = more likely present.
      b: [N], scores of the other model on the same images.
      groups: [N], the patient of each image; None: every image is a patient.
      replicates: number of resamples, at least 2; both models are resampled alike.
      seed: the same seed gives the same p-value.

    Returns:
      The two-sided p-value; 1 where both models have the same AUROC in every replicate. NaN and a
      warning where `auroc_interval` gives one.

    Raises:
      ValueError: for arrays that do not fit together, or fewer than two replicates.
    """
    if replicates < 2:
        raise ValueError(f"expected at least 2 replicates, found {replicates}")
    areas = bootstrap_aurocs(inputs.known(labels, [a, b], groups), replicates, seed)
    if areas is None:
        return float("nan")
    difference = areas[0] - areas[1]
    if np.allclose(difference, difference[0], rtol=0, atol=1e-12):
        # No spread: t is 0 / 0 or infinite.
        return 1.0 if abs(difference[0]) <= 1e-12 else 0.0
    return float(stats.ttest_rel(areas[0], areas[1]).pvalue)


def bootstrap_aurocs(data: inputs.Known, replicates: int, seed: int) -> np.ndarray | None:
    """Returns the AUROCs of resampled patients, of which `auroc_interval` are percentiles.

    Args:
      data: the images.
      replicates: number of resamples; all models are resampled alike.
      seed: the same seed gives the same resamples.

    Returns:
      [models, usable replicates]; None, after a warning, where `auroc_interval` is NaN.
    """
    if replicates < 1:
        raise ValueError(f"expected at least 1 replicate, found {replicates}")
    positive_patients = np.unique(data.groups[data.positive])
    negative_patients = np.unique(data.groups[~data.positive])
    if min(positive_patients.size, negative_patients.size) < MINIMUM_PATIENTS:
        inputs.undefined(
            f"{positive_patients.size} positive and {negative_patients.size} negative patients: "
            f"the bootstrap needs {MINIMUM_PATIENTS} of each and is undefined"
        )
        return None
    if not data.finite:
        inputs.undefined("a score is not finite: the bootstrap is undefined")
        return None
    without_positive = np.setdiff1d(negative_patients, positive_patients)
    chunks = [
        np.stack([weighted_auroc(weights, data.positive, scores) for scores in data.scores])
        for weights in draws(data.groups, (positive_patients, without_positive), replicates, seed)
    ]
    areas = np.concatenate(chunks, axis=1)
    usable = np.isfinite(areas).all(axis=0)
    if usable.mean() < _MINIMUM_USABLE:
        inputs.undefined(
            f"{int((~usable).sum())} of {replicates} bootstrap replicates have one class only: "
            "the bootstrap is undefined"
        )
        return None
    return areas[:, usable]


def draws(
    groups: np.ndarray, strata: tuple[np.ndarray, ...], replicates: int, seed: int
) -> Iterator[np.ndarray]:
    """Yields how often each image is drawn, float64 [some replicates, N].

    What replicate number k draws does not depend on how the replicates are divided into chunks.

    Args:
      groups: int [N], the patient of each image, numbered from 0.
      strata: disjoint sets of patients; from each as many are drawn as it has.
      replicates: number of resamples.
      seed: the same seed gives the same draws.
    """
    generator = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // groups.size)
    for start in range(0, replicates, at_once):
        count = min(at_once, replicates - start)
        drawn = np.zeros((count, int(groups.max()) + 1))
        for times in drawn:
            for patients in strata:
                if patients.size:
                    chosen = generator.integers(patients.size, size=patients.size)
                    times[patients] = np.bincount(chosen, minlength=patients.size)
        yield drawn[:, groups]


def weighted_auroc(weights: np.ndarray, positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns AUROCs [replicates] of images that count `weights` [replicates, N] times.

    The Mann-Whitney form: the share of (positive, negative) pairs in which the positive has the
    higher score, a tie counting half. NaN where a class has no weight.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each distinct score
    weights, positive = weights[:, order], positive[order]
    positives = np.add.reduceat(weights * positive, starts, axis=1)  # [replicates, distinct]
    negatives = np.add.reduceat(weights * ~positive, starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    concordant = (positives * (below + negatives / 2)).sum(axis=1)
    return np.divide(concordant, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
