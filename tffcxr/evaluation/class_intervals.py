"""Metrics of classes that exclude each other, with their confidence intervals.

J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement
20(1), 1960. F1 is the mean over classes of the harmonic mean of sensitivity and positive predictive
value. Accuracy and sensitivities have the interval of `proportion_interval`, loss and Brier score
that of `mean_interval`, the others are calculated of resampled patients, see `resampling`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import metrics as sklearn_metrics

from tffcxr.evaluation import bootstrap, calibration, class_metrics, inputs, resampling
from tffcxr.evaluation.mean_interval import Mean, mean_interval
from tffcxr.evaluation.proportion_interval import proportion_interval

NAMES = ("loss", "accuracy", "f1", "kappa", "brier", "ece")


def class_values(
    truth: np.ndarray,
    log_probabilities: np.ndarray,
    groups: np.ndarray,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """Returns the metrics of a model.

    Args:
      truth: int [N], 0..C-1.
      log_probabilities: [N, C], natural logarithms.
      groups: [N], the patient of each image.
      replicates: number of resamples.
      level: coverage of the intervals.
      seed: the same seed gives the same intervals.

    Returns:
      `NAMES`, each with `<metric>_low` and `<metric>_high`. With a warning, NaN: everything without
      an image or with a score that is NaN; intervals of fewer than `bootstrap.MINIMUM_PATIENTS`
      patients, but for the accuracy if each patient has one image; kappa, if all images are of one
      class and called so.
    """
    undefined = Mean(np.nan, np.nan, np.nan)
    if not len(truth) or np.isnan(log_probabilities).any():
        inputs.undefined("no image, or a score is NaN: every metric is undefined")
        return {key: value for name in NAMES for key, value in undefined.named(name).items()}
    options: Any = {"replicates": replicates, "level": level, "seed": seed}
    scores, called = np.exp(log_probabilities), log_probabilities.argmax(axis=1)
    of_image = {
        "loss": -np.asarray(log_probabilities, np.float64)[np.arange(len(truth)), truth],
        "brier": calibration.class_brier_scores(truth, scores),
    }
    values = proportion_interval(called == truth, groups, **options).named("accuracy")
    for name, each in of_image.items():
        finite = np.isfinite(each).all()  # A probability of 0 has an infinite loss.
        found = mean_interval(each, groups, **options) if finite else Mean(np.inf, np.nan, np.nan)
        values.update(found.named(name))
    classes = np.arange(log_probabilities.shape[1])
    values["f1"] = float(
        sklearn_metrics.f1_score(
            truth, called, labels=classes, average="macro", zero_division=np.nan
        )
    )
    values["kappa"] = float(_kappa(class_metrics.confusion(truth, log_probabilities)[None])[0])
    values["ece"] = calibration.class_calibration_error(truth, scores)
    ends = {f"{name}_{end}": np.nan for name in ("f1", "kappa", "ece") for end in ("low", "high")}
    numbers = inputs.known(np.ones(len(truth)), [truth], groups).groups
    if np.unique(numbers).size >= bootstrap.MINIMUM_PATIENTS:  # Otherwise `mean_interval` warned.
        is_right, top = calibration.top_label(truth, scores)
        drawn = resampling.replicated(
            numbers,
            {
                "ece": resampling.calibration_noise(is_right, top),
                **resampled_metrics(truth, called, len(classes)),
            },
            replicates,
            seed,
        )
        found_ends = {
            "ece": resampling.around(values["ece"], drawn["ece"], level),
            **{name: resampling.percentiles(name, drawn[name], level) for name in ("f1", "kappa")},
        }
        for name, (low, high) in found_ends.items():
            ends.update({f"{name}_low": low, f"{name}_high": high})
    return {**values, **ends}


def resampled_metrics(
    truth: np.ndarray, called: np.ndarray, classes: int
) -> dict[str, resampling.Statistic]:
    """F1 and kappa, of the confusion matrices [R, C, C] of weighted images.

    Args:
      truth: int [N], 0..C-1.
      called: int [N], 0..C-1.
      classes: C.
    """
    cells = (truth * classes + called)[:, None] == np.arange(classes**2)

    def matrices(weights: np.ndarray) -> np.ndarray:
        return (weights @ cells).reshape(-1, classes, classes)

    return {
        "f1": lambda weights: _f1(matrices(weights)),
        "kappa": lambda weights: _kappa(matrices(weights)),
    }


def _f1(matrices: np.ndarray) -> np.ndarray:
    """The mean over the classes that are true or called somewhere, [R]."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    of_class = resampling.ratio(2.0 * right, matrices.sum(axis=1) + matrices.sum(axis=2) + 0.0)
    return np.nanmean(of_class, axis=1)


def _kappa(matrices: np.ndarray) -> np.ndarray:
    """(agreement - chance) / (1 - chance), [R]; NaN where chance alone agrees always."""
    total = matrices.sum(axis=(1, 2))
    agreement = np.trace(matrices, axis1=1, axis2=2) / total
    chance = (matrices.sum(axis=1) * matrices.sum(axis=2)).sum(axis=1) / total**2
    return resampling.ratio(agreement - chance, 1 - chance)
