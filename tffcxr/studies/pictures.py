"""Images and regions as a model gets them, from the files of a records table."""

from __future__ import annotations

from typing import Any

import numpy as np

from tffcxr.datasets.imaging import images


def picture(path: str, image_size: int, fit: str) -> np.ndarray:
    """The image of a record as uint8 [S, S, 1]."""
    return images.fit_to_square(images.read_image(path), image_size, fit=fit)


def region(annotation: Any, image_size: int, fit: str) -> np.ndarray | None:
    """An annotation of the image as bool [S, S]; None where nobody annotated."""
    if annotation is None:
        return None
    mask = annotation.to_array()
    return images.fit_to_square(mask, image_size, fit=fit, is_mask=True).astype(bool)
