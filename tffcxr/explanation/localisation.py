"""How well a heat map agrees with an annotated region."""

from __future__ import annotations

import warnings

import numpy as np


def share_inside(heat: np.ndarray, region: np.ndarray) -> float:
    """The share of the heat that lies inside a region.

    Args:
      heat: [H, W], not negative.
      region: bool [H, W], such as the lungs or an annotated box.

    Returns:
      sum(heat inside) / sum(heat), in 0..1. NaN, with a warning, where that is undefined: no heat
      anywhere, or an empty region.

    Raises:
      ValueError: the shapes differ, the region is not boolean, or heat is negative or not finite.
    """
    if not _is_defined(heat, region, "share of heat"):
        return float("nan")
    heat = heat.astype(np.float64)
    return float(heat[region].sum() / heat.sum())


def _is_defined(heat: np.ndarray, region: np.ndarray, what: str) -> bool:
    if heat.ndim != 2 or heat.shape != region.shape:
        raise ValueError(f"expected two arrays [H, W], found {heat.shape} and {region.shape}")
    if region.dtype != bool:
        raise ValueError(f"region: expected bool, found {region.dtype}")
    if not np.all(np.isfinite(heat)) or heat.min(initial=0.0) < 0:
        raise ValueError("heat must be finite and not negative")
    for is_empty, cause in (
        (not heat.any(), "there is no heat"),
        (not region.any(), "the region is empty"),
    ):
        if is_empty:
            warnings.warn(f"{what} is undefined: {cause}", RuntimeWarning, stacklevel=3)
            return False
    return True
