"""A mean over images or cases with its interval, as a row of `metrics.json` has it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tffcxr.evaluation import mean_interval

if TYPE_CHECKING:
    from tffcxr.studies.study import Settings


def of(
    settings: Settings,
    name: str,
    values: np.ndarray,
    patients: np.ndarray,
    may_lack: bool = False,
) -> dict[str, float]:
    """Returns `<name>`, `<name>_low` and `<name>_high`.

    Args:
      settings: of the bootstrap.
      name: of the metric.
      values: [N]. A value that is not finite, of a model that diverged, leaves no interval.
      patients: [N], of the images or cases.
      may_lack: whether images may have no value, which is NaN; the mean is of the others.
    """
    if not may_lack and not np.isfinite(values).all():
        return mean_interval.Mean(float(np.mean(values)), math.nan, math.nan).named(name)
    found = mean_interval.mean_interval(values, patients, settings.replicates, seed=settings.seed)
    return found.named(name)
