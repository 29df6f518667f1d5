"""Images of another kind are refused, and odd ones marked, by what their headers say."""

import numpy as np
import pytest

from tests.datasets import dicom_files
from tffcxr.errors import InputError
from tffcxr.prediction import image_checks, reading
from tffcxr.prediction.image_checks import Expected

EXPECTED = Expected(("CR", "DX"), (), 32)
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 20), dtype=np.uint8)


def _file(folder, **elements):
    path = folder / "image.dcm"
    path.write_bytes(dicom_files.to_bytes(dicom_files.dataset(PIXELS, **elements)))
    return str(path)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Modality": "CT"}, "expected the modality CR or DX, found CT"),
        ({"Modality": "MR", "BodyPartExamined": "CHEST"}, "found MR"),
        ({"Modality": "MG", "BodyPartExamined": "BREAST"}, "found MG"),
        ({"Modality": "DX", "BodyPartExamined": "KNEE"}, "expected a chest .*, found KNEE"),
        ({"Modality": "CR", "BodyPartExamined": "ABDOMEN"}, "found ABDOMEN"),
    ],
)
def test_others_are_refused(tmp_path, elements, message):
    path = _file(tmp_path, **elements)
    read = reading.read(path, reading.Reading(EXPECTED, "pad"))
    assert (read.status, read.square) == ("refused", None)
    assert read.error.startswith(f"{path}: expected")
    with pytest.raises(InputError, match=message):
        raise InputError(read.error)


def test_others_are_marked_if_they_are_allowed(tmp_path):
    path = _file(tmp_path, Modality="CT")
    read = reading.read(path, reading.Reading(EXPECTED, "pad", allow_others=True))
    assert read.status == "ok" and read.square is not None and read.square.shape == (32, 32, 1)
    assert read.warnings == ("expected the modality CR or DX, found CT",)


@pytest.mark.parametrize(
    ("elements", "warning"),
    [
        ({"Modality": "CR", "BodyPartExamined": "CHEST", "ViewPosition": "PA"}, None),
        ({"Modality": "DX", "BodyPartExamined": "THORAX PA"}, None),
        ({"Modality": "CR", "PatientOrientation": ["L", "F"]}, None),
        ({}, "no modality"),
        ({"Modality": "OT"}, "OT modality"),
        ({"Modality": "CR", "ViewPosition": "LL"}, "not frontal"),
        ({"Modality": "CR", "ViewPosition": "LATERAL"}, "not frontal"),
        ({"Modality": "CR", "PatientOrientation": ["A", "F"]}, "not frontal"),
        ({"Modality": "DX", "PresentationIntentType": "FOR PROCESSING"}, "raw pixels"),
        ({"Modality": "DX", "PresentationLUTShape": "INVERSE"}, "grey may be inverted"),
        ({"Modality": "DX", "PresentationLUTShape": "IDENTITY"}, None),
    ],
)
def test_odd_ones_are_marked(tmp_path, elements, warning):
    checked = image_checks.check_header(_file(tmp_path, **elements), EXPECTED)
    assert not checked.refusal
    assert len(checked.warnings) == (warning is not None)
    assert warning is None or warning in checked.warnings[0]


@pytest.mark.parametrize(
    ("trained", "view", "warned"),
    [
        (("PA",), "PA", False),
        (("PA",), "AP", True),
        (("PA",), "LL", True),
        (("PA",), "", False),
        (("PA", "LL"), "RL", False),
        (("AP", "PA"), "AP", False),
        ((), "AP", False),
    ],
)
def test_a_view_is_compared_with_those_trained_on(tmp_path, trained, view, warned):
    expected = Expected(("CR",), trained, 32)
    path = _file(tmp_path, Modality="CR", ViewPosition=view)
    assert bool(image_checks.check_header(path, expected).warnings) is warned


def test_of_files_without_a_header_nothing_is_said(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert image_checks.check_header(str(tmp_path / "a.png"), EXPECTED) == image_checks.Checked()


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((40, 30, 1), 7, np.uint8), "several values, found 7 in every pixel"),
        (PIXELS[:15, :, None], "at least 16x16 pixels, found 20x15"),
    ],
)
def test_constant_and_tiny_images_are_refused(picture, message):
    with pytest.raises(InputError, match=message):
        image_checks.check_pixels(picture, EXPECTED)


def test_small_images_are_marked():
    (warning,) = image_checks.check_pixels(PIXELS[:, :, None], Expected(("CR",), (), 49))
    assert "20x24 pixels, less than half of the model's 49 a side" in warning
    assert not image_checks.check_pixels(PIXELS[:, :, None], Expected(("CR",), (), 48))
