"""The MIMIC-CXR-JPG loader."""

from __future__ import annotations

import gzip
import math

import pytest

from tests.datasets import source_folders
from tffcxr.datasets import findings, loaders, records
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.datasets.sources import mimic_cxr
from tffcxr.errors import InputError

_FOLDER = source_folders.TESTDATA / "mimic_cxr"


def _load(root=_FOLDER, **options):
    return loaders.load_records("mimic_cxr", root, "boston", LoadOptions(**options))


def _labels(table, name):
    return [None if math.isnan(value) else value for value in table[name]]


def _edit(path, old, new):
    """Replaces a text in a compressed table, which is then no longer compressed."""
    text = gzip.decompress(path.read_bytes()).decode()
    assert old in text
    path.unlink()
    path.with_suffix("").write_text(text.replace(old, new, 1))


def test_records(caplog):
    table = _load()
    assert records.findings(table) == list(findings.CHEXPERT)
    below = "files/p10/p10000032/s50414267/aaaaaaaa-aaaaaaaa-aaaaaaaa-aaaaaaaa-aaaaaaaa.jpg"
    assert table["image"][0] == str(_FOLDER / below)
    assert table["patient"].tolist() == ["10000032", "10000764", "10000898"]
    assert table["split"].tolist() == ["train", "validation", "test"]
    assert table["view"].tolist() == ["PA", "antero-posterior", "AP"]
    assert table["age"].isna().all()
    assert "the view of 1 of 6 images is not recorded, and they are left out" in caplog.text
    assert "1 of 5 images are of studies without labels and are left out" in caplog.text
    assert "1 of 4 images are lateral or oblique (LATERAL)" in caplog.text


def test_labels():
    table = _load()
    assert _labels(table, "Effusion") == [0, 1, None]
    assert _labels(table, "Consolidation") == [0, None, None]  # The second is uncertain.
    assert _labels(table, "Pneumothorax") == [0, None, 0]
    assert _labels(_load(uncertain="positive"), "Consolidation") == [0, 1, None]
    assert _labels(_load(uncertain="negative"), "Consolidation") == [0, 0, None]


def test_all_views():
    """Both images of a study have its labels."""
    table = _load(views="all")
    assert table["view"].tolist() == ["PA", "LATERAL", "antero-posterior", "AP", "UNKNOWN"]
    assert _labels(table, "No Finding") == [1, 1, None, None, None]
    assert _labels(table, "Atelectasis") == [0, 0, None, None, 1]


def test_tables_that_are_not_compressed(tmp_path):
    root = source_folders.copy("mimic_cxr", tmp_path)
    for path in list(root.glob("*.gz")):
        _edit(path, "subject_id", "subject_id")
    assert len(_load(root)) == 3


@pytest.mark.parametrize(
    ("table", "old", "new", "reason"),
    [
        ("chexpert", ",Edema", ",Oedema", "expected the column 'Edema'"),
        ("chexpert", "-1.0", "7", "labels of 1, 0, -1 or nothing, found in line 3"),
        ("chexpert", "57375967", "50414267", "each study_id once, found in line 3"),
        ("metadata", "b" * 8, "", "each dicom_id once|validate or test for every image"),
        ("split", "train", "other", "train, validate or test for every image .*found 'other'"),
        ("split", "a" * 8, "x", "for every image .*found None"),
    ],
)
def test_what_is_refused(tmp_path, table, old, new, reason):
    root = source_folders.copy("mimic_cxr", tmp_path)
    _edit(root / f"mimic-cxr-2.0.0-{table}.csv.gz", old, new)
    with pytest.raises(InputError, match=reason):
        _load(root)


def test_a_missing_table(tmp_path):
    root = source_folders.copy("mimic_cxr", tmp_path)
    (root / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    with pytest.raises(InputError, match=r"one mimic-cxr-2.\*-split.csv or .gz in .*, found none"):
        mimic_cxr.load_records(root, LoadOptions())
