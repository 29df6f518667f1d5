"""How well a heat map agrees with an annotated region.

The pointing game: J. Zhang, S. A. Bargal, Z. Lin, J. Brandt, X. Shen, S. Sclaroff, "Top-Down
Neural Attention by Excitation Backprop", IJCV 126, 2018, arXiv:1608.00507.
"""

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


def pointing_game(heat: np.ndarray, region: np.ndarray, tolerance: float = 0.0) -> float:
    """Whether the hottest pixel hits a region.

    Args:
      heat: [H, W], not negative. Of several equal maxima the first in reading order counts.
      region: bool [H, W].
      tolerance: how far from the region, in pixels between centres, still is a hit.

    Returns:
      1.0 for a hit, 0.0 for a miss; NaN, with a warning, where that is undefined: no heat
      anywhere, or an empty region.

    Raises:
      ValueError: the shapes differ, the region is not boolean, or heat is negative or not finite.
    """
    if not _is_defined(heat, region, "pointing game"):
        return float("nan")
    peak = np.array(np.unravel_index(np.argmax(heat), heat.shape))
    distances = np.linalg.norm(np.argwhere(region) - peak, axis=1)
    return float(distances.min() <= tolerance)


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
