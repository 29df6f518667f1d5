"""The grey scale of DICOM, against values worked out by hand and against pydicom."""

from __future__ import annotations

import io

import numpy as np
import pydicom
from pydicom.pixel_data_handlers import util
import pytest

from tests.datasets import dicom_files
from tffcxr.datasets.imaging import grey
from tffcxr.datasets.imaging.image_error import ImageError


def _grey(values, dtype="uint16", bits=None, **elements):
    pixels = np.array([values], dtype)
    made = dicom_files.dataset(pixels, bits, **elements)
    read = pydicom.dcmread(io.BytesIO(dicom_files.to_bytes(made)))
    return grey.to_grey(pixels, read.BitsStored, read)[0].tolist()


def test_eight_bits_without_window_are_kept():
    assert _grey([10, 100, 200], "uint8") == [10, 100, 200]


def test_fewer_than_eight_bits_fill_the_range():
    assert _grey([0, 1, 63], "uint8", bits=6) == [0, 4, 255]


def test_deep_image_without_window_is_stretched_from_minimum_to_maximum():
    # 2000 is the middle of 1000 to 3000: 127.5 rounds to even.
    assert _grey([1000, 2000, 3000]) == [0, 128, 255]


def test_signed_image_is_stretched():
    assert _grey([-1000, 0, 1000], "int16") == [0, 128, 255]


def test_rescaled_eight_bit_image_is_stretched():
    assert _grey([50, 100], "uint8", RescaleSlope=2, RescaleIntercept=-7) == [0, 255]


def test_negative_slope_turns_the_scale_around():
    assert _grey([0, 50, 100], RescaleSlope=-1, RescaleIntercept=0) == [255, 128, 0]


def test_window_applies_to_rescaled_values():
    # Values -1024, 0, 51, 1023; LINEAR from 0 to 100 around 50.5 with a width of 101.
    elements = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    found = _grey(
        [0, 1024, 1075, 2047], WindowCenter=50.5, WindowWidth=101, VOILUTFunction="LINEAR",
        **elements,
    )  # fmt: skip
    assert found == [0, 0, round(51 / 100 * 255), 255]


def test_first_of_several_windows_is_used():
    assert _grey([0, 100, 200], WindowCenter=[100.5, 5], WindowWidth=[201, 9]) == [0, 128, 255]


def test_empty_window_is_no_window():
    assert _grey([1000, 3000], WindowCenter=None, WindowWidth=None) == [0, 255]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # PS3.3 C.11.2.1.2.1 with center 2048 and width 4096.
        ("LINEAR", [0.0, (1 - 2047.5) / 4095 + 0.5, (2048 - 2047.5) / 4095 + 0.5, 1.0]),
        ("LINEAR_EXACT", [0.0, 1 / 4096, 0.5, 4095 / 4096]),
        ("SIGMOID", [1 / (1 + np.e**2), 1 / (1 + np.exp(4 * 2047 / 4096)), 0.5, None]),
    ],
)
def test_window_formulas(function, expected):
    found = grey.window(np.array([0.0, 1.0, 2048.0, 4095.0]), 2048, 4096, function)
    for value, wanted in zip(found, expected):
        if wanted is not None:
            assert value == pytest.approx(wanted, abs=1e-12)


def test_window_of_width_one_is_a_threshold():
    assert grey.window(np.array([4.0, 5.0, 6.0]), 5.5, 1, "LINEAR").tolist() == [0, 0, 1]


def test_steep_sigmoid_does_not_overflow():
    with np.errstate(over="raise"):
        found = grey.window(np.array([-1e6, 1e6]), 0, 1e-3, "SIGMOID")
    np.testing.assert_allclose(found, [0, 1], atol=1e-12)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT"])
def test_beyond_a_window_are_black_and_white(function):
    found = grey.window(np.array([-600.0, -37.0, -3.0, 600.0]), -20, 33, function)
    assert found.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(("center", "width"), [(5, 0), (5, -3), (5, 0.5)])
def test_impossible_window_is_refused(center, width):
    with pytest.raises(ImageError, match="width of at least 1"):
        _grey([0, 9], WindowCenter=center, WindowWidth=width)


def test_unknown_voi_function_is_refused():
    with pytest.raises(ImageError, match="SIGMOID, found 'CUBIC'"):
        _grey([0, 9], WindowCenter=5, WindowWidth=9, VOILUTFunction="CUBIC")


def test_voi_lut_wins_over_window_and_keeps_its_ends():
    # Entries for 2, 3, 4; below and above the ends count. 12 bits: 4095 is white.
    item = dicom_files.lut(2, 12, [0, 4095, 2048])
    found = _grey([0, 2, 3, 4, 9], VOILUTSequence=[item], WindowCenter=1, WindowWidth=2)
    assert found == [0, 0, 255, 128, 128]


def test_voi_lut_of_signed_values_starts_below_zero():
    item = dicom_files.lut(-2, 8, [0, 51, 255])
    assert _grey([-2, -1, 0], "int16", VOILUTSequence=[item]) == [0, 51, 255]


def test_voi_lut_of_bytes_two_to_a_word():
    item = dicom_files.lut(0, 8, bytes([0, 7, 255, 9]), entries=4)
    assert _grey([0, 1, 2, 3], VOILUTSequence=[item]) == [0, 7, 255, 9]


def test_voi_lut_agrees_with_pydicom():
    values = np.arange(0, 300, 3, dtype=np.uint16)
    entries = np.rint(np.linspace(0, 1, 200) ** 2 * 1023).astype(int).tolist()
    made = dicom_files.dataset(
        values[np.newaxis], VOILUTSequence=[dicom_files.lut(50, 10, entries)]
    )
    theirs = util.apply_voi(values, made)
    found = _grey(values, VOILUTSequence=[dicom_files.lut(50, 10, entries)])
    assert found == np.rint(theirs / 1023 * 255).astype(int).tolist()


def test_voi_lut_of_bytes_with_more_entries_than_a_byte_counts():
    # Entry 4000 is 250. Rescaled, 1 and 30000 are the values 4000.5 (the even 4000) and 120000.
    item = dicom_files.lut(0, 8, [index // 16 for index in range(4096)])
    assert _grey([4000, 4095], VOILUTSequence=[item]) == [250, 255]
    found = _grey([1, 30000], VOILUTSequence=[item], RescaleSlope=4, RescaleIntercept=3996.5)
    assert found == [250, 255]


def test_modality_lut_comes_before_the_window():
    item = dicom_files.lut(0, 16, [500, 100, 300])
    found = _grey([0, 1, 2], ModalityLUTSequence=[item], WindowCenter=300.5, WindowWidth=401)
    assert found == [255, 0, 128]


def test_short_lut_is_refused():
    with pytest.raises(ImageError, match="lookup table of 9 entries, found 3"):
        _grey([0, 1], VOILUTSequence=[dicom_files.lut(0, 12, [0, 1, 2], entries=9)])


def test_monochrome1_is_inverted():
    assert _grey([0, 100, 255], "uint8", PhotometricInterpretation="MONOCHROME1") == [255, 155, 0]


def test_monochrome1_is_inverted_after_the_window():
    found = _grey(
        [0, 50, 100, 900], PhotometricInterpretation="MONOCHROME1", WindowCenter=50.5,
        WindowWidth=101,
    )  # fmt: skip
    assert found == [255, 128, 0, 0]


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_stretch(kind):
    found = _grey([1000, 2000, 65000], PhotometricInterpretation=kind, PixelPaddingValue=65000)
    assert found == ([0, 255, 0] if kind == "MONOCHROME2" else [255, 0, 0])


def test_padding_range_and_sign():
    # -2000 written as unsigned 63536, and everything up to -1990.
    made = dicom_files.dataset(np.array([[-2000, -1995, 0, 10]], np.int16))
    made.add_new("PixelPaddingValue", "US", 63536)
    made.add_new("PixelPaddingRangeLimit", "SS", -1990)
    assert grey.to_grey(made.pixel_array, 16, made)[0].tolist() == [0, 0, 0, 255]
    made.add_new("PixelPaddingRangeLimit", "SS", -1996)
    assert grey.to_grey(made.pixel_array, 16, made)[0].tolist() == [0, 0, 254, 255]


def test_nothing_but_padding_is_refused():
    with pytest.raises(ImageError, match="padding only"):
        _grey([7, 7], PixelPaddingValue=7)


def test_one_value_without_window_is_refused():
    with pytest.raises(ImageError, match="the value 7 in every pixel"):
        _grey([7, 7, 7])


def test_one_value_with_window_has_a_grey():
    assert _grey([7, 7], WindowCenter=7.5, WindowWidth=15) == [128, 128]


def test_slope_of_zero_is_refused():
    with pytest.raises(ImageError, match="slope other than 0"):
        _grey([1, 2], RescaleSlope=0, RescaleIntercept=1)
