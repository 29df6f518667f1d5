"""The PadChest loader."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from tests.datasets import source_folders
from tffcxr.datasets import findings, loaders, records
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.datasets.sources import padchest
from tffcxr.errors import InputError

_FOLDER = source_folders.TESTDATA / "padchest"
_TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"


def _labels(table, name):
    return [None if math.isnan(value) else value for value in table[name]]


def test_records(caplog):
    table = loaders.load_records("padchest", _FOLDER, "alicante")
    assert table["patient"].tolist() == ["p1", "p2", "p3", "p4"]
    assert table["view"].tolist() == ["PA", "AP_horizontal", "PA", "PA"]
    assert table["age"].tolist()[:2] == [83.0, 64.0]
    assert math.isnan(table["age"][2])
    assert table["sex"].tolist() == ["F", "M", "M", None]
    assert "split" not in table
    assert "2 of 8 images have no labels, or are excluded by the source" in caplog.text
    assert "1 of 5 images are lateral or oblique (L) and are left out" in caplog.text


def test_manufacturers_where_the_table_has_them(tmp_path):
    root = source_folders.copy("padchest", tmp_path)
    table = pd.read_csv(root / _TABLE, dtype=str, keep_default_na=False)
    table["Manufacturer_DICOM"] = ["ImagingDynamicsCompany", "None"] * 4
    table.to_csv(root / _TABLE, index=False)
    found = loaders.load_records("padchest", root, "alicante")
    assert set(found["scanner"]) == {"ImagingDynamicsCompany", None}
    assert set(loaders.load_records("padchest", _FOLDER, "alicante")["scanner"]) == {None}


def test_labels():
    table = loaders.load_records("padchest", _FOLDER, "alicante")
    assert records.findings(table) == list(padchest.TERMS)
    assert _labels(table, "No Finding") == [1, 0, None, 0]
    assert _labels(table, "Atelectasis") == [0, 1, None, 0]  # Laminar is one.
    assert _labels(table, "Effusion") == [0, 1, None, 0]
    assert _labels(table, "Pneumonia") == [0, 0, 1, 0]  # Unchanged, and otherwise unknown.


def test_findings_are_those_of_the_vocabulary():
    assert set(padchest.TERMS) <= set(findings.NAMES)


def test_images_that_may_be_inverted_are_left_out(tmp_path, caplog):
    assert "p7" not in set(loaders.load_records("padchest", _FOLDER, "alicante")["patient"])
    assert "1 of 8 images are MONOCHROME1 by the table, which is often wrong" in caplog.text
    root = source_folders.copy("padchest", tmp_path)
    source_folders.edit(root / _TABLE, "MONOCHROME1", "MONOCHROME2")
    assert "p7" in set(loaders.load_records("padchest", root, "alicante")["patient"])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("['normal']", "normal", "a list of Labels, found in line 2"),
        ("['normal']", "{1: 2}", "a list of Labels, found in line 2"),
        ("2168403_01", "2168403_00", "each ImageID once, with a PatientID, found in line 3"),
        (",p1,", ",,", "each ImageID once, with a PatientID, found in line 2"),
        ("PatientBirth", "Birth", "expected the column 'PatientBirth'"),
    ],
)
def test_what_is_refused(tmp_path, old, new, reason):
    root = source_folders.copy("padchest", tmp_path)
    source_folders.edit(root / _TABLE, old, new)
    with pytest.raises(InputError, match=reason):
        loaders.load_records("padchest", root, "alicante")


def test_tables_and_images_that_are_missing(tmp_path, caplog):
    root = source_folders.copy("padchest", tmp_path)
    (root / "0" / "2168403_00.png").unlink()
    options = LoadOptions(views="all")
    assert len(loaders.load_records("padchest", root, "alicante", options)) == 4
    assert "1 of 5 labelled images are not in" in caplog.text
    (root / _TABLE).unlink()
    with pytest.raises(InputError, match=r"one PADCHEST.*\.csv or .csv.gz in .*, found none"):
        loaders.load_records("padchest", root, "alicante")
