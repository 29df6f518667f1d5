"""The CheXpert loader."""

from __future__ import annotations

import math
import shutil

import pytest

from tests.datasets import source_folders
from tffcxr.datasets import findings, loaders, records
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.datasets.sources import chexpert
from tffcxr.errors import InputError

_FOLDER = source_folders.TESTDATA / "chexpert"


def _labels(table, name):
    return [None if math.isnan(value) else value for value in table[name]]


def test_records(caplog):
    table = loaders.load_records("chexpert", _FOLDER, "north")
    assert records.findings(table) == list(findings.CHEXPERT)
    assert table["patient"].tolist() == [
        *("patient00001", "patient00002", "patient00002", "patient00003", "patient64541")
    ]
    assert table["split"].tolist() == ["train"] * 4 + ["validation"]
    assert table["view"].tolist() == ["AP", "PA", "AP", "AP", "AP"]
    assert table["age"].tolist() == [68, 87, 88, 0, 73]
    assert table["sex"].tolist() == ["F", "M", "M", None, "M"]
    assert table["image"][0] == str(_FOLDER / "train/patient00001/study1/view1_frontal.jpg")
    assert "2 of 7 images are lateral or oblique (LATERAL) and are left out" in caplog.text


def test_labels():
    """What is not mentioned is unknown, except beside "No Finding"."""
    table = loaders.load_records("chexpert", _FOLDER, "north")
    assert _labels(table, "No Finding") == [1, None, None, None, 0]
    assert _labels(table, "Edema") == [0, None, 0, None, 0]  # The second is uncertain.
    assert _labels(table, "Effusion") == [0, 0, 1, None, 0]
    assert _labels(table, "Lung Opacity") == [0, 1, None, None, 0]
    assert _labels(table, "Pneumonia") == [0, None, None, None, 0]  # The fourth is uncertain.
    assert _labels(table, "Support Devices") == [1, None, None, None, 0]


@pytest.mark.parametrize(("uncertain", "value"), [("positive", 1.0), ("negative", 0.0)])
def test_uncertain_labels(uncertain, value):
    options = LoadOptions(uncertain=uncertain)
    table = loaders.load_records("chexpert", _FOLDER, "north", options)
    assert _labels(table, "Edema") == [0, value, 0, None, 0]
    assert _labels(table, "Pneumonia") == [0, None, None, value, 0]
    assert _labels(table, "Effusion") == [0, 0, 1, None, 0]


def test_lateral_images_too():
    table = loaders.load_records("chexpert", _FOLDER, "north", LoadOptions(views="all"))
    assert table["view"].tolist() == ["AP", "PA", "LATERAL", "AP", "AP", "AP", "LATERAL"]


def test_the_folder_above(tmp_path):
    shutil.copytree(_FOLDER, tmp_path / "CheXpert-v1.0-small")
    assert len(chexpert.load_records(tmp_path, LoadOptions())) == 7
    shutil.copytree(_FOLDER, tmp_path / "CheXpert-v1.0")
    with pytest.raises(InputError, match="one copy in .*, found CheXpert-v1.0 and CheXpert-v1.0-s"):
        chexpert.load_records(tmp_path, LoadOptions())
    with pytest.raises(InputError, match="expected train.csv or valid.csv or test.csv in"):
        chexpert.load_records(tmp_path / "CheXpert-v1.0/train", LoadOptions())


def test_images_that_are_not_there(tmp_path, caplog):
    root = source_folders.copy("chexpert", tmp_path)
    shutil.rmtree(root / "train" / "patient00002")
    assert len(chexpert.load_records(root, LoadOptions())) == 4
    assert "3 of 7 labelled images are not in" in caplog.text
    assert "such as 'train/patient00002/study1/view1_frontal.jpg'" in caplog.text


def test_a_released_test_set(tmp_path):
    root = source_folders.copy("chexpert", tmp_path)
    (root / "valid.csv").rename(root / "test.csv")
    (root / "valid").rename(root / "test")
    source_folders.edit(root / "test.csv", "-small/valid", "-small/test")
    source_folders.edit(root / "test.csv", "-small/valid", "-small/test")
    table = chexpert.load_records(root, LoadOptions())
    assert table["split"].tolist() == ["train"] * 5 + ["test"] * 2


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("patient00001/", "x/", "a Path with the number of a patient, found in line 2"),
        ("train/patient00001", "train/patient00001/../..", "a Path with the number of a patient"),
        ("Female", "female", "Female, Male or Unknown as Sex, found in line 2"),
        (",68,", ",old,", "an Age such as 58, found in line 2"),
        (",-1.0,", ",2,", "labels of 1, 0, -1 or nothing, found in line 3"),
        ("AP,1.0,,", "AP,1.0,1.0,", "No Finding or a pathology, not both, found in line 2"),
        ("Cardiomegaly", "Heart", "expected the column 'Cardiomegaly'"),
    ],
)
def test_what_is_refused(tmp_path, old, new, reason):
    root = source_folders.copy("chexpert", tmp_path)
    source_folders.edit(root / "train.csv", old, new)
    with pytest.raises(InputError, match=reason):
        chexpert.load_records(root, LoadOptions())


def test_an_uncertain_pathology_beside_no_finding_is_absent(tmp_path):
    """Only what is present contradicts, whatever -1 counts as."""
    root = source_folders.copy("chexpert", tmp_path)
    source_folders.edit(root / "train.csv", "AP,1.0,,", "AP,1.0,-1.0,")
    table = chexpert.load_records(root, LoadOptions(uncertain="positive"))
    assert table["Enlarged Cardiomediastinum"][0] == 0.0
