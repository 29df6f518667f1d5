"""Overlap of a predicted mask with the true one: Jaccard and Dice.

P. Jaccard, "The distribution of the flora in the alpine zone", New Phytologist 11(2), 1912;
L. R. Dice, "Measures of the amount of ecologic association between species", Ecology 26(3), 1945.
Two empty masks are equal sets, so both are 1 for them, as in M. Levandowsky, D. Winter, "Distance
between sets", Nature 234, 1971, and in the code of CXR-FL (arXiv:2204.05203). Leaving such images
out would count an image without the region only when the model is wrong about it.
"""

from __future__ import annotations

import numpy as np


def jaccard(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Returns intersection over union of two masks of one image.

    Args:
      predicted: bool [H, W].
      truth: bool [H, W].

    Returns:
      0..1; 1 where both masks are empty, 0 where one is.

    Raises:
      ValueError: for a mask that is not bool [H, W], or two of different sizes.
    """
    _check(predicted, truth)
    union = np.count_nonzero(predicted | truth)
    return np.count_nonzero(predicted & truth) / union if union else 1.0


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Returns twice the intersection over the sum of the areas; else as `jaccard`."""
    _check(predicted, truth)
    areas = np.count_nonzero(predicted) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(predicted & truth) / areas if areas else 1.0


def _check(predicted: np.ndarray, truth: np.ndarray) -> None:
    for name, mask in (("predicted", predicted), ("true", truth)):
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise ValueError(
                f"expected a {name} mask of bool [H, W], found {mask.dtype} {list(mask.shape)}"
            )
    if predicted.shape != truth.shape:
        raise ValueError(
            f"expected masks of one size, found {list(predicted.shape)} predicted and "
            f"{list(truth.shape)} true"
        )
