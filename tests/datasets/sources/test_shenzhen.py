"""The Shenzhen Hospital loader on its layout, and on files that someone has spoiled."""

from __future__ import annotations

import logging

import PIL.Image
import pytest

from tests.datasets import source_folders
from tffcxr.datasets import records
from tffcxr.datasets.sources import shenzhen
from tffcxr.errors import InputError


@pytest.fixture
def root(tmp_path):
    return source_folders.copy("shenzhen", tmp_path)


def test_images_without_mask_stay_and_are_counted(caplog):
    with caplog.at_level(logging.INFO):
        table = shenzhen.load_records(source_folders.TESTDATA / "shenzhen")
    assert records.findings(table) == ["Tuberculosis"]
    assert table["patient"].tolist() == ["0001", "0002", "0003", "0004", "0005"]
    assert table["Tuberculosis"].tolist() == [0.0, 1.0, 0.0, 1.0, 0.0]
    assert table["lungs"].isna().tolist() == [False, False, True, False, False]
    assert "shenzhen: 1 of 5 images have no mask of the lungs" in caplog.text


def test_mask_is_the_file_of_the_same_name():
    table = shenzhen.load_records(source_folders.TESTDATA / "shenzhen")
    for row in table[table["lungs"].notna()].to_dict("records"):
        expected = row["image"].replace("CXR_png", "mask").replace(".png", "_mask.png")
        assert row["mask"].files == (expected,)


def test_no_image_has_a_mask(root):
    for path in (root / "mask").iterdir():
        path.rename(path.with_name(path.name.replace("CHNCXR_0", "CHNCXR_1")))
    with pytest.raises(InputError, match="for some images of .*CXR_png, found none for any of 5"):
        shenzhen.load_records(root)


def test_mask_without_image_is_counted(root, caplog):
    (root / "CXR_png" / "CHNCXR_0001_0.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(shenzhen.load_records(root)) == 4
    assert "1 masks have no image and are left out, such as CHNCXR_0001_0" in caplog.text


def test_mask_of_another_size(root):
    path = root / "mask" / "CHNCXR_0002_1_mask.png"
    PIL.Image.open(path).resize((32, 32), PIL.Image.NEAREST).save(path)
    with pytest.raises(InputError, match="CHNCXR_0002_1_mask.png: .* 64x64 .*found 32x32"):
        shenzhen.load_records(root)


def test_names_of_masks_without_the_ending_do_not_count(root):
    for path in (root / "mask").iterdir():
        path.rename(path.with_name(path.name.replace("_mask", "")))
    with pytest.raises(InputError, match=r"expected \*_mask.png .*mask, found none"):
        shenzhen.load_records(root)


def test_missing_folder(root):
    (root / "mask").rename(root / "masks")
    with pytest.raises(InputError, match="shenzhen: expected a folder at .*mask, found nothing"):
        shenzhen.load_records(root)


def test_citation():
    assert "Stirenko" in shenzhen.cite()
