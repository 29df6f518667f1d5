"""What a row of `metrics.json` says of a model of masks on some images."""

from __future__ import annotations

from typing import Any

import numpy as np

from tffcxr.evaluation import mean_interval, proportion_interval


def measured(
    jaccard: np.ndarray,
    dice: np.ndarray,
    patients: np.ndarray,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """Returns the mean overlap with its interval.

    Args:
      jaccard: float64 [N]; NaN of images that are free of the region.
      dice: the same.
      patients: object [N], the patient of each image.
      replicates: of the bootstrap, by patient.
      seed: of the bootstrap.
    """
    row: dict[str, Any] = {
        "images": len(jaccard),
        "patients": len(set(patients)),
        "interval": f"95 % percentile interval, {replicates} bootstrap replicates of patients",
    }
    for name, values in (("jaccard", jaccard), ("dice", dice)):
        found = mean_interval.mean_interval(values, patients, replicates, seed=seed)
        row.update(found.named(name))
    return row


def detection(
    truth_area: np.ndarray,
    predicted_area: np.ndarray,
    patients: np.ndarray,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """Sensitivity and specificity of images, by whether anything at all is marked in them.

    Args:
      truth_area: float64 [N], 0 of images that are free of the region.
      predicted_area: float64 [N].
      patients: see `measured`, like the others.
      replicates: see there.
      seed: see there.
    """
    has_region = truth_area > 0
    row: dict[str, Any] = {
        "positives": int(np.count_nonzero(has_region)),
        "proportion_interval": proportion_interval.method(patients, replicates),
    }
    is_right = (predicted_area > 0) == has_region
    for name, mine in (("sensitivity", has_region), ("specificity", ~has_region)):
        found = proportion_interval.proportion_interval(
            is_right[mine], patients[mine], replicates, seed=seed
        )
        row.update(found.named(name))
    return row
