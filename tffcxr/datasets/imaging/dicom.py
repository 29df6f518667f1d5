"""Reads a plain radiograph from a DICOM file (PS3.3 and PS3.5): one frame, one grey channel.

Whatever cannot be decoded in full, or is not a plain radiograph, is refused by name: half a picture
or a wrong grey scale would become a wrong diagnosis.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import io
import struct
from typing import NoReturn
import zlib

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
import pydicom.errors
import pydicom.tag

from tffcxr.datasets.imaging import dicom_codecs, grey
from tffcxr.datasets.imaging.image_error import ImageError

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_TAGS = tuple(
    pydicom.tag.Tag(keyword)
    for keyword in (
        *grey.KEYWORDS,
        *_SPACINGS,
        "SpecificCharacterSet",
        "SamplesPerPixel",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "PixelAspectRatio",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "SharedFunctionalGroupsSequence",
        "PixelData",
        "FloatPixelData",
        "DoubleFloatPixelData",
    )
)
_NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)
# What pydicom raises on damaged files, as fuzzing shows.
PARSING_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pydicom.errors.BytesLengthException,
    pydicom.errors.InvalidDicomError,
    struct.error,
    zlib.error,
)

# Those of a file that ends within an element.
_ENDED_EARLY = (EOFError, pydicom.errors.BytesLengthException, struct.error)


def is_dicom(data: bytes) -> bool:
    """Whether the bytes are a DICOM file, or a data set of group 8 written without a preamble."""
    return data[128:132] == b"DICM" or data[:2] == b"\x08\x00"


def decode(data: bytes) -> tuple[np.ndarray, float]:
    """Decodes a DICOM file.

    Args:
      data: the whole file, for which `is_dicom` holds.

    Returns:
      Grey values, uint8 [H, W], see `grey.to_grey`, and the height of a pixel over its width.

    Raises:
      ImageError: the file is damaged or is not a plain radiograph. The message lacks the path.
    """
    with _as_image_error():
        dataset = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(_TAGS))
        stored, bits, big = _read(dataset, data)
        values, aspect = grey.to_grey(stored, bits, dataset, big), _pixel_aspect(dataset)
    return values, aspect


def decode_values(data: bytes) -> tuple[np.ndarray, Dataset]:
    """Decodes one slice of a series.

    Args:
      data: the whole file, for which `is_dicom` holds.

    Returns:
      The values in the units of the modality, float64 [H, W] (Hounsfield units in a CT, see
      `grey.to_modality`), and the header.

    Raises:
      ImageError: the file is damaged or is not one slice. The message lacks the path.
    """
    with _as_image_error():
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        stored, _, big = _read(dataset, data)
        values = grey.to_modality(stored, dataset, big)
    return values, dataset


@contextlib.contextmanager
def _as_image_error() -> Iterator[None]:
    """Turns what pydicom raises on damaged files into an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except _ENDED_EARLY as error:
        raise ImageError(
            f"expected a complete DICOM file, found it truncated or damaged: {error}"
        ) from None
    except PARSING_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"expected a DICOM image that can be decoded, found: {reason[:200]}"
        ) from None


def _read(dataset: Dataset, data: bytes) -> tuple[np.ndarray, int, bool]:
    """Returns stored values [H, W], their bits of precision, and whether words are big-endian."""
    syntax = _transfer_syntax(dataset)
    _check_kind(dataset, data)
    stored, bits = _stored_values(dataset, syntax)
    return stored, bits, syntax == uid.ExplicitVRBigEndian


def _transfer_syntax(dataset: Dataset) -> uid.UID:
    # Without the meta information `is_dicom` has seen little endian, and the pixels are the same
    # whether value representations are explicit.
    return dataset.file_meta.get("TransferSyntaxUID") or uid.ImplicitVRLittleEndian


def _check_kind(dataset: Dataset, data: bytes) -> None:
    """Refuses everything that is not one frame of grey integers of 8 to 16 bits."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise ImageError("expected pixels of whole numbers, found floating-point pixel data")
    if not dataset.get("PixelData"):
        _refuse_without_pixels(dataset, data)
    frames = dataset.get("NumberOfFrames") or 1
    if int(frames) != 1:
        raise ImageError(f"expected one frame, found a multi-frame image of {frames} frames")
    if "SharedFunctionalGroupsSequence" in dataset:
        raise ImageError("expected a plain image, found an enhanced (functional group) image")
    kind = dataset.get("PhotometricInterpretation")
    if not kind:
        raise ImageError("expected an image, found DICOM without a photometric interpretation")
    if kind not in ("MONOCHROME1", "MONOCHROME2") or dataset.get("SamplesPerPixel", 1) != 1:
        raise ImageError(
            "expected one grey channel (MONOCHROME1 or MONOCHROME2), found a colour image "
            f"({kind}, {dataset.get('SamplesPerPixel')} samples per pixel)"
        )
    if dataset.get("BitsAllocated") not in (8, 16):
        raise ImageError(
            f"expected 8 or 16 bits allocated per pixel, found {dataset.get('BitsAllocated')}"
        )
    dataset.setdefault("SamplesPerPixel", 1)
    dataset.setdefault("PixelRepresentation", 0)
    dataset.setdefault("BitsStored", dataset.BitsAllocated)
    dataset.setdefault("HighBit", dataset.BitsStored - 1)
    if not 1 <= dataset.BitsStored <= dataset.HighBit + 1 <= dataset.BitsAllocated:
        raise ImageError(
            f"expected stored bits within the {dataset.BitsAllocated} allocated ones, found "
            f"{dataset.BitsStored} bits up to bit {dataset.HighBit}"
        )
    if not (dataset.get("Rows") and dataset.get("Columns")):
        raise ImageError(
            "expected rows and columns, found "
            f"{dataset.get('Rows')} rows and {dataset.get('Columns')} columns"
        )


def _refuse_without_pixels(dataset: Dataset, data: bytes) -> NoReturn:
    """Tells a file that was cut from one that is not an image."""
    # pydicom drops a last element that has no end.
    if b"\xe0\x7f\x10\x00" in data or b"\x7f\xe0\x00\x10" in data:
        raise ImageError("expected complete pixel data, found a truncated file")
    if data[128:132] == b"DICM" and "TransferSyntaxUID" not in dataset.file_meta:
        raise ImageError("expected a DICOM file with its transfer syntax, found it truncated")
    kind = dataset.file_meta.get("MediaStorageSOPClassUID")
    if kind is not None and kind.name.endswith("Image Storage"):
        raise ImageError(
            f"expected the pixel data of a {kind.name.replace(' Storage', '')}, found none: "
            "truncated, or its pixels were removed"
        )
    raise ImageError("expected an image, found DICOM without pixel data")


def _stored_values(dataset: Dataset, syntax: uid.UID) -> tuple[np.ndarray, int]:
    """Returns the stored values [H, W], signed as they are meant, and their bits of precision."""
    bits, high_bit = dataset.BitsStored, dataset.HighBit
    if syntax in _NATIVE:
        words = _native_words(dataset, syntax)
    elif syntax in dicom_codecs.SYNTAXES:
        layout = dicom_codecs.Layout(dataset.Rows, dataset.Columns, dataset.BitsAllocated)
        words, precision = dicom_codecs.decompress(dataset.PixelData, syntax, layout)
        if syntax != uid.RLELossless:
            if high_bit != bits - 1:
                raise ImageError(
                    f"expected {bits} compressed bits to end at bit {bits - 1}, found {high_bit}"
                )
            bits = min(bits, precision)
            high_bit = bits - 1
    else:
        raise ImageError(f"expected a transfer syntax that is supported, found {syntax.name}")
    return _sign(words, bits, high_bit, dataset.PixelRepresentation == 1), bits


def _native_words(dataset: Dataset, syntax: uid.UID) -> np.ndarray:
    """Returns the words of uncompressed pixel data, unsigned [H, W]."""
    data = dataset.PixelData
    size = dataset.BitsAllocated // 8
    expected = dataset.Rows * dataset.Columns * size
    if len(data) < expected:
        raise ImageError(
            f"expected {expected} bytes of pixel data for {dataset.Columns}x{dataset.Rows} pixels "
            f"of {dataset.BitsAllocated} bits, found {len(data)}: truncated"
        )
    if data[:4] == b"\xfe\xff\x00\xe0" and len(data) > expected + 1:
        raise ImageError("expected plain pixel data, found compressed data declared as plain")
    big = syntax == uid.ExplicitVRBigEndian
    if big and size == 1 and dataset["PixelData"].VR == "OW":
        data = np.frombuffer(data[: len(data) // 2 * 2], np.uint16).byteswap().tobytes()
    values = np.frombuffer(data, f"{'>' if big else '<'}u{size}", dataset.Rows * dataset.Columns)
    return values.astype(f"u{size}", copy=False).reshape(dataset.Rows, dataset.Columns)


def _sign(words: np.ndarray, bits: int, high_bit: int, signed: bool) -> np.ndarray:
    """Drops the bits that are not part of the value (overlays, once), and extends its sign."""
    size = words.dtype.itemsize
    values = words.view(f"{'i' if signed else 'u'}{size}")
    if bits == 8 * size:
        return values
    return (values << (8 * size - 1 - high_bit)) >> (8 * size - bits)


def _pixel_aspect(dataset: Dataset) -> float:
    """Returns the height of a pixel over its width, 1 where the header does not say."""
    for keyword in (*_SPACINGS, "PixelAspectRatio"):
        spacing = dataset.get(keyword)
        if spacing is not None and not isinstance(spacing, str) and len(spacing) == 2:
            vertical, horizontal = float(spacing[0]), float(spacing[1])
            if vertical > 0 and horizontal > 0:
                return vertical / horizontal
    return 1.0
