"""DICOM files whose headers or sizes no radiograph has: refused before memory is taken."""

from __future__ import annotations

import numpy as np
from pydicom import uid
import pydicom.config
import pydicom.encaps
import pytest

from tests.datasets import dicom_files
from tffcxr.datasets import limits
from tffcxr.datasets.imaging import dicom
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.sources import dicom_header


def _with_element(keyword, text):
    """Returns a file with an element whose text pydicom would not write."""
    tag = pydicom.datadict.tag_for_keyword(keyword)
    made = dicom_files.dataset(np.array([[1, 2]], np.uint8))
    made[tag] = pydicom.dataelem.DataElement(tag, "LO", text)
    vr = pydicom.datadict.dictionary_VR(keyword)
    data = dicom_files.to_bytes(made)
    name = tag.to_bytes(4, "big")
    name = name[1::-1] + name[:1:-1]  # Little-endian group and element.
    return data.replace(name + b"LO", name + vr.encode())


@pytest.mark.parametrize("keyword", dicom._SPACINGS)
@pytest.mark.parametrize(
    "text",
    [
        "1e-300\\1",
        "1\\1e-300",
        "1e300\\1",
        "inf\\inf",
        "nan\\nan",
        "0\\0",
        "-0.1\\-0.1",
        "20\\0.1",
        "0.1",
        "0.1\\0.1\\0.1",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_spacings_that_cannot_be_are_refused(keyword, text):
    with pytest.raises(ImageError, match="^expected .*Spacing.*, found .") as error:
        dicom.decode(_with_element(keyword, text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["0\\1", "-1\\-1", "200\\1", "2147483647\\1", "1"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_aspects_that_cannot_be_are_refused(text):
    with pytest.raises(ImageError, match="expected .*Pixel Aspect Ratio.*, found"):
        dicom.decode(_with_element("PixelAspectRatio", text))


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("RescaleSlope", "1e-300"),
        ("RescaleSlope", "inf"),
        ("RescaleIntercept", "nan"),
        ("WindowCenter", "1e300"),
        ("WindowWidth", "inf"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "error::RuntimeWarning")
def test_grey_scales_that_cannot_be_are_refused(keyword, text):
    with pytest.raises(ImageError, match="^expected .*, found"):
        dicom.decode(_with_element(keyword, text))


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEG2000, uid.RLELossless])
def test_more_pixels_than_any_detector_has_are_refused_before_they_are_decoded(syntax):
    made = dicom_files.dataset(np.zeros((2, 2), np.uint8), Rows=65535, Columns=65535)
    if syntax != uid.ExplicitVRLittleEndian:
        made = dicom_files.encapsulate(made, syntax, b"\0" * 100)
    with pytest.raises(ImageError, match="1 to 40000000 pixels, found 65535x65535"):
        dicom.decode(dicom_files.to_bytes(made))


def _deflated(size):
    """Returns a file of the deflated transfer syntax with so many bytes of pixel data."""
    made = dicom_files.dataset(np.zeros((2, 2), np.uint8), PatientID="1")
    made.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    made.PixelData = bytes(size)
    made["PixelData"].VR = "OB"
    return dicom_files.to_bytes(made)


def test_a_small_file_that_inflates_to_a_large_one_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "MAXIMUM_INFLATED_BYTES", 3 << 20)
    assert dicom.decode(_deflated(2 << 20))[0].shape == (2, 2)
    bomb = _deflated(32 << 20)
    assert len(bomb) < 1 << 16
    monkeypatch.setattr(pydicom, "dcmread", None)  # It would inflate all of it.
    with pytest.raises(ImageError, match="at most 3145728 bytes when it is inflated, found"):
        dicom.decode(bomb)
    (tmp_path / "a.dcm").write_bytes(bomb)
    assert dicom_header.read_headers([str(tmp_path / "a.dcm")], "made")[0].patient is None


def test_the_limit_of_inflation_holds_the_largest_image():
    assert limits.MAXIMUM_INFLATED_BYTES > 2 * limits.MAXIMUM_PIXELS
