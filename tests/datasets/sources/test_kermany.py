"""The loader of Kermany's radiographs of children."""

from __future__ import annotations

import logging
import shutil

import pytest

from tests.datasets import source_folders
from tffcxr.datasets import records
from tffcxr.datasets.sources import kermany
from tffcxr.errors import InputError


@pytest.fixture
def root(tmp_path):
    return source_folders.copy("kermany", tmp_path)


def test_records(root, caplog):
    with caplog.at_level(logging.WARNING):
        table = kermany.load_records(root)
    assert records.findings(table) == ["Normal", "Pneumonia"]
    assert table["Pneumonia"].sum() == 4 and table["Normal"].sum() == 5
    # "IM-0383" is in two images of train/NORMAL, "person1" in train/ and in test/.
    assert sorted(table["patient"].value_counts()) == [1] * 5 + [2, 2]
    assert "1 of 7 patients, such as person1, are in several" in caplog.text
    assert "split" not in table


def test_a_division_that_holds_is_kept(root):
    (root / "test" / "PNEUMONIA" / "person1_virus_6.jpeg").rename(
        root / "test" / "PNEUMONIA" / "person9_virus_6.jpeg"
    )
    splits = kermany.load_records(root)["split"].value_counts().to_dict()
    assert splits == {"train": 5, "test": 2, "validation": 2}


def test_kaggles_archive_has_everything_twice(root, tmp_path):
    once = kermany.load_records(root)["patient"].tolist()
    shutil.copytree(root, root / "chest_xray" / "chest_xray")
    assert kermany.load_records(root)["patient"].tolist() == once
    outer = tmp_path / "outer"
    outer.mkdir()
    root.rename(outer / "chest_xray")
    assert kermany.load_records(outer)["patient"].tolist() == once


def test_other_classes_are_refused(root):
    for split in ("train", "test", "val"):
        (root / split / "PNEUMONIA").rename(root / split / "OTHER")
    with pytest.raises(InputError, match="classes Normal, Pneumonia in .*, found Normal, OTHER"):
        kermany.load_records(root)


def test_citation():
    assert "Kermany" in kermany.cite()
