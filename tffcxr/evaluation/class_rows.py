"""What a row of `metrics.json` says of a model of classes on some images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tffcxr.evaluation import (
    class_intervals,
    class_metrics,
    proportion_interval,
    recalibration,
    undefined,
)


def measured(
    truth: np.ndarray,
    log_probabilities: np.ndarray,
    patients: np.ndarray,
    classes: Sequence[str],
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """Returns the metrics with their intervals, the confusion, and the sensitivity of each class.

    Args:
      truth: int [N], 0..C-1.
      log_probabilities: [N, C], natural logarithms.
      patients: object [N], the patient of each image.
      classes: their names.
      replicates: of the bootstrap, by patient.
      seed: of the bootstrap.
    """
    matrix = class_metrics.confusion(truth, log_probabilities)
    is_undefined = np.isnan(log_probabilities).any()
    correct = np.where(is_undefined, np.nan, log_probabilities.argmax(axis=1) == truth)
    by_class = {
        name: proportion_interval.proportion_interval(
            correct[truth == place], patients[truth == place], replicates, seed=seed
        )
        for place, name in enumerate(classes)
    }
    return {
        "images": len(truth),
        "patients": len(set(patients)),
        **class_intervals.class_values(truth, log_probabilities, patients, replicates, seed=seed),
        "interval": f"95 % percentile interval, {replicates} bootstrap replicates of patients",
        "proportion_interval": proportion_interval.method(patients, replicates),
        "classes": list(classes),
        "confusion": matrix.tolist(),
        **_recalibrated(classes, truth, log_probabilities, patients),
        "sensitivity_by_class": {name: _defined(one.mean) for name, one in by_class.items()},
        "sensitivity_by_class_low": {name: _defined(one.low) for name, one in by_class.items()},
        "sensitivity_by_class_high": {name: _defined(one.high) for name, one in by_class.items()},
    }


def _recalibrated(
    classes: Sequence[str], truth: np.ndarray, log_probabilities: np.ndarray, patients: np.ndarray
) -> dict[str, dict[str, float | None]]:
    """Calibration slope and intercept of each class against all others, by class."""
    found: dict[str, dict[str, float | None]] = {}
    unknown = undefined.Gathered()
    for place, name in enumerate(classes):
        with unknown.about(name):
            of_class = recalibration.recalibration(
                truth == place, np.exp(log_probabilities[:, place]), patients
            )
        for metric in (recalibration.SLOPE, recalibration.INTERCEPT):
            for end in ("", "_low", "_high"):
                by_class = found.setdefault(f"{metric}_by_class{end}", {})
                by_class[name] = _defined(of_class[f"{metric}{end}"])
    unknown.tell()
    return found


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
