"""DeLong's test for two AUROCs measured on the same images, also with several images per patient.

DeLong, DeLong & Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver
Operating Characteristic Curves: A Nonparametric Approach", Biometrics 44(3), 1988. The
components are computed from midranks in O(N log N): Sun & Xu, "Fast Implementation of DeLong's
Algorithm for Comparing the Areas Under Correlated Receiver Operating Characteristic Curves",
IEEE Signal Processing Letters 21(11), 2014. Images of one patient are not independent: with
`groups` the variance is that of Obuchowski, "Nonparametric Analysis of Clustered ROC Curve
Data", Biometrics 53(2), 1997, which is DeLong's when every patient has one image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from tffcxr.evaluation import bootstrap, inputs

# Below this a variance of AUROCs, which lie in 0..1, is rounding.
_NO_VARIANCE = 1e-20


def delong_variance(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray | None = None
) -> tuple[float, float]:
    """Returns an AUROC and the variance of its estimate.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      scores: [N], higher = more likely present.
      groups: [N], the patient of each image; None: every image is a patient.

    Returns:
      (AUROC, variance). NaN and a warning where `delong_test` gives one.

    Raises:
      ValueError: for arrays that do not fit together.
    """
    data = inputs.known(labels, [scores], groups)
    if _is_undefined(data):
        return float("nan"), float("nan")
    areas, covariance = _areas_and_covariance(data)
    return float(areas[0]), float(covariance[0, 0])


class Difference(NamedTuple):
    """How much larger one AUROC is than another on the same images.

    Attributes:
      value: the difference, -1..1.
      low: lower end of its interval.
      high: upper end of its interval.
      z: the difference over its standard error.
      p: of the two-sided test that there is none.
    """

    value: float
    low: float
    high: float
    z: float
    p: float


def delong_test(
    labels: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray | None = None,
    least_patients: int = bootstrap.MINIMUM_PATIENTS,
) -> tuple[float, float]:
    """Tests whether two models have the same AUROC on the same images (two-sided).

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      a: [N], scores of one model, higher = more likely present.
      b: [N], scores of the other model on the same images.
      groups: [N], the patient of each image; None: every image is a patient.
      least_patients: in each class, 2 or more. The variance of fewer is too uncertain for a normal
        distribution to be assumed, so that p would often be far too small.

    Returns:
      (z, p): z > 0 where `a` has the larger AUROC; (0, 1) if both rank every pair of images
      alike. NaN and a warning with fewer than `least_patients` in a class, a score that is not
      finite, or different AUROCs without any variance.

    Raises:
      ValueError: for arrays that do not fit together.
    """
    found = delong_difference(labels, a, b, groups, least_patients=least_patients)
    return found.z, found.p


def delong_difference(
    labels: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray | None = None,
    level: float = 0.95,
    least_patients: int = bootstrap.MINIMUM_PATIENTS,
) -> Difference:
    """Returns the AUROC of `a` minus that of `b`, with the normal interval of DeLong's variance.

    Args:
      labels: [N], see `delong_test`, as the other arrays.
      a: [N].
      b: [N].
      groups: [N] or None.
      level: coverage of the interval.
      least_patients: see `delong_test`.

    Returns:
      No interval and no test, with a warning, where `delong_test` has none; the difference also
      then, unless an AUROC is undefined. Where both rank every pair of images alike there is no
      interval.

    Raises:
      ValueError: for arrays that do not fit together, or a level outside 0..1.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, found {level}")
    nan = float("nan")
    data = inputs.known(labels, [a, b], groups)
    if _is_undefined(data, least_patients):
        if not data.finite or not data.has_both_classes:
            return Difference(nan, nan, nan, nan, nan)
        better, worse = _components(data.scores, data.positive)[0].mean(axis=1)
        return Difference(float(better - worse), nan, nan, nan, nan)
    areas, covariance = _areas_and_covariance(data)
    difference = float(areas[0] - areas[1])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if variance <= _NO_VARIANCE:
        if abs(difference) <= 1e-10:
            return Difference(0.0, nan, nan, 0.0, 1.0)
        inputs.undefined("the difference of the AUROCs has no variance: DeLong's test is undefined")
        return Difference(difference, nan, nan, nan, nan)
    error = float(np.sqrt(variance))
    half = float(stats.norm.isf((1 - level) / 2)) * error
    z = difference / error
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return Difference(difference, low, high, z, float(2 * stats.norm.sf(abs(z))))


def _is_undefined(data: inputs.Known, least_patients: int = 2) -> bool:
    """Whether there is no variance to estimate, or of too few patients; warns if so."""
    positive_patients = np.unique(data.groups[data.positive]).size
    negative_patients = np.unique(data.groups[~data.positive]).size
    if min(positive_patients, negative_patients) < least_patients:
        inputs.undefined(
            f"{positive_patients} positive and {negative_patients} negative patients: DeLong's "
            f"variance needs {least_patients} of each and is undefined"
        )
        return True
    if not data.finite:
        inputs.undefined("a score is not finite: DeLong's variance is undefined")
        return True
    return False


def _areas_and_covariance(data: inputs.Known) -> tuple[np.ndarray, np.ndarray]:
    """Returns the AUROCs [models] and their covariance [models, models]."""
    of_positives, of_negatives = _components(data.scores, data.positive)
    areas = of_positives.mean(axis=1)
    deviations = np.zeros_like(data.scores)
    deviations[:, data.positive] = of_positives - areas[:, None]
    deviations[:, ~data.positive] = of_negatives - areas[:, None]
    positives = _by_patient(deviations * data.positive, data.groups)  # [models, patients]
    negatives = _by_patient(deviations * ~data.positive, data.groups)
    m, n = of_positives.shape[1], of_negatives.shape[1]
    with_positive = np.unique(data.groups[data.positive]).size
    with_negative = np.unique(data.groups[~data.positive]).size
    patients = np.unique(data.groups).size
    # Obuchowski's S10 / m, S01 / n and S11 / (m n). The last is zero unless a patient has both
    # a positive and a negative image.
    mixed = positives @ negatives.T * patients / ((patients - 1) * m * n)
    covariance = (
        positives @ positives.T * with_positive / ((with_positive - 1) * m**2)
        + negatives @ negatives.T * with_negative / ((with_negative - 1) * n**2)
        + mixed
        + mixed.T
    )
    return areas, covariance


def _components(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns DeLong's structural components.

    Args:
      scores: [models, N].
      positive: bool [N], m of them True and n False.

    Returns:
      [models, m]: the share of the negatives that each positive outranks (a tie counts half);
      [models, n]: the share of the positives that outrank each negative.
    """
    midranks = stats.rankdata(scores, axis=1)  # ties get the mean of their ranks
    among_positives = stats.rankdata(scores[:, positive], axis=1)
    among_negatives = stats.rankdata(scores[:, ~positive], axis=1)
    m, n = among_positives.shape[1], among_negatives.shape[1]
    of_positives = (midranks[:, positive] - among_positives) / n
    of_negatives = 1 - (midranks[:, ~positive] - among_negatives) / m
    return of_positives, of_negatives


def _by_patient(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums [models, N] over the images of each patient -> [models, patients]."""
    return np.stack([np.bincount(groups, weights=row) for row in values])
