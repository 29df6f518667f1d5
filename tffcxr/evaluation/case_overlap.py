"""Regions of whole cases, from what was found in each slice: overlap of boxes, Dice, and misses.

V. S. Parekh et al., "Cross-Domain Federated Learning in Medical Imaging", MIDL 2022,
arXiv:2112.10001. Organs are localised by bounding boxes, and the paper's overlap similarity is
modified for them: the intersection of the organ's boundary and the bounding box over the organ's
boundary. `boundary_overlap` is that, the boundary being the outermost pixels of the organ; that it
is counted slice by slice, with one box around all that the model marks in a slice, is ours.
`overlap` is stricter: of the area that the boundary encloses, and with a box around each connected
part. For neither is a box too large; Dice, beside them, tells. Lesions have the Dice of the case's
volume, and are missed entirely where the model marks none of their voxels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

_WITH_DIAGONALS = np.ones((3, 3), int)


def bounding_boxes(mask: np.ndarray) -> list[tuple[slice, slice]]:
    """Returns the rows and columns of the smallest box around each connected part of a mask.

    Pixels that touch at a corner are connected.

    Args:
      mask: bool [H, W].

    Raises:
      ValueError: the mask is not bool [H, W].
    """
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"expected a mask of bool [H, W], found {mask.dtype} {list(mask.shape)}")
    parts, _ = ndimage.label(mask, _WITH_DIAGONALS)
    return list(ndimage.find_objects(parts))


def boxed_pixels(predicted: np.ndarray, organ: np.ndarray) -> int:
    """Returns how many pixels of an organ lie in the boxes around what was predicted.

    Args:
      predicted: bool [H, W].
      organ: bool [H, W].

    Raises:
      ValueError: for a mask that is not bool [H, W], or two of different sizes.
    """
    _check_pair(predicted, organ)
    boxed = np.zeros(organ.shape, bool)
    for box in bounding_boxes(predicted):
        boxed[box] = True
    return int(np.count_nonzero(boxed & organ))


def boundary(mask: np.ndarray) -> np.ndarray:
    """Marks the outermost pixels of a mask: those beside, above or below a pixel outside it.

    Args:
      mask: bool [H, W]; all around it is outside.

    Returns:
      bool [H, W].
    """
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def boxed_boundary(predicted: np.ndarray, organ: np.ndarray) -> tuple[int, int]:
    """Counts an organ's boundary in the one smallest box around all that was predicted.

    Args:
      predicted: bool [H, W].
      organ: bool [H, W].

    Returns:
      The pixels of the boundary in the box, and in all.

    Raises:
      ValueError: for a mask that is not bool [H, W], or two of different sizes.
    """
    _check_pair(predicted, organ)
    edge = boundary(organ)
    found = ndimage.find_objects(predicted.astype(np.int8))
    in_box = np.count_nonzero(edge[found[0]]) if found else 0
    return int(in_box), int(np.count_nonzero(edge))


def _check_pair(predicted: np.ndarray, organ: np.ndarray) -> None:
    if predicted.shape != organ.shape or not predicted.dtype == organ.dtype == np.bool_:
        raise ValueError(
            f"expected masks of bool and of one size, found {predicted.dtype} "
            f"{list(predicted.shape)} predicted and {organ.dtype} {list(organ.shape)}"
        )


@dataclasses.dataclass(frozen=True)
class CaseScores:
    """How well a model finds the region in some cases.

    Attributes:
      cases: object [M], sorted.
      overlap: float64 [M], the part of the region that is in the boxes; NaN for a case without the
        region.
      boundary_overlap: float64 [M], the same of the region's boundary and of one box in a slice.
      dice: float64 [M], of the volume; 1 where truth and prediction are both empty, as in
        `segmentation`.
      missed: bool [M], whether there is a region of which nothing was found.
    """

    cases: np.ndarray
    overlap: np.ndarray
    boundary_overlap: np.ndarray
    dice: np.ndarray
    missed: np.ndarray


def case_scores(
    cases: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    common: np.ndarray,
    boxed: np.ndarray,
    boundary: np.ndarray,
    boxed_boundary: np.ndarray,
) -> CaseScores:
    """Puts the slices of each case together.

    Args:
      cases: [N], the case of each slice.
      truth: [N], area of the true region in each slice, in any unit.
      predicted: [N], area that the model marks.
      common: [N], area of both.
      boxed: [N], area of the true region in the boxes around what the model marks.
      boundary: [N], pixels of the true region's boundary, in any unit.
      boxed_boundary: [N], those of them in the one box around all that the model marks.

    Raises:
      ValueError: the arrays are of different lengths, or a part is larger than the whole.
    """
    arrays = [
        np.asarray(array, np.float64)
        for array in (truth, predicted, common, boxed, boundary, boxed_boundary)
    ]
    if any(array.shape != np.shape(cases) for array in arrays):
        raise ValueError(f"expected arrays of {len(cases)} slices, found {len(arrays[0])} areas")
    truth, predicted, common, boxed, boundary, boxed_boundary = arrays
    # Areas may be shares of a slice, which are rounded.
    limit = 1e-9 + np.minimum(truth, predicted)
    parts = ((common, limit), (boxed, truth + 1e-9), (boxed_boundary, boundary + 1e-9))
    if any((part > whole).any() for part, whole in parts):
        raise ValueError("expected a common and a boxed area within the region, found a larger one")
    names, place = np.unique(np.asarray(cases, object).astype(str), return_inverse=True)
    truth, predicted, common, boxed, boundary, boxed_boundary = (
        np.bincount(place, weights=array, minlength=len(names)) for array in arrays
    )
    present = truth > 0
    both = truth + predicted
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap = np.where(present, boxed / truth, np.nan)
        of_boundary = np.where(present, boxed_boundary / boundary, np.nan)
        dice = np.where(both > 0, 2.0 * common / both, 1.0)
    missed = present & (common <= 0)
    return CaseScores(names.astype(object), overlap, of_boundary, dice, missed)
