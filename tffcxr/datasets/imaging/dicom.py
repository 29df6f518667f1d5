"""Reads a plain radiograph from a DICOM file (PS3.3 and PS3.5): one frame, one grey channel.

Files that cannot be decoded in full, or are not plain radiographs, are rejected with a reason: half
an image or a wrong grey scale could lead to a wrong diagnosis.
"""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
from typing import NoReturn

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from tffcxr.datasets import limits
from tffcxr.datasets.imaging import dicom_codecs, dicom_elements, grey
from tffcxr.datasets.imaging.image_error import ImageError

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_KEYWORDS = (
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
_NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)
_WORD = (1 << 16) - 1  # The largest number of 16 bits.


@dataclasses.dataclass(frozen=True)
class _Pixels:
    """The pixel data of a file, and what its header says of them."""

    data: bytes
    vr: str  # Value representation of the data, "OB" or "OW".
    height: int
    width: int
    allocated: int  # Bits per pixel, 8 or 16, of which `stored` up to `high_bit` are the value.
    stored: int
    high_bit: int
    signed: bool


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
    dataset = dicom_elements.parse(data, _KEYWORDS)
    aspect = _pixel_aspect(dataset)
    stored, bits, big = _read(dataset, data)
    return grey.to_grey(stored, bits, dataset, big), aspect


def decode_values(data: bytes, keywords: Iterable[str]) -> tuple[np.ndarray, Dataset]:
    """Decodes one slice of a series.

    Args:
      data: the whole file, for which `is_dicom` holds.
      keywords: the elements of the header that will be accessed, see `dicom_elements.parse`.

    Returns:
      The values in the units of the modality, float64 [H, W] (Hounsfield units in a CT, see
      `grey.to_modality`), and the header.

    Raises:
      ImageError: the file is damaged or is not one slice. The message lacks the path.
    """
    dataset = dicom_elements.parse(data, (*_KEYWORDS, "Modality", *keywords), others=True)
    stored, _, big = _read(dataset, data)
    return grey.to_modality(stored, dataset, big), dataset


def _read(dataset: Dataset, data: bytes) -> tuple[np.ndarray, int, bool]:
    """Returns stored values [H, W], their bits of precision, and whether words are big-endian."""
    syntax = _transfer_syntax(dataset)
    _check_kind(dataset, data)
    stored, bits = _stored_values(_pixels(dataset), syntax)
    return stored, bits, syntax == uid.ExplicitVRBigEndian


def _transfer_syntax(dataset: Dataset) -> uid.UID:
    # Without the meta information `is_dicom` has seen little endian, and the pixels are the same
    # whether value representations are explicit.
    syntax = dataset.file_meta.get("TransferSyntaxUID") or uid.ImplicitVRLittleEndian
    if not isinstance(syntax, uid.UID):
        raise ImageError(f"expected one transfer syntax, found {dicom_elements.describe(syntax)}")
    return syntax


def _check_kind(dataset: Dataset, data: bytes) -> None:
    """Rejects everything that is not one frame of grey integers."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise ImageError("expected pixels of whole numbers, found floating-point pixel data")
    if not dataset.get("PixelData"):
        _refuse_without_pixels(dataset, data)
    frames = dicom_elements.whole(dataset, "NumberOfFrames", 0, limits.MAXIMUM_BYTES, missing=1)
    if frames > 1:
        raise ImageError(f"expected one frame, found a multi-frame image of {frames} frames")
    if "SharedFunctionalGroupsSequence" in dataset:
        raise ImageError("expected a plain image, found an enhanced (functional group) image")
    kind = dataset.get("PhotometricInterpretation")
    if not kind:
        raise ImageError("expected an image, found DICOM without a photometric interpretation")
    if kind not in ("MONOCHROME1", "MONOCHROME2") or dataset.get("SamplesPerPixel", 1) != 1:
        raise ImageError(
            "expected one grey channel (MONOCHROME1 or MONOCHROME2), found a colour image "
            f"({' '.join(str(kind).split()):.40}, "
            f"{dicom_elements.describe(dataset.get('SamplesPerPixel'))} samples per pixel)"
        )


def _pixels(dataset: Dataset) -> _Pixels:
    """Returns the pixel data and their format; rejects all but integers of 8 to 16 bits."""
    data, allocated = dataset.PixelData, dataset.get("BitsAllocated")
    if not isinstance(data, bytes):
        raise ImageError(f"expected pixel data of bytes, found {dicom_elements.describe(data)}")
    if allocated not in (8, 16):
        raise ImageError(
            f"expected 8 or 16 bits allocated per pixel, found {dicom_elements.describe(allocated)}"
        )
    allocated = int(allocated)
    stored = dicom_elements.whole(dataset, "BitsStored", 0, _WORD, missing=allocated)
    high_bit = dicom_elements.whole(dataset, "HighBit", 0, _WORD, missing=max(stored - 1, 0))
    if not 1 <= stored <= high_bit + 1 <= allocated:
        raise ImageError(
            f"expected stored bits within the {allocated} allocated ones, found "
            f"{stored} bits up to bit {high_bit}"
        )
    height = dicom_elements.whole(dataset, "Rows", 1, _WORD)
    width = dicom_elements.whole(dataset, "Columns", 1, _WORD)
    limits.check_pixels(height, width)
    signed = dicom_elements.whole(dataset, "PixelRepresentation", 0, 1, missing=0) == 1
    return _Pixels(
        data, dataset["PixelData"].VR, height, width, allocated, stored, high_bit, signed
    )


def _refuse_without_pixels(dataset: Dataset, data: bytes) -> NoReturn:
    """Distinguishes a truncated file from one that is not an image."""
    # pydicom drops a last element that has no end.
    if b"\xe0\x7f\x10\x00" in data or b"\x7f\xe0\x00\x10" in data:
        raise ImageError("expected complete pixel data, found a truncated file")
    if data[128:132] == b"DICM" and "TransferSyntaxUID" not in dataset.file_meta:
        raise ImageError("expected a DICOM file with its transfer syntax, found it truncated")
    kind = dataset.file_meta.get("MediaStorageSOPClassUID")
    if isinstance(kind, uid.UID) and kind.name.endswith("Image Storage"):
        raise ImageError(
            f"expected the pixel data of a {kind.name.replace(' Storage', '')}, found none: "
            "truncated, or its pixels were removed"
        )
    raise ImageError("expected an image, found DICOM without pixel data")


def _stored_values(pixels: _Pixels, syntax: uid.UID) -> tuple[np.ndarray, int]:
    """Returns the stored values [H, W], signed as they are meant, and their bits of precision."""
    bits, high_bit = pixels.stored, pixels.high_bit
    if syntax in _NATIVE:
        words = _native_words(pixels, syntax)
    elif syntax in dicom_codecs.SYNTAXES:
        layout = dicom_codecs.Layout(pixels.height, pixels.width, pixels.allocated)
        words, precision = dicom_codecs.decompress(pixels.data, syntax, layout)
        if syntax != uid.RLELossless:
            if high_bit != bits - 1:
                raise ImageError(
                    f"expected {bits} compressed bits to end at bit {bits - 1}, found {high_bit}"
                )
            bits = min(bits, precision)
            high_bit = bits - 1
    else:
        raise ImageError(f"expected a transfer syntax that is supported, found {syntax.name:.80}")
    return _sign(words, bits, high_bit, pixels.signed), bits


def _native_words(pixels: _Pixels, syntax: uid.UID) -> np.ndarray:
    """Returns the words of uncompressed pixel data, unsigned [H, W]."""
    data = pixels.data
    size = pixels.allocated // 8
    expected = pixels.height * pixels.width * size
    if len(data) < expected:
        raise ImageError(
            f"expected {expected} bytes of pixel data for {pixels.width}x{pixels.height} pixels "
            f"of {pixels.allocated} bits, found {len(data)}: truncated"
        )
    if data[:4] == b"\xfe\xff\x00\xe0" and len(data) > expected + 1:
        raise ImageError("expected plain pixel data, found compressed data declared as plain")
    big = syntax == uid.ExplicitVRBigEndian
    if big and size == 1 and pixels.vr == "OW":
        data = np.frombuffer(data[: len(data) // 2 * 2], np.uint16).byteswap().tobytes()
    if len(data) < expected:
        raise ImageError(f"expected {expected} bytes in words of two, found {len(data)}")
    values = np.frombuffer(data, f"{'>' if big else '<'}u{size}", pixels.height * pixels.width)
    return values.astype(f"u{size}", copy=False).reshape(pixels.height, pixels.width)


def _sign(words: np.ndarray, bits: int, high_bit: int, signed: bool) -> np.ndarray:
    """Drops the bits that are not part of the value (overlays, once), and extends its sign."""
    size = words.dtype.itemsize
    values = words.view(f"{'i' if signed else 'u'}{size}")
    if bits == 8 * size:
        return values
    return (values << (8 * size - 1 - high_bit)) >> (8 * size - bits)


def _pixel_aspect(dataset: Dataset) -> float:
    """Returns the height of a pixel over its width, 1 where the header does not say.

    Spacings that are absent or empty are passed over; one that cannot be is a damaged header.
    """
    found = [dicom_elements.spacing(dataset, keyword) for keyword in _SPACINGS]
    ratio = dicom_elements.numbers(dataset, "PixelAspectRatio", 2)
    if ratio is not None:
        dicom_elements.check_aspect(ratio[0], ratio[1], "PixelAspectRatio")
    vertical, horizontal = next((pair for pair in (*found, ratio) if pair), (1.0, 1.0))
    return vertical / horizontal
