"""From stored DICOM values to display grey, 0 black to 255 white.

DICOM PS3.3, C.11.1 (modality LUT and rescale), C.11.2 (VOI LUT and window), C.7.6.3.1.2
(photometric interpretation) and C.7.5.1.1.2 (pixel padding). All of it maps one value to one grey,
so it is computed once per value and looked up per pixel. Rescale and window are pydicom's, on
numbers that were checked here.
"""

from __future__ import annotations

import math

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_rescale, apply_windowing

from tffcxr.datasets.imaging import dicom_elements
from tffcxr.datasets.imaging.image_error import ImageError

# What `to_grey` looks at; a reader may skip all other elements.
KEYWORDS = (
    "PhotometricInterpretation",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "ModalityLUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
)


# Modalities whose values have a unit, which the stored numbers alone do not give: Hounsfield units
# and activity. PS3.3, C.8.2.1 and C.8.9.4, require the rescale of them.
_RESCALED = ("CT", "PT")
# Smaller ones are those of damaged headers, and would make all values one.
_NARROWEST = 1e-6
_SMALLEST_SLOPE = 1e-12


def to_grey(
    stored: np.ndarray, bits: int, dataset: Dataset, big_endian: bool = False
) -> np.ndarray:
    """Maps stored values to grey.

    The values go through the modality LUT or rescale, then through the first VOI LUT or else the
    first window. Without either, images of at most 8 bits are display values already and keep their
    full range (0 to 255 for 8 bits); deeper or rescaled ones are stretched from their own minimum
    to their own maximum, since 12 bits often come in 16. MONOCHROME1 is inverted, so that higher
    is whiter. Padding is not part of the image: it does not count for the minimum and maximum, and
    comes out black.

    Args:
      stored: integers [H, W], masked and signed as the header says.
      bits: bits of precision, at most 16.
      dataset: the header, as of `dicom_elements.parse` with `KEYWORDS`.
      big_endian: the byte order of lookup tables that are given as bytes.

    Returns:
      uint8 [H, W].

    Raises:
      ImageError: the header contradicts itself, or the image is of one value and no window says
        which grey that is.
    """
    padding = _padding(stored, dataset)
    image = stored if padding is None else stored[~padding]
    if not image.size:
        raise ImageError("expected an image, found pixel padding only")
    low, high = int(image.min()), int(image.max())
    values = np.arange(low, high + 1)
    order = ">" if big_endian else "<"
    display = _display(values, bits, stored.dtype.kind == "i", dataset, order)  # 0 to 1 per value.
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        display = 1.0 - display
    table = np.rint(display * 255.0).astype(np.uint8)
    if np.array_equal(table, values) and stored.dtype == np.uint8:
        grey = stored
    elif padding is None:
        grey = table[stored.astype(np.int32) - low]
    else:
        grey = table[np.clip(stored.astype(np.int32), low, high) - low]
    return grey if padding is None else np.where(padding, np.uint8(0), grey)


def to_modality(stored: np.ndarray, dataset: Dataset, big_endian: bool = False) -> np.ndarray:
    """Maps stored values to the units of the modality by its lookup table or its rescale.

    Args:
      stored: integers [H, W], masked and signed as the header says.
      dataset: the header.
      big_endian: as of `to_grey`.

    Returns:
      float64 [H, W], such as Hounsfield units; pixel padding is rescaled like all else.

    Raises:
      ImageError: the header contradicts itself, or is one of CT or PET and says neither how to
        rescale nor what to look up.
    """
    order = ">" if big_endian else "<"
    modality = dataset.get("Modality")
    if modality in _RESCALED and not dataset.get("ModalityLUTSequence"):
        missing = [
            name
            for name in ("RescaleSlope", "RescaleIntercept")
            if dicom_elements.number(dataset, name) is None
        ]
        if missing:
            raise ImageError(
                f"expected RescaleSlope and RescaleIntercept in an image of modality {modality}, "
                f"found no {' and no '.join(missing)}"
            )
    return _modality(stored, stored.dtype.kind == "i", dataset, order)[0]


def _padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Returns where the pixels are padding, bool [H, W], or None if none is."""
    value = _whole(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = _whole(dataset, "PixelPaddingRangeLimit")
    ends = [value, value if limit is None else limit]
    if stored.dtype.kind == "i":
        # Explicit transfer syntaxes may carry a negative value as unsigned.
        span = 1 << (8 * stored.dtype.itemsize)
        ends = [end - span if end >= span // 2 else end for end in ends]
    padding = (stored >= min(ends)) & (stored <= max(ends))
    return padding if padding.any() else None


def _display(
    values: np.ndarray, bits: int, signed: bool, dataset: Dataset, order: str
) -> np.ndarray:
    """Returns the grey from 0 to 1 of each stored value, before any inversion."""
    modality_values, rescaled = _modality(values, signed, dataset, order)
    lut = dicom_elements.item(dataset, "VOILUTSequence")
    if lut is not None:
        table, first, depth = _lut(lut, order, signed)
        return _look_up(modality_values, table, first) / (2.0**depth - 1.0)
    center, width = (
        dicom_elements.number(dataset, "WindowCenter"),
        dicom_elements.number(dataset, "WindowWidth"),
    )
    if center is not None and width is not None:
        return window(modality_values, center, width, dataset.get("VOILUTFunction") or "LINEAR")
    if bits <= 8 and not signed and not rescaled:
        return values / (2.0**bits - 1.0)
    low, high = modality_values.min(), modality_values.max()
    if low == high:
        raise ImageError(
            f"expected an image of several values, or a window, found the value {low:g} in every "
            "pixel"
        )
    return (modality_values - low) / (high - low)


def window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """Applies a VOI window (DICOM PS3.3, C.11.2.1.2.1 and C.11.2.1.3).

    Args:
      values: modality values.
      center: Window Center.
      width: Window Width.
      function: VOI LUT Function: LINEAR, LINEAR_EXACT or SIGMOID.

    Returns:
      The grey from 0 to 1 of each value.

    Raises:
      ImageError: the width is too small for the function, or the function is none of these.
    """
    narrowest = 1.0 if function == "LINEAR" else _NARROWEST
    if not (math.isfinite(center) and math.isfinite(width) and width >= narrowest):
        raise ImageError(
            f"expected a {function} window with a width of at least {narrowest:g}, found center "
            f"{center:g} and width {width:g}"
        )
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise ImageError(
            f"expected the VOI LUT function LINEAR, LINEAR_EXACT or SIGMOID, found {function!r}"
        )
    header = Dataset()
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = center, width, function
    header.PhotometricInterpretation = "MONOCHROME2"
    # pydicom maps to the range of the stored values: of one bit without a sign, 0 to 1.
    header.BitsStored, header.PixelRepresentation = 1, 0
    with np.errstate(over="ignore"):  # A sigmoid far below its centre is 1 / (1 + inf).
        return apply_windowing(values, header)


def _modality(
    values: np.ndarray, signed: bool, dataset: Dataset, order: str
) -> tuple[np.ndarray, bool]:
    """Returns the modality values (float64) and whether they differ from the stored ones."""
    lut = dicom_elements.item(dataset, "ModalityLUTSequence")
    if lut is not None:
        table, first, _ = _lut(lut, order, signed)
        return _look_up(values, table, first), True
    slope, intercept = (
        dicom_elements.number(dataset, "RescaleSlope"),
        dicom_elements.number(dataset, "RescaleIntercept"),
    )
    slope = 1.0 if slope is None else slope
    intercept = 0.0 if intercept is None else intercept
    if abs(slope) < _SMALLEST_SLOPE:
        raise ImageError(
            f"expected a rescale slope other than 0, found slope {slope:g}, intercept {intercept:g}"
        )
    rescale = Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = slope, intercept
    return apply_rescale(values, rescale), (slope, intercept) != (1.0, 0.0)


def _lut(item: Dataset, order: str, signed: bool) -> tuple[np.ndarray, int, int]:
    """Returns a lookup table (float64), the first value that it maps, and its bits per entry."""
    descriptor, data = dicom_elements.numbers(item, "LUTDescriptor", 3), item.get("LUTData")
    if descriptor is None or data is None:
        raise ImageError("expected a lookup table with a descriptor of 3 numbers and with data")
    entries, first, depth = (int(number) for number in descriptor)
    if not 0 <= entries <= 1 << 16 or not -(1 << 15) <= first < 1 << 16:
        raise ImageError(
            "expected a lookup table of at most 65536 entries that starts at a number of 16 bits, "
            f"found {entries} entries that start at {first}"
        )
    entries = entries or 1 << 16
    if signed and first >= 1 << 15:
        first -= 1 << 16
    if not 8 <= depth <= 16:
        raise ImageError(f"expected a lookup table of 8 to 16 bits per entry, found {depth}")
    if isinstance(data, (bytes, bytearray)):
        raw = bytes(data)
    else:
        words = data if isinstance(data, (list, tuple, MultiValue)) else [data]
        if not all(isinstance(word, int) and -(1 << 15) <= word < 1 << 16 for word in words):
            raise ImageError("expected a lookup table of numbers of 16 bits, found others")
        raw = np.asarray(words, np.int64).astype(f"{order}u2").tobytes()
    # Entries of 8 bits come in words of their own or two to a word.
    packed = depth == 8 and len(raw) - entries in (0, 1)
    raw = raw if packed else raw[: len(raw) // 2 * 2]
    table = np.frombuffer(raw, np.uint8 if packed else f"{order}u2")
    if table.size < entries:
        raise ImageError(
            f"expected a lookup table of {entries} entries, found {table.size} entries"
        )
    return table[:entries].astype(np.float64), first, depth


def _look_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    """Values before the first and after the last entry get the first and the last entry.

    pydicom's `apply_modality_lut` and `apply_voi` are not used. Those of pydicom 3.0.2 cut
    fractions off and wrap values around at 8 or 16 bits, and cannot read 8-bit entries two to a
    word, modality tables of 12 bits, or a first entry below 0 that was written as unsigned.
    """
    return table[np.clip(np.rint(values) - first, 0, table.size - 1).astype(np.int64)]


def _whole(dataset: Dataset, keyword: str) -> int | None:
    value = dicom_elements.number(dataset, keyword)
    return None if value is None else int(value)
