"""Folders per class: whose images, of which class, in which split."""

from __future__ import annotations

import logging

import pytest

from tests import real_data
from tests.datasets import source_folders
from tffcxr.datasets import records
from tffcxr.datasets.sources import class_folders, classes
from tffcxr.errors import InputError


@pytest.fixture
def root(tmp_path):
    return source_folders.copy("classes", tmp_path)


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not looked at by the loader")


def test_records(root):
    table = classes.load_records(root)
    assert records.findings(table) == ["Normal", "Pneumonia", "COVID-19"]
    assert "split" not in table
    by_image = {path.rpartition("/")[2]: row for path, row in table.set_index("image").iterrows()}
    assert [by_image["a-day0.jpg"][name] for name in records.findings(table)] == [0.0, 0.0, 1.0]
    assert table[records.findings(table)].sum().tolist() == [2.0, 2.0, 3.0]
    # The images of patient 2 of the NIH are in two classes.
    assert by_image["00000002_000.jpg"]["patient"] == by_image["00000002_001.jpg"]["patient"] == "2"
    assert by_image["a-day0.jpg"]["patient"] == by_image["a-day4.jpg"]["patient"] == "COVID-19/a"
    assert table["patient"].nunique() == 5
    assert table["lungs"].isna().all() and table["mask"].isna().all()


@pytest.mark.parametrize(
    ("stem", "patient"),
    [
        ("00000061_012", "61"),
        ("00030805_000", "30805"),
        ("person123_bacteria_45", "person123"),
        ("person123_virus_4", "person123"),
        ("IM-0115-0001", "IM-0115"),
        ("IM-0656-0001-0002", "IM-0656"),
        ("NORMAL2-IM-0927-0001", "IM-0927"),
        ("NORMAL2-IM-0927-0001-0001", "IM-0927"),
        ("VIRUS-1043567-0002", "1043567"),
        ("NORMAL-1043567-0001", "1043567"),
        ("MIDRC-RICORD-1C-SITE2-000265-99793-1", "SITE2-000265"),
        ("MIDRC-RICORD-1C-419639-001464-39871-0", "419639-001464"),
        ("sub-S03047_ses-E07985_run-1_bp-chest_vp-ap_dx", "S03047"),
        ("covid-19-pneumonia-24-day12", "Normal/covid-19-pneumonia-24"),
        ("Normal-17", "Normal/Normal-17"),
        ("61_12", "Normal/61_12"),
        ("0a1b_000", "Normal/0a1b_000"),
    ],
)
def test_patients_by_the_names_of_files(stem, patient):
    assert class_folders.patient_of(stem, "Normal") == patient


def test_a_study_of_links_to_images_elsewhere(tmp_path):
    _touch(tmp_path, "covid/case-1.jpg", "covid/case-2.jpg", "nih/00000007_001.png")
    study = tmp_path / "study"
    (study / "Normal").mkdir(parents=True)
    (study / "Normal" / "00000007_001.png").symlink_to(tmp_path / "nih" / "00000007_001.png")
    (study / "COVID-19").symlink_to(tmp_path / "covid")
    table = classes.load_records(study)
    assert table["patient"].tolist() == ["COVID-19/case-1", "COVID-19/case-2", "7"]
    assert table["image"][2] == str(study / "Normal" / "00000007_001.png")
    (study / "Normal" / "00000007_002.png").symlink_to(tmp_path / "covid" / "case-1.jpg")
    with pytest.raises(InputError, match="each image once, found .*case-1.jpg and .*00000007_002"):
        classes.load_records(study)


def test_splits_as_the_source_has_them(tmp_path):
    _touch(tmp_path, "train/a/1.png", "train/b/2.dcm", "Test/a/3.JPG", "Test/b/deep/4.png")
    _touch(tmp_path, "val/b/5.jpeg", "__MACOSX/a/1.png", ".git/b/1.png", "train/a/notes.txt")
    table = classes.load_records(tmp_path)
    assert table["split"].tolist() == ["test", "test", "train", "train", "validation"]
    assert table[["a", "b"]].to_numpy().tolist() == [[1, 0], [0, 1], [1, 0], [0, 1], [0, 1]]


def test_a_division_that_patients_cross_is_not_used_and_that_is_said(tmp_path, caplog):
    _touch(tmp_path, "train/a/x-day1.png", "train/b/y.png", "test/a/x-day2.png", "test/b/z.png")
    with caplog.at_level(logging.WARNING):
        table = classes.load_records(tmp_path)
    assert "split" not in table
    assert "1 of 3 patients, such as a/x, are in several of the source's splits" in caplog.text
    # The same name in two classes does not make one patient.
    (tmp_path / "test" / "a" / "x-day2.png").rename(tmp_path / "test" / "a" / "y.png")
    assert "split" in classes.load_records(tmp_path)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["a/1.png"], "at least two, in .*, found a$"),
        ([], "expected a folder per class in .*, found none"),
        (["a/1.png", "b/1.txt"], "expected images .* in .*/b, found none"),
        (["train/a/1.png", "a/2.png", "b/1.png"], "or in train there, found a, b beside them"),
        (["val/a/1.png", "valid/a/2.png"], "each split once in .*, found val, valid"),
        (["COVID/1.png", "covid-19/2.png"], "one folder for the class COVID-19 .*COVID and covid-"),
    ],
)
def test_unusable_folders(tmp_path, files, reason):
    _touch(tmp_path, *files)
    with pytest.raises(InputError, match=reason):
        classes.load_records(tmp_path)


def test_masks_of_the_lungs(root):
    _touch(root, "lung_masks/b.png", "lung_masks/00000001_000.png")
    table = classes.load_records(root)
    assert table["lungs"].notna().sum() == 2
    row = table[table["image"].str.endswith("b.jpg")].iloc[0]
    assert row["lungs"].path == str(root / "lung_masks" / "b.png")
    _touch(root, "NORMAL/b.jpg")
    with pytest.raises(
        InputError, match="one image named b where .*lung_masks, found .*b.jpg and "
    ):
        classes.load_records(root)


def test_patients_by_a_list(tmp_path):
    _touch(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
    lines = ["filename,patientid,age", "1.png,p,30", "2.dcm,q,40", "3.png,r,50", "4.png,q,40"]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    table = classes.load_records(tmp_path)
    assert dict(zip(table["image"].str[-5:-4], table["patient"])) == {
        "1": "p", "2": "q", "3": "r", "4": "q",
    }  # fmt: skip
    assert "split" not in table  # Patient q is in train/ and in test/.
    (tmp_path / "metadata.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match=r"a row for every image, .*4.png \(1 of 4 images\)"):
        classes.load_records(tmp_path)
    _touch(tmp_path, "test/b/1.png")
    with pytest.raises(InputError, match="one image named 1 where there is .*metadata.csv, found"):
        classes.load_records(tmp_path)


def test_real_covid_and_nih_images_in_one_study(tmp_path):
    covid, nih = real_data.real_data("covid_lungs"), real_data.real_data("nih")
    (tmp_path / "COVID-19").symlink_to(covid / "images")
    for number, path in enumerate(sorted((nih / "images").iterdir())):
        link = tmp_path / ("Normal", "Pneumonia")[number % 2] / path.name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(path)
    table = classes.load_records(tmp_path)
    assert table["COVID-19"].sum() == 88
    assert len(table) == 88 + number + 1
    # Far fewer patients than images, since both sources have series.
    of_nih = table[table["COVID-19"] == 0]
    expected = {str(int(path.name.split("_")[0])) for path in (nih / "images").iterdir()}
    assert set(of_nih["patient"]) == expected
    assert table["patient"][table["COVID-19"] == 1].nunique() < 75
