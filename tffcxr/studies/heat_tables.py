"""What `explanations.csv` has of each heat map, whatever kind of study explains."""

from __future__ import annotations

import warnings

import numpy as np

from tffcxr.explanation import localisation


def share_inside(heat: np.ndarray, region: np.ndarray | None) -> float:
    """The share of the heat inside a region, NaN without a region or without any heat."""
    if region is None:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an empty region is NaN in the table
        return localisation.share_inside(heat, region)
