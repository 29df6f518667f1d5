"""Reads a plain radiograph from a DICOM file (PS3.3 and PS3.5): one frame, one grey channel.

Whatever cannot be decoded in full, or is not a plain radiograph, is refused by name: half a picture
or a wrong grey scale would become a wrong diagnosis.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib

import gdcm
import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
import pydicom.encaps
import pydicom.errors
import pydicom.pixels
import pydicom.tag
import simplejpeg

from tffcxr.datasets import grey
from tffcxr.datasets.image_error import ImageError

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
_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG_LS_OR_2000 = (
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
)
_JPEG_2000 = b"\xff\x4f\xff\x51"  # Start of codestream, image and tile size.
_START_OF_FRAME = (0xC0, 0xC1, 0xC2, 0xC3, 0xF7)  # Baseline, extended, progressive, ..., JPEG-LS.
_LOSSLESS = 0xC3
_HUFFMAN_TABLES = 0xC4
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = b"\xff\xd9"  # Of JPEG and JPEG-LS, and end of codestream of JPEG 2000.
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
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(_TAGS))
        syntax = _transfer_syntax(dataset)
        _check_kind(dataset, data)
        stored, bits = _stored_values(dataset, syntax)
        return grey.to_grey(stored, bits, dataset), _pixel_aspect(dataset)
    except ImageError:
        raise
    except PARSING_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"expected a DICOM image that can be decoded, found: {reason[:200]}"
        ) from None


def _transfer_syntax(dataset: Dataset) -> uid.UID:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax:
        return syntax
    implicit, little = dataset.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _check_kind(dataset: Dataset, data: bytes) -> None:
    """Refuses everything that is not one frame of grey integers of 8 to 16 bits."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise ImageError("expected pixels of whole numbers, found floating-point pixel data")
    if not dataset.get("PixelData"):
        # pydicom drops a last element that has no end.
        cut = b"\xe0\x7f\x10\x00" in data or b"\x7f\xe0\x00\x10" in data
        raise ImageError(
            "expected complete pixel data, found a truncated file"
            if cut
            else "expected an image, found DICOM without pixel data"
        )
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


def _stored_values(dataset: Dataset, syntax: uid.UID) -> tuple[np.ndarray, int]:
    """Returns the stored values [H, W], signed as they are meant, and their bits of precision."""
    if syntax in _NATIVE:
        values = _native_words(dataset, syntax)
        return _sign(values, dataset.BitsStored, dataset.HighBit, dataset), dataset.BitsStored
    if syntax == uid.RLELossless:
        # With all bits declared as stored, pydicom leaves them as they are.
        values, _ = pydicom.pixels.get_decoder(syntax).as_array(
            dataset, raw=True, decoding_plugin="pydicom", bits_stored=dataset.BitsAllocated
        )
        return _sign(values, dataset.BitsStored, dataset.HighBit, dataset), dataset.BitsStored
    if syntax not in (*_JPEG, *_JPEG_LS_OR_2000):
        raise ImageError(f"expected a transfer syntax that is supported, found {syntax.name}")
    if dataset.HighBit != dataset.BitsStored - 1:
        raise ImageError(
            f"expected {dataset.BitsStored} compressed bits to end at bit {dataset.BitsStored - 1},"
            f" found {dataset.HighBit}"
        )
    frame = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    frame = frame.rstrip(b"\x00\xff")  # Fragments are padded to an even length.
    if not frame.endswith(_END_OF_IMAGE):
        raise ImageError(f"expected complete pixel data, found truncated {syntax.name}")
    header = _frame_header(frame)
    _check_frame(header, dataset)
    if syntax in _JPEG:
        return _decode_jpeg(frame, header, dataset)
    values, _ = pydicom.pixels.get_decoder(syntax).as_array(
        dataset, raw=True, decoding_plugin="gdcm"
    )
    return values, dataset.BitsStored


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


def _sign(values: np.ndarray, bits: int, high_bit: int, dataset: Dataset) -> np.ndarray:
    """Drops the bits that are not part of the value (overlays, once), and extends its sign."""
    size = values.dtype.itemsize
    values = values.view(f"{'i' if dataset.PixelRepresentation == 1 else 'u'}{size}")
    if bits == 8 * size:
        return values
    return (values << (8 * size - 1 - high_bit)) >> (8 * size - bits)


@dataclasses.dataclass(frozen=True)
class _FrameHeader:
    """What compressed data says of itself: precision in bits, size in pixels."""

    lossless_jpeg: bool
    precision: int
    height: int
    width: int
    channels: int


def _frame_header(frame: bytes) -> _FrameHeader:
    """Reads the SIZ segment of JPEG 2000, or the segments of JPEG and JPEG-LS up to the scan."""
    if frame.startswith(_JPEG_2000):
        right, bottom, left, top = struct.unpack_from(">4I", frame, 8)
        channels, depth = struct.unpack_from(">HB", frame, 40)
        return _FrameHeader(False, (depth & 0x7F) + 1, bottom - top, right - left, channels)
    header, tables = None, False
    position = 2
    while position + 10 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:  # A fill byte before a marker.
            position += 1
            continue
        if marker in _START_OF_FRAME:
            precision, height, width, channels = struct.unpack_from(">BHHB", frame, position + 4)
            header = _FrameHeader(marker == _LOSSLESS, precision, height, width, channels)
        tables |= marker == _HUFFMAN_TABLES
        # Without its tables GDCM would abort; the others have defaults.
        if marker == _START_OF_SCAN and header and (tables or not header.lossless_jpeg):
            return header
        position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    raise ImageError("expected intact headers of the compressed data, found damaged ones")


def _check_frame(header: _FrameHeader, dataset: Dataset) -> None:
    """Refuses compressed data that contradicts the DICOM header: it would also abort GDCM."""
    if header.channels != 1:
        raise ImageError(
            f"expected one grey channel, found compressed data of {header.channels} channels"
        )
    if (header.height, header.width) != (dataset.Rows, dataset.Columns):
        raise ImageError(
            f"expected {dataset.Columns}x{dataset.Rows} pixels as the header says, found "
            f"{header.width}x{header.height} in the compressed data"
        )
    if not 2 <= header.precision <= dataset.BitsAllocated:
        raise ImageError(
            f"expected compressed data of at most {dataset.BitsAllocated} bits, found "
            f"{header.precision}"
        )


def _decode_jpeg(frame: bytes, header: _FrameHeader, dataset: Dataset) -> tuple[np.ndarray, int]:
    if header.lossless_jpeg or header.precision == 12:
        values = _decode_by_gdcm(frame, header.precision, dataset)
    else:
        try:
            # Strict: libjpeg fills what is missing with grey and only warns.
            values = simplejpeg.decode_jpeg(frame, "GRAY", strict=True)[:, :, 0]
        except ValueError as error:
            raise ImageError(f"expected intact JPEG data, found: {error}") from None
    bits = min(header.precision, dataset.BitsStored)
    return _sign(values, bits, bits - 1, dataset), bits


def _decode_by_gdcm(frame: bytes, precision: int, dataset: Dataset) -> np.ndarray:
    """Decodes JPEG of 12 bits (which pydicom's plugin for GDCM leaves out) and lossless JPEG.

    At an early end of image GDCM's libjpeg fills the rest and only warns, but at an early end of
    the data it fails. So the end-of-image marker is replaced by a few zeros to read ahead into.
    """
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame[: -len(_END_OF_IMAGE)] + bytes(8))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    syntax = gdcm.TransferSyntax.GetTSType(str(dataset.file_meta.TransferSyntaxUID))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    size = 1 if precision <= 8 else 2
    image.SetPixelFormat(gdcm.PixelFormat(1, 8 * size, precision, precision - 1, 0))
    text = image.GetBuffer()  # Bytes as surrogate-escaped text, or None.
    pixels = b"" if text is None else text.encode("utf-8", "surrogateescape")
    if len(pixels) != size * dataset.Rows * dataset.Columns:
        raise ImageError("expected intact JPEG data, found data that is truncated or damaged")
    return np.frombuffer(pixels, f"<u{size}").reshape(dataset.Rows, dataset.Columns)


def _pixel_aspect(dataset: Dataset) -> float:
    """Returns the height of a pixel over its width, 1 where the header does not say."""
    for keyword in (*_SPACINGS, "PixelAspectRatio"):
        spacing = dataset.get(keyword)
        if spacing is not None and not isinstance(spacing, str) and len(spacing) == 2:
            vertical, horizontal = float(spacing[0]), float(spacing[1])
            if vertical > 0 and horizontal > 0:
                return vertical / horizontal
    return 1.0
