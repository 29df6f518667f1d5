"""The RSNA loader on its layout, and on files that someone has spoiled."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from tests import real_data
from tests.datasets import source_folders
from tffcxr.datasets import records
from tffcxr.datasets.imaging import images
from tffcxr.datasets.sources import rsna
from tffcxr.errors import InputError

_LABELS = "stage_2_train_labels.csv"
_CLASSES = "stage_2_detailed_class_info.csv"


def _id(index):
    return f"{index:08x}-0000-4000-8000-{index:012x}"


@pytest.fixture
def root(tmp_path):
    return source_folders.copy("rsna", tmp_path)


def test_records():
    table = rsna.load_records(source_folders.TESTDATA / "rsna")
    assert records.findings(table) == ["Lung Opacity", "No Lung Opacity / Not Normal", "Normal"]
    assert table["patient"].tolist() == [_id(index) for index in range(12)]
    assert table["Lung Opacity"].tolist() == [0.0, 1.0] * 6
    assert table["Normal"].tolist() == [1.0, 0, 0, 0] * 3
    # Every image is of exactly one of the three classes.
    assert (table[records.findings(table)].sum(axis=1) == 1).all()
    first, second = table.iloc[0], table.iloc[1]
    assert (first["age"], first["sex"], first["view"]) == (30.0, "F", "PA")  # "30", not "030Y".
    assert second["mask"].boxes == ((12.0, 20.0, 16.0, 20.0),)
    assert (second["mask"].height, second["mask"].width) == (64, 64)
    assert first["mask"].empty


def test_boxes_and_lungs_lie_where_they_are_drawn():
    table = rsna.load_records(source_folders.TESTDATA / "rsna")
    for row in table.to_dict("records"):
        image = images.read_image(row["image"])[:, :, 0]
        lungs = row["lungs"].to_array()
        assert image[lungs].mean() < image[~lungs].mean() - 50
        if not row["mask"].empty:
            opacity = row["mask"].to_array() & lungs
            assert image[opacity].mean() > image[lungs & ~opacity].mean() + 20


def test_patient_with_two_boxes_is_one_record():
    table = rsna.load_records(source_folders.TESTDATA / "rsna").set_index("patient")
    assert len(table.loc[_id(5), "mask"].boxes) == 2
    assert table.loc[_id(5), "mask"].to_array().sum() == 15 * 14 + 14 * 14


def test_order_of_rows_does_not_matter(root):
    header, *rows = (root / _LABELS).read_text().splitlines()
    (root / _LABELS).write_text("\n".join([header, *rows[::-1]]) + "\n")
    found = rsna.load_records(root).sort_values("patient")
    expected = rsna.load_records(source_folders.TESTDATA / "rsna")
    assert found["Lung Opacity"].tolist() == expected["Lung Opacity"].tolist()


def test_without_lung_masks(root):
    for path in (root / "lung_masks").iterdir():
        path.unlink()
    assert rsna.load_records(root)["lungs"].isna().all()


def test_mapping_file_gives_the_patients_of_nih(root):
    # Two examinations of NIH's patient 14706, one of patient 2; the others are not listed.
    entries = [
        {"subset_img_id": _id(0), "img_id": "00014706_008.png"},
        {"subset_img_id": _id(1), "img_id": "00014706_021.png"},
        {"subset_img_id": _id(2), "img_id": "00000002_000.png"},
    ]
    path = root / "pneumonia-challenge-dataset-mappings_2018.json"
    path.write_text(json.dumps(entries))
    assert rsna.load_records(root)["patient"].tolist()[:4] == ["14706", "14706", "2", _id(3)]
    for damaged in ('[{"img_id": 3}]', "[1]", "1", '[{"subset_img_id": "a", "img_id": "x_1"}]'):
        path.write_text(damaged)
        with pytest.raises(InputError, match="subset_img_id and img_id"):
            rsna.load_records(root)


def test_images_that_are_not_on_disk_are_left_out(root, caplog):
    (root / "stage_2_train_images" / f"{_id(3)}.dcm").unlink()
    table = rsna.load_records(root)
    assert len(table) == 11
    assert _id(3) not in set(table["patient"])
    assert "1 of 12 labelled images" in caplog.text


def test_unreadable_header_leaves_unknowns_for_the_decoder_to_name(root, caplog):
    path = root / "stage_2_train_images" / f"{_id(0)}.dcm"
    path.write_text("this is no DICOM file\n" * 20)
    row = rsna.load_records(root).iloc[0]
    assert np.isnan(row["age"])
    assert row["sex"] is None
    assert (row["mask"].height, row["mask"].width) == (1024, 1024)
    assert "1 of 12 DICOM headers cannot be read" in caplog.text
    with pytest.raises(images.ImageError, match="a text file"):
        images.read_image(row["image"])


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        (_LABELS, "patientId,x", "patient,x", "the column 'patientId', found 'patient', 'x'"),
        (_LABELS, "Target", "target", "the column 'Target'"),
        (_LABELS, "12.0,20.0,16.0,20.0,1", "12.0,20.0,16.0,20.0,2", "Target of 0 or 1.*line 3"),
        (_LABELS, "12.0,20.0,16.0,20.0,1", "12.0,20.0,16.0,20.0,0", "a box with Target 1 and none"),
        (_LABELS, "12.0,20.0,16.0,20.0,1", "12.0,20.0,16.0,,1", "a box with Target 1 and none"),
        (_LABELS, "12.0,20.0,16.0,20.0,1", "12.0,20.0,wide,20.0,1", "numbers for x, y, width"),
        (_LABELS, "12.0,20.0,16.0,20.0,1", "12.0,20.0,60.0,20.0,1", "inside the 64x64 image"),
        (_LABELS, "12.0,20.0,16.0,20.0,1", "12.0,20.0,-6.0,20.0,1", "a box with finite"),
        (_LABELS, f"{_id(0)},,,,,0\n", f"{_id(0)},,,,,0\n" * 2, "each row once.*line 3"),
        (_LABELS, f"{_id(0)},,", f"{_id(1)},,", "one Target per patientId"),
        (_LABELS, f"{_id(0)},,,,,0\n", "", f"found {_id(0)} missing from {_LABELS}"),
        (_CLASSES, f"{_id(0)},Normal\n", "", f"found {_id(0)} missing from {_CLASSES}"),
        (_CLASSES, f"{_id(0)},Normal", f"{_id(0)},Healthy", "one of the classes.*Healthy"),
        (_CLASSES, f"{_id(2)},No Lung Opacity / Not Normal", f"{_id(0)},Lung Opacity", "one class"),
        (
            _CLASSES,
            f"{_id(0)},Normal",
            f"{_id(0)},Lung Opacity",
            "Target 0 and class 'Lung Opacity",
        ),
    ],
)
def test_spoiled_tables(root, file, old, new, reason):
    source_folders.edit(root / file, old, new)
    with pytest.raises(InputError, match=reason) as error:
        rsna.load_records(root)
    assert "\n" not in str(error.value)


def test_missing_files(root):
    with pytest.raises(InputError, match="expected a folder at .*absent, found nothing"):
        rsna.load_records(root / "absent")
    (root / _CLASSES).unlink()
    with pytest.raises(InputError, match=f"{_CLASSES}: expected a CSV file, found: no such file"):
        rsna.load_records(root)


def test_no_image_on_disk(root):
    for path in (root / "stage_2_train_images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="found none of the 12 that are labelled"):
        rsna.load_records(root)
    (root / "stage_2_train_images").rmdir()
    with pytest.raises(InputError, match="expected the folder stage_2_train_images"):
        rsna.load_records(root)


@pytest.fixture
def processed(root, monkeypatch):
    """The same data as Kaggle's processed dataset has them, at the size of the test data."""
    monkeypatch.setattr(rsna, "_SIDE", 64)
    table = rsna.load_records(root).set_index("patient")
    labels = pd.read_csv(root / _LABELS, dtype=str)
    kinds = pd.read_csv(root / _CLASSES, dtype=str).drop_duplicates()
    about = table[["age", "sex"]].assign(age=table["age"].astype(int), position=table["view"])
    labels = labels.merge(kinds).merge(about, left_on="patientId", right_index=True)
    labels.to_csv(root / "stage2_train_metadata.csv", index=False)
    for name, path in table["image"].items():
        png = root / "Training" / "Images" / f"{name}.png"
        png.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(images.read_image(path)[:, :, 0]).save(png)
    for name in (_LABELS, _CLASSES):
        (root / name).unlink()
    return root


def test_the_processed_dataset_holds_the_same(processed):
    expected = rsna.load_records(source_folders.TESTDATA / "rsna").set_index("patient")
    table = rsna.load_records(processed).set_index("patient").loc[expected.index]
    assert table["image"].iloc[0] == str(processed / "Training" / "Images" / f"{_id(0)}.png")
    for name in (*records.findings(expected), "age", "sex", "view", "mask"):
        assert table[name].tolist() == expected[name].tolist(), name
    assert table["lungs"].notna().all()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (",F,", ",X,", "F or M as sex"),
        (",30,", ",old,", "an age such as 58"),
        ("Normal", "Healthy", "one of the classes"),
        ("position", "view", "the column 'position'"),
    ],
)
def test_spoiled_table_of_the_processed_dataset(processed, old, new, reason):
    source_folders.edit(processed / "stage2_train_metadata.csv", old, new)
    with pytest.raises(InputError, match=f"stage2_train_metadata.csv: expected .*{reason}"):
        rsna.load_records(processed)


def test_processed_images_of_another_size_would_not_fit_their_boxes(processed):
    path = processed / "Training" / "Images" / f"{_id(1)}.png"
    PIL.Image.open(path).resize((32, 32)).save(path)
    with pytest.raises(InputError, match=f"{_id(1)}.png: expected 64x64 pixels .*found 32x32"):
        rsna.load_records(processed)
    (processed / "Training" / "Images").rename(processed / "Training" / "images")
    with pytest.raises(InputError, match="expected the folder Training/Images"):
        rsna.load_records(processed)


def test_real_challenge_files(recwarn):
    table = rsna.load_records(real_data.real_data("rsna"))
    assert len(table) == 223
    assert table["Lung Opacity"].sum() == 82
    assert table["Normal"].sum() == 51
    assert sum(len(mask.boxes) for mask in table["mask"]) == 263 - (223 - 82)
    assert table["age"].between(1, 100).all()
    assert set(table["sex"]) == {"F", "M"}
    assert set(table["view"]) == {"AP", "PA"}
    assert not [warning for warning in recwarn if "VR AS" in str(warning.message)]


def test_citation():
    assert "Shih" in rsna.cite()
