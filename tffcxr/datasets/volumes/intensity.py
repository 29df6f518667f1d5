"""From the units of a modality to grey, 0 black to 255 white, the same way for every patient."""

from __future__ import annotations

import math

import numpy as np

from tffcxr.errors import InputError

# Standard deviations from the mean of a patient's voxels that are black and white in MRI.
Z_RANGE = (-3.0, 5.0)


def from_hounsfield(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Applies a window to CT: `centre - width / 2` is black, `centre + width / 2` white.

    DICOM's LINEAR_EXACT (PS3.3, C.11.2.1.3.2).

    Args:
      values: Hounsfield units, of any shape.
      centre: in Hounsfield units.
      width: in Hounsfield units, above 0.

    Returns:
      uint8 of the same shape.

    Raises:
      InputError: there is no such window.
    """
    return to_grey(values, centre - width / 2.0, centre + width / 2.0)


def from_suv(values: np.ndarray, maximum: float) -> np.ndarray:
    """Shows an SUV of 0 black, and `maximum` (g/ml) and more white: uint8."""
    return to_grey(values, 0.0, maximum)


def z_scores(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Normalises MRI, which has no units, by mean and standard deviation of one patient's volume.

    Only voxels that are not 0 count, since 0 is what is outside of the body or was cut off. They
    are transformed nonetheless, so that a border stays a border.

    Args:
      values: what to normalise, of any shape; on another grid, for example.
      reference: the volume that mean and standard deviation are taken of.

    Raises:
      InputError: the reference has no two different values that are not 0.
    """
    body = reference[reference != 0]
    deviation = float(body.std()) if body.size else 0.0
    if not deviation:
        raise InputError(
            f"expected a volume of several values, found {body.size} voxels other than 0 of "
            "standard deviation 0"
        )
    return (values - float(body.mean())) / deviation


def to_grey(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Maps values linearly to grey, uint8; those beyond black and white get the nearest.

    Raises:
      InputError: the two are not finite, or `white` is not above `black`.
    """
    if not (math.isfinite(black) and math.isfinite(white) and black < white):
        raise InputError(f"expected black below white, found {black:g} and {white:g}")
    scaled = (np.asarray(values, np.float64) - black) / (white - black)
    return np.rint(np.clip(scaled, 0.0, 1.0) * 255.0).astype(np.uint8)
