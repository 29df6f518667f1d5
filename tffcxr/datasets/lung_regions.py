"""Cleans a predicted lung mask, and rejects implausible ones.

A classifier on segmented images never sees what a wrong mask removes. So a mask that cannot be of
two lungs is not used at all. The limits below catch masks that are wrong as a whole; they do not
detect a mask that misses part of a lung. The limits are tight: rejecting a good mask only means
that the whole image is used, while accepting a bad one hides a finding.

Each limit lies outside of what was measured on true masks, at sides of 64 to 512 pixels: the 88 of
COVID-19 patients by V7 Labs (see `lungs`; among the images are photographs of screens, crops and
rotated ones), which go through the heart, and those of 521 phantoms as of the RSNA and SIIM
challenges, half of them with pneumonia or pneumothorax, which leave the heart out.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

# Of the largest region's area. Measured, phantoms included: the smaller lung has 0.50 or more of
# it, and other regions (lung that a rib or the heart cuts off) at most 0.05.
_LEAST_OF_LARGEST = 0.1
_MOST_REGIONS = 2
_TOUCHING = np.ones((3, 3), int)  # Pixels that share no more than a corner are of one region.

# Measured: 0.19 to 0.62 of the image's area, 0.10 to 0.41 in phantoms.
_AREA = (0.06, 0.75)
# Measured: 0.35 to 0.58 of the lungs' area is left of the image's middle, 0.48 to 0.67 in phantoms.
# A single lung, the most frequent of gross errors, has nearly all of its area on one side.
_LEFT = (0.2, 0.8)
# Measured: 0.53 to 0.95 of the image's height from the highest to the lowest pixel, 0.46 to 0.87 in
# phantoms.
_HEIGHT = 0.4
# Measured: where there are two regions, the smaller has 0.72 or more of the larger one's area, 0.50
# in phantoms. A lung that is opaque throughout is missed most easily, and it is the one to look at.
_SMALLER_OF_LARGER = 0.3
# Measured: of the rows that have either of two regions, 0.74 or more have both, 0.59 in phantoms.
# Lungs lie beside each other, and a lung and the air beside the neck do not.
_SIDE_BY_SIDE = 0.5
# Measured: up to 0.12 of the pixels along the image's edge, 0.10 in phantoms. What is outside of
# the body, taken for lung, reaches the edge; it is what a model that saw few images does most.
_EDGE = 0.15
# Measured: each of two regions has 0.81 or more of its convex hull's area, 0.67 in phantoms. Less
# is ragged, with pieces of lung left out.
_SOLIDITY = 0.6


def clean(mask: np.ndarray) -> np.ndarray:
    """Keeps at most two lungs, without islands and holes.

    Regions that touch, if only at a corner, are one. The two largest are kept, of these what has at
    least a tenth of the largest one's area, and of equally large ones all or none, so that the
    result does not depend on where in the image they are. Then holes are filled: background that
    does not reach the edge of the image.

    Args:
      mask: bool [H, W].

    Returns:
      bool [H, W]; empty if the mask is, or has more than two largest regions of one size.
    """
    filled = ndimage.binary_fill_holes(_largest(mask))
    return _largest(filled)  # What was filled may have changed which regions are small.


def _largest(mask: np.ndarray) -> np.ndarray:
    """Keeps the regions that `clean` keeps."""
    regions, count = ndimage.label(mask, _TOUCHING)
    if not count:
        return np.zeros(mask.shape, bool)
    areas = np.bincount(regions.ravel())[1:]
    # The area of the first region that is not kept any more.
    excess = np.sort(areas)[::-1][_MOST_REGIONS] if count > _MOST_REGIONS else 0
    kept = (areas > excess) & (areas >= _LEAST_OF_LARGEST * areas.max())
    return np.concatenate([[False], kept])[regions]


def implausible(mask: np.ndarray) -> str | None:
    """Returns why a cleaned mask cannot be of both lungs of a frontal radiograph.

    Args:
      mask: bool [H, W] of the image, without the padding that makes it square.

    Returns:
      The reason in a few words, or None for a mask that is plausible. What comes before the colon
      is the same for all masks with the same fault.
    """
    if not mask.any():
        return "empty"
    low, high = _AREA
    area = float(mask.mean())
    if not low <= area <= high:
        expected = f"{_percent(low)} to {_percent(high)}"
        return f"unlikely area: {_percent(area)} of the image, expected {expected}"
    edge = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    if edge.mean() > _EDGE:
        most = _percent(_EDGE)
        return (
            f"along the edge: {_percent(edge.mean())} of the image's edge, expected at most {most}"
        )
    low, high = _LEFT
    left = _share_left(mask)
    if not low <= left <= high:
        return (
            f"one side: {_percent(left)} on the left, expected {_percent(low)} to {_percent(high)}"
        )
    rows = np.flatnonzero(mask.any(axis=1))
    height = float(rows[-1] - rows[0] + 1) / mask.shape[0]
    if height < _HEIGHT:
        least = _percent(_HEIGHT)
        return f"too flat: {_percent(height)} of the image's height, expected at least {least}"
    regions, count = ndimage.label(mask, _TOUCHING)
    return _implausible_pair(regions == 1, regions == 2) if count == _MOST_REGIONS else None


def _implausible_pair(one: np.ndarray, other: np.ndarray) -> str | None:
    """Does the same for lungs, bool [H, W] each, that do not touch."""
    smaller, larger = sorted((np.count_nonzero(one), np.count_nonzero(other)))
    share = smaller / larger
    if share < _SMALLER_OF_LARGER:
        least = _percent(_SMALLER_OF_LARGER)
        return f"unequal pair: one lung {_percent(share)} of the other, expected at least {least}"
    rows = [region.any(axis=1) for region in (one, other)]
    beside = np.count_nonzero(rows[0] & rows[1]) / np.count_nonzero(rows[0] | rows[1])
    if beside < _SIDE_BY_SIDE:
        return (
            f"unequal pair: beside each other in {_percent(beside)} of their height, "
            f"expected at least {_percent(_SIDE_BY_SIDE)}"
        )
    solidity = min(_solidity(one), _solidity(other))
    if solidity < _SOLIDITY:
        return (
            f"ragged: a lung {_percent(solidity)} of its convex hull, expected at least "
            f"{_percent(_SOLIDITY)}"
        )
    return None


def _share_left(mask: np.ndarray) -> float:
    """Returns the share of the area left of the middle; a column in the middle counts half."""
    columns = mask.sum(axis=0).astype(float)
    half = mask.shape[1] // 2
    left = columns[:half].sum() + (columns[half] / 2 if mask.shape[1] % 2 else 0.0)
    return float(left / columns.sum())


def _solidity(mask: np.ndarray) -> float:
    """Returns the mask's area over that of its convex hull, both in pixels."""
    hull = cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32))
    filled = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(filled, hull, 1)
    return float(np.count_nonzero(mask) / np.count_nonzero(filled))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
