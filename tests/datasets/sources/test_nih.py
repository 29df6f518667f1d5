"""The NIH loader on its layout, and on files that someone has spoiled."""

from __future__ import annotations

import numpy as np
import pytest

from tests import real_data
from tests.datasets import source_folders
from tffcxr.datasets import findings, records
from tffcxr.datasets.imaging import images
from tffcxr.datasets.sources import nih
from tffcxr.errors import InputError

_TABLE = "Data_Entry_2017.csv"


@pytest.fixture
def root(tmp_path):
    return source_folders.copy("nih", tmp_path)


def test_records_from_nested_folders():
    table = nih.load_records(source_folders.TESTDATA / "nih")
    assert records.findings(table) == list(findings.NIH)
    assert len(table) == 12
    assert table["patient"].tolist() == list("112344456788")
    assert {path.split("/")[-3] for path in table["image"]} == {"images_001", "images_002"}
    found = {name: table.index[table[name] == 1].tolist() for name in findings.NIH}
    found = {name: rows for name, rows in found.items() if rows}
    assert found == {
        "Effusion": [3, 6],
        "Infiltration": [1, 3, 5, 8, 10],
        "Pleural Thickening": [5],
        "Pneumonia": [10],
    }
    assert not table[list(findings.NIH)].isna().any().any()
    assert table["mask"].isna().all()
    assert (table["age"][0], table["sex"][0], table["view"][0]) == (35.0, "F", "PA")
    assert images.read_image(table["image"][0]).shape == (64, 64, 1)


def test_one_flat_folder_and_the_table_of_2020(root):
    (root / "images").mkdir()
    for path in list(root.glob("images_*/images/*.png")):
        path.rename(root / "images" / path.name)
    (root / _TABLE).rename(root / "Data_Entry_2017_v2020.csv")
    source_folders.edit(root / "Data_Entry_2017_v2020.csv", "Patient Gender", "Patient Sex")
    assert len(nih.load_records(root)) == 12


def test_part_of_the_archive(root, caplog):
    for path in root.glob("images_002/images/*.png"):
        path.unlink()
    assert len(nih.load_records(root)) == 6
    assert "6 of 12 labelled images" in caplog.text


def test_ages(root, caplog):
    source_folders.edit(root / _TABLE, "No Finding,0,1,35,F", "No Finding,0,1,058Y,F")
    source_folders.edit(root / _TABLE, "Infiltration,1,1,35,F", "Infiltration,1,1,414,F")
    source_folders.edit(root / _TABLE, "No Finding,0,2,40,M", "No Finding,0,2,,")
    table = nih.load_records(root)
    assert table["age"][0] == 58.0
    assert np.isnan(table["age"][1])
    assert np.isnan(table["age"][2])
    assert table["sex"][2] is None
    assert "1 ages above 120 years" in caplog.text


def test_leading_zeros_of_a_patient_do_not_matter(root):
    source_folders.edit(root / _TABLE, "No Finding,0,1,35", "No Finding,0,00001,35")
    assert nih.load_records(root)["patient"].tolist()[:2] == ["1", "1"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Finding Labels", "Labels", "the column 'Finding Labels', found 'Image Index', 'Labels'"),
        ("Patient Gender", "Gender", "the column 'Patient Gender' or 'Patient Sex'"),
        ("No Finding,0,1", "Nothing,0,1", "findings of ChestX-ray14, found in line 2"),
        ("No Finding,0,1", ",0,1", "findings of ChestX-ray14, found in line 2"),
        ("Effusion|", "No Finding|", "not both, found in line 5"),
        ("00000001_001", "00000001_000", "each Image Index once, found in line 3"),
        ("No Finding,0,1,35,F", "No Finding,0,x,35,F", "a whole number as Patient ID"),
        ("No Finding,0,1,35,F", "No Finding,0,1,old,F", "a Patient Age such as"),
        ("No Finding,0,1,35,F", "No Finding,0,1,35,X", "F or M as Patient Gender"),
    ],
)
def test_spoiled_table(root, old, new, reason):
    source_folders.edit(root / _TABLE, old, new)
    with pytest.raises(InputError, match=reason) as error:
        nih.load_records(root)
    assert "\n" not in str(error.value)


def test_missing_files(root):
    for path in list(root.glob("images_*")):
        path.rename(root / f"x{path.name}")
    with pytest.raises(InputError, match="expected images/ or images_001/ in"):
        nih.load_records(root)
    (root / _TABLE).unlink()
    with pytest.raises(InputError, match="expected Data_Entry_2017.csv or"):
        nih.load_records(root)


def test_real_images():
    table = nih.load_records(real_data.real_data("nih"))
    assert len(table) == 667
    assert table["patient"].nunique() == 452
    assert table["Pneumonia"].sum() == 335
    assert table["Infiltration"].sum() == 121
    assert table["Pleural Thickening"].sum() == 18
    assert (table[list(findings.NIH)].sum(axis=1) == 0).sum() == 332
    assert images.read_image(table["image"][0]).shape == (512, 512, 1)


def test_citation():
    assert "ChestX-ray8" in nih.cite()


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        ("No Finding,0,1,35", f"No Finding,0,{'1' * 5000},35", "Patient ID"),
        ("No Finding,0,1,35", f"No Finding,0,1,{'3' * 5000}", "Patient Age"),
        ("No Finding,0,1,35", f"{'No Finding|' * 500},0,1,35", "Finding Labels"),
    ],
)
def test_a_value_of_thousands_of_characters_is_refused(root, old, new, column):
    source_folders.edit(root / _TABLE, old, new)
    expected = f"at most 256 characters as {column}, found in line 2: "
    with pytest.raises(InputError, match=expected) as error:
        nih.load_records(root)
    assert len(str(error.value)) < 1000
    assert "\n" not in str(error.value)
