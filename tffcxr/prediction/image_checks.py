"""Whether an image is of the kind that a model was trained on, by its DICOM header and its size.

What the header calls another modality or another part of the body is refused. All else is marked:
headers are often wrong or empty, and a hospital may have its reasons.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from tffcxr.datasets import views
from tffcxr.datasets.sources import dicom_header
from tffcxr.errors import InputError

KEYWORDS = (
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PatientOrientation",
    "PresentationIntentType",
    "PhotometricInterpretation",
    "PresentationLUTShape",
)
_UNSPECIFIC = ("", "OT", "SC")  # Modalities that say nothing of what the image is.
_CHEST = re.compile(r"CHEST|THORAX|LUNG|RIB|HEART")
_FROM = ("AP", "PA")  # Views that differ in how large the heart is.
# PS3.3, C.8.11.3: display values that are 0 for white go with INVERSE, others with IDENTITY.
_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
NOT_FRONTAL = "a view that is not frontal"
_FEWEST_PIXELS = 16  # On the shorter side.


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a model was trained on.

    Attributes:
      modalities: as in DICOM.
      views: View Positions; empty where the sources do not say them.
      image_size: of the model, in pixels.
    """

    modalities: tuple[str, ...]
    views: tuple[str, ...]
    image_size: int


@dataclasses.dataclass(frozen=True)
class Checked:
    """What speaks against an image.

    Attributes:
      refusal: why it is of another kind; "" if it is not.
      warnings: what may be wrong.
    """

    refusal: str = ""
    warnings: tuple[str, ...] = ()


def check_header(path: str, expected: Expected) -> Checked:
    """Looks at a file's DICOM header; of other files, nothing is known."""
    found = dicom_header.texts(path, KEYWORDS)
    return Checked() if found is None else check_texts(found, expected)


def check_pixels(picture: np.ndarray, expected: Expected) -> tuple[str, ...]:
    """Checks an image uint8 [H, W, 1]; returns warnings.

    Raises:
      InputError: nobody could see anything in it.
    """
    height, width = picture.shape[:2]
    if min(height, width) < _FEWEST_PIXELS:
        raise InputError(
            f"expected an image of at least {_FEWEST_PIXELS}x{_FEWEST_PIXELS} pixels, found "
            f"{width}x{height}"
        )
    if picture.min() == picture.max():
        raise InputError(
            f"expected an image of several values, found {picture.flat[0]} in every pixel"
        )
    if 2 * max(height, width) < expected.image_size:
        return (
            f"{width}x{height} pixels, less than half of the model's {expected.image_size} a side",
        )
    return ()


def check_texts(header: dict[str, str], expected: Expected) -> Checked:
    """Looks at the elements `KEYWORDS` of a DICOM header, see `dicom_header.texts`."""
    refusal = _refusal(header, expected)
    modality = header.get("Modality", "")
    warnings = []
    if modality in _UNSPECIFIC:
        warnings.append(f"the header has {modality or 'no'} modality: it may be anything")
    warnings += _view(header, expected)
    if "PROCESSING" in header.get("PresentationIntentType", ""):
        warnings.append("raw pixels for processing, not for presentation")
    kind, shape = header.get("PhotometricInterpretation", ""), header.get("PresentationLUTShape")
    if shape is not None and shape != _SHAPES.get(kind, shape):
        warnings.append(f"{kind} with the LUT shape {shape:.16}: its grey may be inverted")
    return Checked(refusal, tuple(warnings))


def _refusal(header: dict[str, str], expected: Expected) -> str:
    modality, part = header.get("Modality", ""), header.get("BodyPartExamined", "").upper()
    if modality not in (*_UNSPECIFIC, *expected.modalities):
        return f"expected the modality {' or '.join(expected.modalities)}, found {modality:.16}"
    if part and not _CHEST.search(part):
        return f"expected a chest as the body part examined, found {part:.64}"
    return ""


def _view(header: dict[str, str], expected: Expected) -> list[str]:
    view = header.get("ViewPosition", "").upper()
    row = header.get("PatientOrientation", "").partition("\\")[0].upper()
    trained = {name.upper() for name in expected.views}
    if view in trained:
        return []
    if any(views.is_frontal(name) is False for name in trained):
        return []
    # A row of a lateral view leads to the front or to the back.
    if views.is_frontal(view) is False or row[:1] in ("A", "P"):
        return [NOT_FRONTAL]
    known = sorted(trained.intersection(_FROM))
    return (
        [f"view {view}, but all training images are {known[0]}"] if view in _FROM and known else []
    )
