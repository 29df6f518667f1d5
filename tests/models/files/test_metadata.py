"""Metadata say what a model is, and what is not theirs is refused in one line."""

import json
import math

import pytest

from tests.models.files import exported_models
from tffcxr.errors import InputError
from tffcxr.models.files import metadata
from tffcxr.report.kinds import kinds


def _write(path, about, **changes):
    """Writes metadata, changed; a value of ... is left out. Returns the model's path."""
    data = {**about.to_json(), **changes}
    kept = {name: value for name, value in data.items() if value is not ...}
    path.with_suffix(".json").write_text(json.dumps(kept))
    return path


def test_the_kinds_are_those_of_reports():
    assert set(metadata.KINDS) == set(kinds.KINDS)


@pytest.mark.parametrize("kind", metadata.KINDS)
def test_what_is_written_is_read(tmp_path, kind):
    about = exported_models.about(kind, phantoms=True, number=2, slices={"a": {"mm": 1.5}})
    assert metadata.read(_write(tmp_path / "m.keras", about)) == about


def test_an_operating_point_that_is_not_there_is_nan(tmp_path):
    points = {"Lung Opacity": 0.25, "Pneumothorax": math.nan}
    about = exported_models.about(metadata.FINDINGS, operating_points=points)
    path = _write(tmp_path / "m.keras", about)
    assert json.loads((tmp_path / "m.json").read_text())["operating_points"]["Pneumothorax"] is None
    found = metadata.read(path).operating_points
    assert found["Lung Opacity"] == 0.25
    assert math.isnan(found["Pneumothorax"])


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("findings", {"format_version": 1}, "format version 2, found 1: run the study again"),
        ("findings", {"format_version": ...}, "format version 2, found none"),
        ("findings", {"fit": ..., "recipe": ...}, "expected fit, recipe in an exported model's"),
        ("findings", {"kind": "segmentation"}, "expected a kind of findings, .*found 'segmen"),
        ("findings", {"kind": ["masks"]}, "expected a kind of findings"),
        ("findings", {"outputs": []}, "expected the names of the outputs"),
        ("findings", {"outputs": ["A", 3]}, "expected the names of the outputs"),
        ("findings", {"outputs": ["A", "A"]}, "expected different names of the outputs"),
        ("findings", {"outputs": "AB"}, "found 'AB' as outputs"),
        ("findings", {"image_size": "64"}, "expected image_size to be from 1 to 4096, found '64'"),
        ("findings", {"image_size": 5000}, "expected image_size to be from 1 to 4096"),
        ("findings", {"fit": "crop"}, "fit must be pad or stretch, found 'crop'"),
        ("findings", {"phantoms": "no"}, "expected true or false as phantoms"),
        ("findings", {"network": None}, "expected a text as network, found None"),
        ("findings", {"number": 0}, "expected number to be from 1"),
        ("findings", {"operating_points": {"Mass": 0.5}}, "no operating points of Mass"),
        ("findings", {"operating_points": {"Lung Opacity": "1"}}, "expected numbers as operating"),
        ("findings", {"operating_points": None}, "found None as operating_points"),
        ("findings", {"gradcam_layers": {"Mass": "conv"}}, "expected a Grad-CAM layer for each"),
        ("findings", {"gradcam_layers": {"Lung Opacity": 1, "Pneumothorax": 1}}, "Grad-CAM layer"),
        ("findings", {"trained_on": {"sources": {"nih": "9"}}}, "expected counts of images by"),
        ("findings", {"trained_on": {"views": "PA"}}, "lists of modalities and views"),
        ("findings", {"trained_on": []}, r"found \[\] as trained_on"),
        ("findings", {"channels": 3}, "expected a model of images with 1 channel, found 3"),
        ("classes", {"threshold": 0.5}, "expected no threshold for classes"),
        ("classes", {"operating_points": {"Normal": 0.5}}, "no operating points of Normal"),
        ("masks", {"threshold": 1.5}, "expected a threshold between 0 and 1, found 1.5"),
        ("masks", {"threshold": None}, "expected a threshold between 0 and 1, found None"),
        ("masks", {"outputs": [""]}, "expected the names of the outputs"),
        ("masks", {"outputs": ["Lungs", "Heart"]}, "expected the name of one region"),
        ("volumes", {"channels": 0}, "expected channels to be from 1"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, kind, change, message):
    path = _write(tmp_path / "m.keras", exported_models.about(kind), **change)
    with pytest.raises(InputError, match=message) as raised:
        metadata.read(path)
    assert str(tmp_path / "m.json") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_older_models_do_not_say_what_they_were_trained_on(tmp_path):
    path = _write(tmp_path / "m.keras", exported_models.about(metadata.CLASSES), trained_on=...)
    assert metadata.read(path).trained_on == {}


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(InputError, match="m.json: expected an exported model's metadata") as raised:
        metadata.read(tmp_path / "m.keras")
    assert "\n" not in str(raised.value)


def test_models_that_take_no_plain_radiograph_say_so():
    exported_models.about(metadata.CLASSES).check_takes_radiographs()
    with pytest.raises(InputError, match="Brain lesions in slices .* takes prepared slices"):
        exported_models.about(metadata.VOLUMES).check_takes_radiographs()
    with pytest.raises(InputError, match="classes Normal, .* black outside of the lungs"):
        exported_models.about(metadata.CLASSES, cut_out=True).check_takes_radiographs()
