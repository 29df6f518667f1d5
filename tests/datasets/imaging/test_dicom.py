"""DICOM decoding, against known pixels, other decoders, and damaged files."""

from __future__ import annotations

import pathlib

import gdcm
import numpy as np
from pydicom import data as pydicom_data
from pydicom import uid
import pydicom.config
import pydicom.encaps
import pytest
import simplejpeg

from tests.datasets import dicom_files
from tffcxr.datasets.imaging import dicom, dicom_codecs, dicom_elements
from tffcxr.datasets.imaging.image_error import ImageError

_RNG = np.random.default_rng(7)
_SMOOTH = np.add.outer(np.arange(40), np.arange(52)) * 2  # 0 to 180.


def _test_file(name):
    """Returns a file that comes with pydicom; nothing is downloaded."""
    path = pydicom_data.get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} does not come with pydicom {pydicom.__version__}")
    return pathlib.Path(path).read_bytes()


def _stored(data):
    """Returns the stored values as `dicom` reads them, before they become grey."""
    return dicom._read(dicom_elements.parse(data, dicom._KEYWORDS), data)[0]


def _jpeg(pixels):
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels[:, :, np.newaxis]), 95, "GRAY", colorsubsampling="Gray"
    )


def _jpeg_file(pixels, **elements):
    made = dicom_files.dataset(pixels, **elements)
    return dicom_files.to_bytes(dicom_files.encapsulate(made, uid.JPEGBaseline8Bit, _jpeg(pixels)))


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_padded.dcm",
        "JPEG2000.dcm",
        "JPEGLSNearLossless_08.dcm",
        "JPEGLSNearLossless_16.dcm",
        "693_J2KI.dcm",
        "J2K_pixelrep_mismatch.dcm",
        "image_dfl.dcm",
        "examples_overlay.dcm",
    ],
)
def test_stored_values_are_those_of_pydicom(name):
    data = _test_file(name)
    theirs = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data)).pixel_array
    np.testing.assert_array_equal(_stored(data), theirs)


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_padded.dcm",
    ],
)
def test_one_image_in_many_transfer_syntaxes_is_one_image(name):
    expected, _ = dicom.decode(_test_file("MR_small.dcm"))
    found, aspect = dicom.decode(_test_file(name))
    np.testing.assert_array_equal(found, expected)
    assert aspect == 1.0


def test_jpeg2000_agrees_with_pillow():
    made = pydicom.dcmread(pydicom_data.get_testdata_file("693_J2KI.dcm", download=False))
    decoder = pytest.importorskip("pydicom.pixels").get_decoder(uid.JPEG2000)
    theirs, _ = decoder.as_array(made, decoding_plugin="pillow")
    np.testing.assert_array_equal(_stored(_test_file("693_J2KI.dcm")), theirs)


def test_jpeg_extended_of_12_bits():
    extended = _stored(_test_file("JPGExtended.dcm")).astype(int)
    assert extended.shape == (1024, 256)
    assert extended.max() == 264  # As libjpeg has it.
    # The same picture, compressed differently: both are lossy.
    sibling = _stored(_test_file("JPEG2000.dcm")).astype(int)
    assert np.corrcoef(extended.ravel(), sibling.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    "syntax",
    [
        gdcm.TransferSyntax.JPEGLosslessProcess14,
        gdcm.TransferSyntax.JPEGLosslessProcess14_1,
        gdcm.TransferSyntax.JPEGLSLossless,
        gdcm.TransferSyntax.JPEG2000Lossless,
        gdcm.TransferSyntax.RLELossless,
    ],
)
@pytest.mark.parametrize(
    ("dtype", "bits"), [("u1", 8), ("u2", 10), ("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16)]
)
def test_lossless_compression_loses_nothing(syntax, dtype, bits, tmp_path):
    low = -(1 << (bits - 1)) if dtype == "i2" else 0
    pixels = _RNG.integers(low, low + (1 << bits), (24, 31)).astype(dtype)
    plain = dicom_files.to_bytes(dicom_files.dataset(pixels, bits))
    packed = dicom_files.transcode(plain, syntax, tmp_path)
    assert pydicom.dcmread(tmp_path / "target.dcm").file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(_stored(plain), pixels)
    np.testing.assert_array_equal(_stored(packed), pixels)
    theirs = pydicom.dcmread(tmp_path / "target.dcm").pixel_array
    np.testing.assert_array_equal(theirs, pixels)


def test_jpeg_baseline_is_close_to_what_was_compressed():
    pixels = _SMOOTH.astype(np.uint8)
    grey, _ = dicom.decode(_jpeg_file(pixels))
    assert np.abs(grey.astype(int) - pixels).max() <= 3


def test_jpeg_baseline_agrees_with_pydicom():
    data = _jpeg_file(_RNG.integers(0, 256, (33, 47)).astype(np.uint8))
    made = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    decoder = pytest.importorskip("pydicom.pixels").get_decoder(uid.JPEGBaseline8Bit)
    theirs, _ = decoder.as_array(made, decoding_plugin="pillow")
    assert np.abs(_stored(data).astype(int) - theirs).max() <= 1


def test_frame_in_several_fragments():
    pixels = _SMOOTH.astype(np.uint8)
    frame = _jpeg(pixels)
    made = dicom_files.dataset(pixels)
    made.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    made.PixelData = pydicom.encaps.encapsulate([frame], fragments_per_frame=3)
    made["PixelData"].VR = "OB"
    expected, _ = dicom.decode(_jpeg_file(pixels))
    found, _ = dicom.decode(dicom_files.to_bytes(made))
    np.testing.assert_array_equal(found, expected)


def test_bits_that_are_not_part_of_the_value_are_dropped():
    # 12 bits stored, an overlay in bit 15.
    pixels = np.array([[5, 5 | 0x8000, 4095]], np.uint16)
    assert _stored(dicom_files.to_bytes(dicom_files.dataset(pixels, 12))).tolist() == [[5, 5, 4095]]


def test_sign_of_12_bits_is_extended():
    pixels = np.array([[0x0FFF, 0x0800, 0x07FF]], np.uint16)
    made = dicom_files.dataset(pixels, 12, PixelRepresentation=1)
    assert _stored(dicom_files.to_bytes(made)).tolist() == [[-1, -2048, 2047]]


def test_values_in_the_upper_bits_are_shifted_down():
    pixels = np.array([[0x0FFF << 4, 1 << 4]], np.uint16)
    made = dicom_files.dataset(pixels, 12, HighBit=15)
    assert _stored(dicom_files.to_bytes(made)).tolist() == [[4095, 1]]


def test_odd_number_of_bytes():
    pixels = np.array([[1, 2, 3]], np.uint8)
    assert dicom.decode(dicom_files.to_bytes(dicom_files.dataset(pixels)))[0].tolist() == [
        [1, 2, 3]
    ]


def test_file_without_preamble_and_meta_information():
    pixels = np.array([[1, 2], [3, 4]], np.uint8)
    made = dicom_files.dataset(pixels)
    buffer = pydicom.filebase.DicomBytesIO()
    pydicom.filewriter.write_dataset(_little(buffer), made)
    data = buffer.getvalue()
    assert dicom.is_dicom(data)
    assert dicom.decode(data)[0].tolist() == [[1, 2], [3, 4]]


def _little(buffer):
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    return buffer


@pytest.mark.parametrize(
    ("elements", "aspect"),
    [
        ({}, 1.0),
        ({"PixelSpacing": [0.3, 0.15]}, 2.0),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, 0.5),
        ({"PixelAspectRatio": [3, 4]}, 0.75),
        ({"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [3, 4]}, 1.0),
        ({"PixelSpacing": None}, 1.0),
    ],
)
def test_pixel_aspect(elements, aspect):
    made = dicom_files.dataset(np.array([[1, 2]], np.uint8), **elements)
    assert dicom.decode(dicom_files.to_bytes(made))[1] == pytest.approx(aspect)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", "colour image .YBR_FULL, 3"),
        ("examples_palette.dcm", "colour image .PALETTE COLOR"),
        ("SC_rgb_rle_2frame.dcm", "multi-frame image of 2 frames"),
        ("liver_1frame.dcm", "enhanced"),
        ("rtdose_1frame.dcm", "8 or 16 bits allocated per pixel, found 32"),
        ("rtplan.dcm", "DICOM without pixel data"),
        ("MR_truncated.dcm", "expected 8192 bytes .* found 8130: truncated"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "found .* in the compressed data"),
    ],
)
def test_files_that_are_no_plain_radiograph_are_refused_by_name(name, reason):
    with pytest.raises(ImageError, match=reason):
        dicom.decode(_test_file(name))


def test_multi_frame_grey_is_refused():
    made = dicom_files.dataset(np.zeros((2, 4), np.uint8), NumberOfFrames=4)
    with pytest.raises(ImageError, match="multi-frame image of 4 frames"):
        dicom.decode(dicom_files.to_bytes(made))


def test_floating_point_pixels_are_refused():
    made = dicom_files.dataset(np.zeros((2, 2), np.uint8))
    del made.PixelData
    made.add_new("FloatPixelData", "OF", b"\0" * 16)
    with pytest.raises(ImageError, match="floating-point"):
        dicom.decode(dicom_files.to_bytes(made))


def test_unsupported_transfer_syntax_is_refused_by_name():
    made = dicom_files.encapsulate(
        dicom_files.dataset(np.zeros((2, 2), np.uint8)), uid.MPEG2MPML, b"\0\0\0\0"
    )
    with pytest.raises(ImageError, match="found MPEG2"):
        dicom.decode(dicom_files.to_bytes(made))


def test_compressed_data_declared_as_plain_is_refused():
    made = dicom_files.encapsulate(
        dicom_files.dataset(np.zeros((4, 4), np.uint8)),
        uid.JPEGBaseline8Bit,
        _jpeg(np.zeros((4, 4), np.uint8)),
    )
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    with pytest.raises(ImageError, match="compressed data declared as plain"):
        dicom.decode(dicom_files.to_bytes(made))


def test_size_that_differs_from_the_header_is_refused():
    made = dicom_files.dataset(np.zeros((40, 40), np.uint8))
    made = dicom_files.encapsulate(made, uid.JPEGBaseline8Bit, _jpeg(np.zeros((40, 41), np.uint8)))
    with pytest.raises(ImageError, match="expected 40x40 pixels .* found 41x40"):
        dicom.decode(dicom_files.to_bytes(made))


@pytest.mark.parametrize("bits", [{"BitsStored": 12}, {"HighBit": 8}, {"HighBit": 6}])
def test_contradicting_bits_are_refused(bits):
    made = dicom_files.dataset(np.zeros((2, 2), np.uint8), **bits)
    with pytest.raises(ImageError, match="stored bits within the 8 allocated"):
        dicom.decode(dicom_files.to_bytes(made))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_truncated_file_is_refused(share, tmp_path):
    pixels = _RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    plain = dicom_files.to_bytes(dicom_files.dataset(pixels))
    packed = [
        dicom_files.transcode(plain, syntax, tmp_path)
        for syntax in (
            gdcm.TransferSyntax.JPEGLosslessProcess14_1,
            gdcm.TransferSyntax.JPEGLSLossless,
            gdcm.TransferSyntax.JPEG2000Lossless,
            gdcm.TransferSyntax.RLELossless,
            gdcm.TransferSyntax.DeflatedExplicitVRLittleEndian,
        )
    ]
    for data in [plain, _jpeg_file(pixels), *packed]:
        start = data.index(b"\xe0\x7f\x10\x00") if b"\xe0\x7f\x10\x00" in data else 600
        cut = start + int((len(data) - start) * share)
        with pytest.raises(ImageError):
            dicom.decode(data[:cut])


@pytest.mark.parametrize("ending", [b"", b"\xff\xd9"])
def test_truncated_frame_in_a_complete_file_is_refused(ending, tmp_path):
    """Also where something has put an end-of-image marker after what is left."""
    pixels = _RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    plain = dicom_files.to_bytes(dicom_files.dataset(pixels))
    files = [_jpeg_file(pixels), _test_file("JPGExtended.dcm")]
    files += [
        dicom_files.transcode(plain, syntax, tmp_path)
        for syntax in (
            gdcm.TransferSyntax.JPEGLosslessProcess14_1,
            gdcm.TransferSyntax.JPEGLSLossless,
            gdcm.TransferSyntax.JPEG2000Lossless,
            gdcm.TransferSyntax.RLELossless,
        )
    ]
    for data in files:
        made = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
        frame = dicom_codecs._join_fragments(made.PixelData)
        made.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2] + ending])
        with pytest.raises(ImageError):
            dicom.decode(dicom_files.to_bytes(made))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_are_refused_or_decoded_but_nothing_else(tmp_path):
    """Random damage anywhere never raises anything but ImageError."""
    pixels = _RNG.integers(0, 4096, (16, 16)).astype(np.uint16)
    made = dicom_files.dataset(pixels, 12, WindowCenter=[2000, 1], WindowWidth=[4000, 2])
    made.VOILUTSequence = [dicom_files.lut(0, 12, list(range(4096)))]
    plain = dicom_files.to_bytes(made)
    packed = dicom_files.transcode(plain, gdcm.TransferSyntax.RLELossless, tmp_path)
    outcomes = set()
    for data in (plain, packed, _jpeg_file(_SMOOTH.astype(np.uint8))):
        for _ in range(150):
            damaged = bytearray(data)
            for position in _RNG.integers(132, min(len(data), 1200), 3):
                damaged[position] = _RNG.integers(0, 256)
            try:
                grey, _ = dicom.decode(bytes(damaged))
                assert grey.dtype == np.uint8
                assert grey.ndim == 2
                outcomes.add("decoded")
            except ImageError:
                outcomes.add("refused")
    assert outcomes == {"decoded", "refused"}
