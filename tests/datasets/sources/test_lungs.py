"""The loader of plain image and mask folders, on its layout, on spoiled files, on real ones."""

from __future__ import annotations

import logging

import numpy as np
import PIL.Image
import pytest

from tests import real_data
from tests.datasets import source_folders
from tffcxr.datasets import records, splits
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.imaging import images
from tffcxr.datasets.sources import lungs
from tffcxr.errors import InputError


@pytest.fixture
def root(tmp_path):
    return source_folders.copy("lungs", tmp_path)


def test_records():
    table = lungs.load_records(source_folders.TESTDATA / "lungs")
    assert records.findings(table) == []
    assert table["patient"].tolist() == ["a", "a", "b", "c", "e.original", "fig-7"]
    wide = table["mask"][2]
    assert wide == areas.MaskFile(str(source_folders.TESTDATA / "lungs" / "masks" / "b.png"))
    assert wide.to_array().shape == (52, 64)


@pytest.mark.parametrize(
    ("names", "patient"),
    [
        (["case-7-day2-PA", "case-7-day5", "case-7"], "case-7"),
        (["x_24-day-1", "x_24-12-hours", "x_24-3-days", "x_24-admission"], "x_24"),
        (["nejm_f1-PA", "nejm_f3-L", "nejm_f4"], "nejm"),
        (["1.paper.pdf-000-fig1b", "1.paper.pdf-003-a2"], "1.paper.pdf"),
        (["ab-0001-m-b", "ab-0001-m-c"], "ab-0001-m"),
        (["7EF28E12-F628-4BEC-A8C5-E6277C2E4F6C"], "7EF28E12-F628-4BEC-A8C5-E6277C2E4F6C"),
        (["CHNCXR_0001_0"], "CHNCXR_0001_0"),
        (
            ["8FDE8DBA-CFBD-4B4C-B1A4-6F36A93B7E87", "9C34AF49-E589-44D5-92D3-168B3B04E4A6"],
            "8FDE8DBA-CFBD-4B4C-B1A4-6F36A93B7E87",
        ),
        (["covid-19-pneumonia-2"], "covid-19-pneumonia-2"),
        (["day-2"], "day-2"),
        (["-a"], "-a"),
    ],
)
def test_patient_by_name(names, patient):
    assert {lungs.patient_of(name) for name in names} == {patient}


def test_metadata_says_which_patient(root):
    names = ["a-day0", "a-day4-PA", "b", "c-PA", "fig-7", "e.original"]
    rows = [f"{7 + index % 4},{name}.jpeg,,x" for index, name in enumerate(names)]
    path = root / "metadata.csv"
    path.write_text("\n".join(["patientid,filename,age,notes", *rows, "1,other.png,,", rows[0]]))
    table = lungs.load_records(root).set_index("image")["patient"]
    found = {image.rsplit("/", 1)[1].rsplit(".", 1)[0]: patient for image, patient in table.items()}
    assert found == dict(zip(names, ["7", "8", "9", "10", "7", "8"]))
    source_folders.edit(path, "9,b.jpeg", "9,z.jpeg")
    with pytest.raises(InputError, match=r"metadata.csv: expected a row .*b.jpg \(1 of 6 images\)"):
        lungs.load_records(root)
    source_folders.edit(path, "9,z.jpeg", "9,a-day0.jpeg")
    with pytest.raises(InputError, match="one patientid per filename, found in line 4"):
        lungs.load_records(root)
    source_folders.edit(path, "9,a-day0", ",a-day0")
    with pytest.raises(InputError, match="expected a filename and a patientid, found in line 4"):
        lungs.load_records(root)


def test_image_without_mask(root):
    (root / "masks" / "b.png").unlink()
    with pytest.raises(InputError, match=r"lungs: expected a mask .*images/b.jpg \(1 of 6 images"):
        lungs.load_records(root)


def test_mask_without_image_is_counted(root, caplog):
    (root / "images" / "b.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(lungs.load_records(root)) == 5
    assert "1 masks have no image and are left out, such as b" in caplog.text


def test_mask_of_another_size(root):
    # The same number of pixels, but lying on its side.
    mask = np.asarray(PIL.Image.open(root / "masks" / "b.png"))
    PIL.Image.fromarray(mask.T.copy()).save(root / "masks" / "b.png")
    reason = "masks/b.png: expected a mask of 64x52 pixels like its image .*b.jpg, found 52x64"
    with pytest.raises(InputError, match=reason):
        lungs.load_records(root)


def test_missing_and_empty_folders(root, tmp_path):
    with pytest.raises(InputError, match="expected a folder at .*none, found nothing"):
        lungs.load_records(tmp_path / "none")
    for path in (root / "masks").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"expected \*.png or \*.jpg in .*masks, found none"):
        lungs.load_records(root)
    (root / "masks").rmdir()
    with pytest.raises(InputError, match="expected a folder at .*masks, found nothing"):
        lungs.load_records(root)


def test_one_name_twice(root):
    (root / "images" / "b.png").write_bytes((root / "images" / "b.jpg").read_bytes())
    with pytest.raises(InputError, match="expected one file b in .*images, found b.jpg and b.png"):
        lungs.load_records(root)


def test_real_images_all_have_a_mask_of_their_size_and_of_two_values():
    folder = real_data.real_data("covid_lungs")
    table = lungs.load_records(folder)
    assert len(table) == len(list((folder / "images").iterdir())) == 88
    coverage = []
    for row in table.to_dict("records"):
        mask = row["mask"].to_array()  # Refuses more than two values.
        assert mask.shape == images.read_image(row["image"]).shape[:2]
        coverage.append(mask.mean())
    assert 0.1 < min(coverage) < 0.3 < max(coverage) < 0.7


def test_real_patients_by_name():
    table = lungs.load_records(real_data.real_data("covid_lungs"))
    sizes = table["patient"].value_counts()
    assert len(sizes) == 59
    assert sizes.max() == 5
    # Four images of the first patient of the United States.
    assert sizes["nejmoa2001191"] == 4
    parts = splits.split_patients(table, {"train": 0.8, "test": 0.2}, seed=1, stratify=None)
    assert (parts.groupby("patient")["split"].nunique() == 1).all()


def test_citation():
    assert "COVID-19 Image Data Collection" in lungs.cite()
