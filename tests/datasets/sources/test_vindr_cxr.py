"""The VinDr-CXR loader."""

from __future__ import annotations

import math

import pytest

from tests.datasets import source_folders
from tffcxr.datasets import loaders, records
from tffcxr.errors import InputError

_FOLDER = source_folders.TESTDATA / "vindr_cxr"
_TRAIN = "annotations/image_labels_train.csv"


def _load(root=_FOLDER):
    return loaders.load_records("vindr_cxr", root, "hanoi")


def _labels(table, name):
    return [None if math.isnan(value) else value for value in table[name]]


def test_records():
    table = _load()
    assert table["patient"].tolist() == ["aa", "bb", "cc", "dd", "ee"]
    assert table["split"].tolist() == ["train"] * 3 + ["test"] * 2
    assert (table["view"] == "PA").all()
    assert table["age"].tolist()[:3] == [61.0, 61.0, 61.0]
    assert table["sex"].tolist()[:3] == ["M", "F", None]
    assert table["image"][0] == str(_FOLDER / "train" / "aa.dicom")
    assert table["mask"].isna().all()


def test_labels_are_those_of_most_readers():
    table = _load()
    assert records.findings(table) == [
        *("Aortic Enlargement", "Atelectasis", "Nodule/Mass", "Effusion"),
        *("Other Disease", "No Finding"),
    ]
    assert _labels(table, "Aortic Enlargement") == [1, 0, 0, 0, 1]  # 3, 0 and 1 of 3 readers.
    assert _labels(table, "Atelectasis") == [0, 0, 1, 0, 0]
    assert _labels(table, "Nodule/Mass") == [0, 0, 0, 0, 0]
    assert _labels(table, "Effusion") == [1, 0, 0, 0, 0]  # 2 of 3.
    assert _labels(table, "No Finding") == [0, 1, 0, 1, 0]


def test_a_tie_is_unknown(tmp_path):
    root = source_folders.copy("vindr_cxr", tmp_path)
    source_folders.edit(root / _TRAIN, "aa,R2,1,0,0,0,0,0\n", "")
    table = _load(root)
    assert _labels(table, "Nodule/Mass") == [None, 0, 0, 0, 0]
    assert _labels(table, "Effusion") == [1, 0, 0, 0, 0]


def test_tables_beside_the_folders_and_without_test_images(tmp_path):
    root = source_folders.copy("vindr_cxr", tmp_path)
    (root / _TRAIN).rename(root / "image_labels_train.csv")
    (root / "annotations/image_labels_test.csv").unlink()
    assert set(_load(root)["split"]) == {"train"}


def test_kaggles_table_of_boxes(tmp_path):
    """aa: two readers saw an effusion, one of them in two boxes; bb: one saw something."""
    root = source_folders.copy("vindr_cxr", tmp_path)
    for path in (root / "annotations").iterdir():
        path.unlink()
    rows = ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"]
    rows += ["aa,Pleural effusion,10,R8,1,1,4,4", "aa,Pleural effusion,10,R8,9,9,12,12"]
    rows += ["aa,Pleural effusion,10,R9,1,1,4,4", "aa,No finding,14,R10,,,,"]
    rows += ["bb,Nodule/Mass,8,R8,1,1,4,4", "bb,No finding,14,R9,,,,", "bb,No finding,14,R10,,,,"]
    (root / "train.csv").write_text("\n".join(rows) + "\n")
    table = _load(root)
    assert table["patient"].tolist() == ["aa", "bb"]
    assert records.findings(table) == ["Nodule/Mass", "Effusion", "No Finding"]
    assert table[["Nodule/Mass", "Effusion", "No Finding"]].to_numpy().tolist() == [
        [0, 1, 0],
        [0, 0, 1],
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("aa,R0,1", "aa,R0,2", "Aortic enlargement of 0 or 1, found in line 2"),
        ("aa,R1", "aa,R0", "each image and reader once, found in line 3"),
        ("Atelectasis", "Scoliosis", "the findings of VinDr-CXR, found 'Scoliosis'"),
        ("Atelectasis", "Nodule_mass", "a column per finding"),
        ("image_id", "image", "expected the column 'image_id'"),
    ],
)
def test_what_is_refused(tmp_path, old, new, reason):
    root = source_folders.copy("vindr_cxr", tmp_path)
    source_folders.edit(root / _TRAIN, old, new)
    with pytest.raises(InputError, match=reason):
        _load(root)


def test_what_is_missing(tmp_path):
    with pytest.raises(
        InputError, match="image_labels_train.csv or train.csv in .*, found neither"
    ):
        _load(tmp_path)
    root = source_folders.copy("vindr_cxr", tmp_path)
    (root / "train" / "aa.png").write_bytes(b"")
    with pytest.raises(InputError, match="one image named aa, found .*aa.dicom and .*aa.png"):
        _load(root)
