"""How well a heat map agrees with an annotated region, and how focused it is."""

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
    if heat.ndim != 2 or heat.shape != region.shape:
        raise ValueError(f"expected two arrays [H, W], found {heat.shape} and {region.shape}")
    if region.dtype != bool:
        raise ValueError(f"region: expected bool, found {region.dtype}")
    if not _has_heat(heat, "share of heat"):
        return float("nan")
    if not region.any():
        warnings.warn(
            "share of heat is undefined: the region is empty", RuntimeWarning, stacklevel=2
        )
        return float("nan")
    heat = heat.astype(np.float64)
    return float(heat[region].sum() / heat.sum())


def entropy(heat: np.ndarray) -> float:
    """Shannon's entropy of the heat as a distribution over pixels; smaller is more focused.

    Args:
      heat: [H, W], not negative.

    Returns:
      -sum p ln p with p = heat / sum(heat), in nats: 0 for heat in one pixel, ln(H W) for heat
      that is the same everywhere. So it depends on the size of the image. NaN, with a warning,
      without any heat.

    Raises:
      ValueError: heat has the wrong rank, is negative or not finite.
    """
    if not _has_heat(heat, "entropy of heat"):
        return float("nan")
    p = heat.astype(np.float64).ravel()
    p = p[p > 0] / p.sum()
    return float(max(0.0, -(p * np.log(p)).sum()))


def half_area(heat: np.ndarray) -> float:
    """The smallest share of the image's pixels that holds half of the heat.

    Args:
      heat: [H, W], not negative.

    Returns:
      The share, in 0..1: 1 / (H W) for heat in one pixel, 0.5 (rounded up to whole pixels) for heat
      that is the same everywhere. NaN, with a warning, without any heat.

    Raises:
      ValueError: heat has the wrong rank, is negative or not finite.
    """
    if not _has_heat(heat, "area of half of the heat"):
        return float("nan")
    strongest_first = np.sort(heat.astype(np.float64), axis=None)[::-1]
    held = np.cumsum(strongest_first)
    # The tolerance is for rounding in sums of pixels that are equal.
    pixels = 1 + int(np.searchsorted(held, 0.5 * held[-1] * (1 - 1e-9)))
    return pixels / heat.size


def _has_heat(heat: np.ndarray, what: str) -> bool:
    if heat.ndim != 2:
        raise ValueError(f"expected heat [H, W], found {heat.shape}")
    if not np.all(np.isfinite(heat)) or heat.min(initial=0.0) < 0:
        raise ValueError("heat must be finite and not negative")
    if not heat.any():
        warnings.warn(f"{what} is undefined: there is no heat", RuntimeWarning, stacklevel=3)
        return False
    return True
