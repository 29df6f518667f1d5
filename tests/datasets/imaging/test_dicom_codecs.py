"""Decompression by hand, and compressed data that contradicts itself."""

from __future__ import annotations

import struct

import gdcm
import numpy as np
from pydicom import uid
import pytest

from tests.datasets import dicom_files
from tffcxr.datasets.imaging import dicom, dicom_codecs
from tffcxr.datasets.imaging.image_error import ImageError

_LAYOUT_8 = dicom_codecs.Layout(height=2, width=3, bits_allocated=8)
_LAYOUT_16 = dicom_codecs.Layout(height=1, width=3, bits_allocated=16)


def _encapsulate(*fragments):
    items = [b"", *fragments]  # The offset table may be empty.
    return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item for item in items)


def _rle(*segments):
    offsets, position = [], 64
    for segment in segments:
        offsets.append(position)
        position += len(segment)
    header = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def _decode_rle(frame, layout):
    return dicom_codecs.decompress(_encapsulate(frame), uid.RLELossless, layout)


def test_rle_copies_and_repeats():
    # Copy 2 bytes; nothing (128); repeat 9 four times (257 - 253); a padding byte.
    words, bits = _decode_rle(_rle(b"\x01\x05\x06\x80\xfd\x09\x00"), _LAYOUT_8)
    assert words.tolist() == [[5, 6, 9], [9, 9, 9]]
    assert (words.dtype, bits) == (np.uint8, 8)


def test_rle_of_words_has_the_high_bytes_first():
    words, bits = _decode_rle(_rle(b"\x02\x01\x02\x03", b"\xfe\x10"), _LAYOUT_16)
    assert words.tolist() == [[0x110, 0x210, 0x310]]
    assert (words.dtype, bits) == (np.uint16, 16)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\x01\x00\x00\x00", "expected an RLE header"),
        (_rle(b"\x05\x01\x02\x03", b"\x05"), "expected 1 RLE segments, found 2"),
        (_rle(b"\x05\x01\x02\x03"), "expected 6 bytes of RLE data, found 3: truncated"),
        (_rle(b""), "found 0: truncated"),
    ],
)
def test_damaged_rle_is_refused(frame, reason):
    with pytest.raises(ImageError, match=reason):
        _decode_rle(frame, _LAYOUT_8)


def test_fragments_are_joined():
    frame = _rle(b"\x05\x01\x02\x03\x04\x05\x06")
    data = _encapsulate(frame[:40], frame[40:66], frame[66:])
    words, _ = dicom_codecs.decompress(data, uid.RLELossless, _LAYOUT_8)
    assert words.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_fragment_that_is_cut_and_data_without_fragments():
    data = _encapsulate(b"abcdef")
    with pytest.raises(ImageError, match="a truncated fragment"):
        dicom_codecs.decompress(data[:-2], uid.RLELossless, _LAYOUT_8)
    with pytest.raises(ImageError, match="found neither"):
        dicom_codecs.decompress(b"\1\2\3\4", uid.RLELossless, _LAYOUT_8)


@pytest.mark.parametrize(
    ("syntax", "old", "new", "reason"),
    [
        # Each of these makes GDCM itself end the program.
        (gdcm.TransferSyntax.JPEGLosslessProcess14_1, b"\xff\xc4", b"\x99\xc4", "intact headers"),
        (gdcm.TransferSyntax.JPEGLSLossless, b"\xff\xf7\0\x0b", b"\xff\xf7\0\x0b\x69", "found 105"),
        (gdcm.TransferSyntax.JPEG2000Lossless, b"\0\x01\x0f\x01\x01", b"\0\x01\xd8\x01\x01", "89"),
    ],
)
def test_headers_that_cannot_be_are_refused_before_gdcm_sees_them(
    syntax, old, new, reason, tmp_path
):
    pixels = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40) * 30
    packed = dicom_files.transcode(
        dicom_files.to_bytes(dicom_files.dataset(pixels)), syntax, tmp_path
    )
    start = packed.index(old, packed.index(b"\xe0\x7f\x10\x00"))
    damaged = packed[:start] + new + packed[start + len(new) :]
    assert len(damaged) == len(packed)
    dicom.decode(packed)
    with pytest.raises(ImageError, match=reason):
        dicom.decode(damaged)


def test_other_codestream_than_the_transfer_syntax_says():
    pixels = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40)
    made = dicom_files.dataset(pixels)
    codestream = b"\xff\x4f\xff\x51" + struct.pack(
        ">HHIIIIIIIIHBBB", 41, 0, 40, 48, 0, 0, 40, 48, 0, 0, 1, 15, 1, 1
    )
    made = dicom_files.encapsulate(made, uid.JPEGBaseline8Bit, codestream + b"\xff\xd9")
    with pytest.raises(ImageError, match="expected JPEG Baseline .* found other compressed data"):
        dicom.decode(dicom_files.to_bytes(made))
