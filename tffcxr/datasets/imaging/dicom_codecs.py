"""Decompresses DICOM pixel data (PS3.5, annexes A.4 and G): one frame of one grey channel.

JPEG of 8 bits is decoded by libjpeg-turbo (simplejpeg), RLE here, everything else by GDCM.
Incomplete data are rejected: decoders tend to fill missing parts silently.
"""

from __future__ import annotations

import dataclasses
import struct

import gdcm
import numpy as np
from pydicom import uid
import simplejpeg

from tffcxr.datasets.imaging.image_error import ImageError

# pydicom 2 gives the name JPEGLossless to another syntax than pydicom 3.
_JPEG_LOSSLESS = uid.UID("1.2.840.10008.1.2.4.57")
_GDCM_SYNTAXES = {
    uid.JPEGExtended12Bit: gdcm.TransferSyntax.JPEGExtendedProcess2_4,
    _JPEG_LOSSLESS: gdcm.TransferSyntax.JPEGLosslessProcess14,
    uid.JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    uid.JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
    uid.JPEGLSNearLossless: gdcm.TransferSyntax.JPEGLSNearLossless,
    uid.JPEG2000Lossless: gdcm.TransferSyntax.JPEG2000Lossless,
    uid.JPEG2000: gdcm.TransferSyntax.JPEG2000,
}
SYNTAXES = (uid.RLELossless, uid.JPEGBaseline8Bit, *_GDCM_SYNTAXES)

_ITEM = b"\xfe\xff\x00\xe0"
_JPEG_2000 = b"\xff\x4f\xff\x51"  # Start of codestream, image and tile size.
_JPEG_2000_HEADER = 43  # Bytes up to the precision of the first channel.
_END_OF_IMAGE = b"\xff\xd9"  # Of JPEG and JPEG-LS, and end of codestream of JPEG 2000.
_START_OF_FRAME = (0xC0, 0xC1, 0xC2, 0xC3, 0xF7)  # Baseline, extended, progressive, ..., JPEG-LS.
_LOSSLESS = 0xC3
_HUFFMAN_TABLES = 0xC4
_START_OF_SCAN = 0xDA


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the DICOM header says of the pixels.

    Attributes:
      height: rows.
      width: columns.
      bits_allocated: 8 or 16.
    """

    height: int
    width: int
    bits_allocated: int


@dataclasses.dataclass(frozen=True)
class _FrameHeader:
    """The header of compressed data."""

    precision: int  # Bits.
    height: int
    width: int
    channels: int
    signed: bool = False
    huffman: bool = False  # JPEG, as opposed to JPEG-LS and JPEG 2000.
    lossless: bool = False  # Lossless JPEG.


def decompress(data: bytes, syntax: uid.UID, layout: Layout) -> tuple[np.ndarray, int]:
    """Decodes encapsulated pixel data of one frame.

    Args:
      data: the value of the element Pixel Data.
      syntax: one of `SYNTAXES`.
      layout: what the header says.

    Returns:
      The words, unsigned [H, W], whose lower bits are the values, and how many bits those are. For
      RLE they are all bits allocated.

    Raises:
      ImageError: the data are truncated, damaged or contradict the layout.
    """
    frame = _join_fragments(data)
    if syntax == uid.RLELossless:
        return _decode_rle(frame, layout), layout.bits_allocated
    frame = frame.rstrip(b"\x00\xff")  # Fragments are padded to an even length.
    if not frame.endswith(_END_OF_IMAGE):
        raise ImageError(f"expected complete pixel data, found truncated {syntax.name}")
    header = _read_header(frame)
    _check_header(header, layout)
    if header.huffman and header.precision == 8 and not header.lossless:
        try:
            # Strict: libjpeg fills what is missing with grey and only warns.
            return simplejpeg.decode_jpeg(frame, "GRAY")[:, :, 0], 8
        except ValueError as error:
            raise ImageError(f"expected intact JPEG data, found: {error}") from None
    return _decode_by_gdcm(frame, header, syntax), header.precision


def _join_fragments(data: bytes) -> bytes:
    """Returns the one frame whose fragments follow the offset table (PS3.5, table A.4-1)."""
    fragments = []
    position = 0
    while data[position : position + 4] == _ITEM and position + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, position + 4)
        position += 8 + length
        if position > len(data):
            raise ImageError("expected complete pixel data, found a truncated fragment")
        fragments.append(data[position - length : position])
    if len(fragments) < 2:
        raise ImageError("expected an offset table and compressed data, found neither")
    return b"".join(fragments[1:])


def _read_header(frame: bytes) -> _FrameHeader:
    """Reads the SIZ segment of JPEG 2000, or the segments of JPEG and JPEG-LS up to the scan."""
    if frame.startswith(_JPEG_2000) and len(frame) >= _JPEG_2000_HEADER:
        right, bottom, left, top = struct.unpack_from(">4I", frame, 8)
        channels, depth = struct.unpack_from(">HB", frame, 40)
        precision = (depth & 0x7F) + 1
        return _FrameHeader(precision, bottom - top, right - left, channels, depth >= 0x80)
    header, tables = None, False
    position = 2
    while position + 10 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:  # A fill byte before a marker.
            position += 1
            continue
        if marker in _START_OF_FRAME:
            precision, height, width, channels = struct.unpack_from(">BHHB", frame, position + 4)
            header = _FrameHeader(
                precision,
                height,
                width,
                channels,
                huffman=marker != _START_OF_FRAME[-1],
                lossless=marker == _LOSSLESS,
            )
        tables |= marker == _HUFFMAN_TABLES
        # Without its tables GDCM would abort; the others have defaults.
        if marker == _START_OF_SCAN and header and (tables or not header.lossless):
            return header
        position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    raise ImageError("expected intact headers of the compressed data, found damaged ones")


def _check_header(header: _FrameHeader, layout: Layout) -> None:
    """Rejects compressed data that contradicts the DICOM header: it would also abort GDCM."""
    if header.channels != 1:
        raise ImageError(
            f"expected one grey channel, found compressed data of {header.channels} channels"
        )
    if (header.height, header.width) != (layout.height, layout.width):
        raise ImageError(
            f"expected {layout.width}x{layout.height} pixels as the header says, found "
            f"{header.width}x{header.height} in the compressed data"
        )
    if not 2 <= header.precision <= layout.bits_allocated:
        raise ImageError(
            f"expected compressed data of at most {layout.bits_allocated} bits, found "
            f"{header.precision}"
        )


def _decode_by_gdcm(frame: bytes, header: _FrameHeader, syntax: uid.UID) -> np.ndarray:
    if syntax not in _GDCM_SYNTAXES:
        raise ImageError(f"expected {syntax.name}, found other compressed data")
    if header.huffman:
        # At an early end of image GDCM's libjpeg fills the rest and only warns, but at an early end
        # of the data it fails. So a few zeros to read ahead into stand in for the marker.
        frame = frame[: -len(_END_OF_IMAGE)] + bytes(8)
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header.width, header.height, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(_GDCM_SYNTAXES[syntax]))
    size = 1 if header.precision <= 8 else 2
    image.SetPixelFormat(
        gdcm.PixelFormat(1, 8 * size, header.precision, header.precision - 1, int(header.signed))
    )
    text = image.GetBuffer()  # Bytes as surrogate-escaped text, or None.
    pixels = b"" if text is None else text.encode("utf-8", "surrogateescape")
    if len(pixels) != size * header.height * header.width:
        raise ImageError(f"expected intact {syntax.name} data, found truncated or damaged data")
    return np.frombuffer(pixels, f"<u{size}").reshape(header.height, header.width)


def _decode_rle(frame: bytes, layout: Layout) -> np.ndarray:
    """Decodes RLE: one segment of packed bits per byte of a word, the highest byte first."""
    size = layout.bits_allocated // 8
    if len(frame) < 64:
        raise ImageError("expected an RLE header, found truncated data")
    count, *offsets = struct.unpack_from("<16I", frame)
    if count != size:
        raise ImageError(f"expected {size} RLE segments, found {count}")
    pixels = layout.height * layout.width
    words = np.zeros(pixels, f"u{size}")
    ends = [*offsets[1:count], len(frame)]
    for start, end in zip(offsets, ends):
        words = (words << (8 * (size - 1))) | np.frombuffer(
            _unpack_bits(frame[start:end], pixels), np.uint8
        )
    return words.astype(f"u{size}").reshape(layout.height, layout.width)


def _unpack_bits(segment: bytes, expected: int) -> bytes:
    """Decodes PackBits: n < 128 copies n + 1 bytes, n > 128 repeats the next one 257 - n times."""
    unpacked = bytearray()
    position = 0
    while len(unpacked) < expected and position + 1 < len(segment):
        control = segment[position]
        if control < 128:
            unpacked += segment[position + 1 : position + 2 + control]
            position += 2 + control
        elif control > 128:
            unpacked += segment[position + 1 : position + 2] * (257 - control)
            position += 2
        else:
            position += 1
    if len(unpacked) < expected:
        raise ImageError(f"expected {expected} bytes of RLE data, found {len(unpacked)}: truncated")
    return bytes(unpacked[:expected])
