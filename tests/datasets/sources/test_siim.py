"""The SIIM-ACR loader on its layout, and on files that someone has spoiled."""

from __future__ import annotations

import pathlib

import pytest

from tests import real_data
from tests.datasets import source_folders
from tffcxr.datasets.imaging import images
from tffcxr.datasets.sources import siim
from tffcxr.errors import InputError

_ID = "1.2.826.0.1.3680043.10.9999.2"


@pytest.fixture
def root(tmp_path):
    return source_folders.copy("siim", tmp_path)


def test_records():
    table = siim.load_records(source_folders.TESTDATA / "siim")
    assert len(table) == 12
    assert table["Pneumothorax"].tolist() == [1.0, 0.0] * 5 + [0.0] * 2
    assert table["patient"].nunique() == 10
    assert (table["patient"][9:] == "siim-09").all()
    # "062Y", "018M" and "45".
    assert table["age"].tolist()[:3] == [62.0, 1.5, 45.0]
    assert table["sex"].tolist()[:2] == ["M", "F"]
    assert [mask.empty for mask in table["mask"]] == [not found for found in table["Pneumothorax"]]


def test_masks_lie_where_they_are_drawn():
    for row in siim.load_records(source_folders.TESTDATA / "siim").to_dict("records"):
        image = images.read_image(row["image"])[:, :, 0]
        region = row["mask"].to_array()
        assert region.shape == image.shape
        if row["Pneumothorax"]:
            lungs = row["lungs"].to_array()
            assert (lungs | ~region).all()
            assert image[region].mean() < image[lungs & ~region].mean() - 30


def test_several_rows_of_an_image_are_one_record_with_their_union():
    table = siim.load_records(source_folders.TESTDATA / "siim")
    annotation = table["mask"][4]
    assert len(annotation.runs) == 2
    lengths = sum(sum(map(int, code.split()[1::2])) for code in annotation.runs)
    assert annotation.to_array().sum() == lengths


def test_flat_folder_and_second_stage_names(root):
    flat = root / "stage_2_images"
    flat.mkdir()
    for path in (root / "dicom-images-train").rglob("*.dcm"):
        path.rename(flat / path.name)
    for path in sorted((root / "dicom-images-train").rglob("*"), reverse=True):
        path.rmdir()
    (root / "dicom-images-train").rmdir()
    (root / "train-rle.csv").rename(root / "stage_2_train.csv")
    source_folders.edit(root / "stage_2_train.csv", ", Encoded", ",Encoded")
    table = siim.load_records(root)
    assert table["Pneumothorax"].sum() == 5
    assert {pathlib.Path(path).parent for path in table["image"]} == {flat}


def test_annotated_images_that_are_not_on_disk_are_left_out(root, caplog):
    next((root / "dicom-images-train").rglob(f"{_ID}.1.dcm")).unlink()
    assert len(siim.load_records(root)) == 11
    assert "1 of 12 labelled images" in caplog.text


def test_image_without_patient_id_stands_for_its_own(root):
    path = next((root / "dicom-images-train").rglob(f"{_ID}.1.dcm"))
    path.write_text("this is no DICOM file")
    assert siim.load_records(root)["patient"][0] == f"{_ID}.1"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("ImageId", "Image", "the column 'ImageId', found 'Image', 'EncodedPixels'"),
        (" EncodedPixels", "rle", "the column 'EncodedPixels', found 'ImageId', 'rle'"),
        (f"{_ID}.2,-1", f"{_ID}.2,", "run lengths or -1, found in line 3"),
        (f"{_ID}.2,-1", f"{_ID}.1,-1", "of which both were found"),
        (f"{_ID}.2,-1", f"{_ID}.2,-1\n{_ID}.2,-1", "each row once, found in line 4"),
        (f"{_ID}.2,-1", f"{_ID}.2,5", f"{_ID}.2: expected run lengths as pairs"),
        (f"{_ID}.2,-1", f"{_ID}.2,4000 200", "within the image's 4096 pixels"),
        (f"{_ID}.2,-1", f"{_ID}.2,4 x", "whole numbers, found '4 x'"),
        (f"{_ID}.2,-1", f"{_ID}.2,4 -1", "0 or more, found -1"),
    ],
)
def test_spoiled_table(root, old, new, reason):
    source_folders.edit(root / "train-rle.csv", old, new)
    with pytest.raises(InputError, match=reason) as error:
        siim.load_records(root)
    assert "\n" not in str(error.value)


def test_missing_files(root):
    (root / "train-rle.csv").rename(root / "other.csv")
    with pytest.raises(InputError, match="expected train-rle.csv or stage_2_train.csv in"):
        siim.load_records(root)


def test_one_image_in_two_folders(root):
    path = next((root / "dicom-images-train").rglob(f"{_ID}.1.dcm"))
    (root / "dicom-images-train" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=f"one file named {_ID}.1.dcm, found"):
        siim.load_records(root)


def test_no_image_on_disk(root):
    for path in (root / "dicom-images-train").rglob("*.dcm"):
        path.unlink()
    with pytest.raises(InputError, match="found none of the 12 that are labelled"):
        siim.load_records(root)


def test_real_challenge_files():
    table = siim.load_records(real_data.real_data("siim"))
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["age"], row["sex"], row["view"], row["Pneumothorax"]) == (62.0, "M", "PA", 0.0)
    assert (row["mask"].height, row["mask"].width) == (1024, 1024)
    assert images.read_image(row["image"]).shape == (1024, 1024, 1)


def test_citation():
    assert "SIIM-ACR" in siim.cite()
