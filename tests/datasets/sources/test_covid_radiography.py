"""The COVID-19 Radiography Database loader on its layout, and on files that someone spoiled."""

from __future__ import annotations

import shutil

import numpy as np
import PIL.Image
import pytest

from tests.datasets import source_folders
from tffcxr.clients.shards import decoding
from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.imaging import images
from tffcxr.datasets.sources import covid_radiography
from tffcxr.errors import InputError

_CLASSES = ["COVID-19", "Lung Opacity", "Normal", "Viral Pneumonia"]


@pytest.fixture
def root(tmp_path):
    """Of all four classes; the files of one cannot be among the test data for the space in it."""
    copied = source_folders.copy("covid_radiography", tmp_path)
    for kind in ("images", "masks"):
        target = copied / "Viral Pneumonia" / kind / "Viral Pneumonia-4.png"
        target.parent.mkdir(parents=True)
        shutil.copy(copied / "Normal" / kind / "Normal-3.png", target)
    return copied


def _resize(path, width, height):
    PIL.Image.open(path).resize((width, height), PIL.Image.NEAREST).save(path)


def test_records(root):
    table = covid_radiography.load_records(root)
    assert records.findings(table) == _CLASSES
    np.testing.assert_array_equal(table[_CLASSES].to_numpy(), np.eye(4))
    assert table["patient"].tolist() == [
        "COVID/COVID-1",
        "Lung_Opacity/Lung_Opacity-2",
        "Normal/Normal-3",
        "Viral Pneumonia/Viral Pneumonia-4",
    ]


def test_coarse_masks_lie_on_the_lungs_of_the_larger_images():
    table = covid_radiography.load_records(source_folders.TESTDATA / "covid_radiography")
    for row in table.to_dict("records"):
        image = images.read_image(row["image"])[:, :, 0]
        lungs = row["mask"].to_array()
        assert image.shape == lungs.shape == (299, 299)
        # The image was drawn at its own size: all but the edge agrees.
        assert (lungs != (image < 110)).mean() < 0.02
        job = decoding.Job(row["image"], 64, "pad", row["mask"])
        assert isinstance(decoding.decode(job), decoding.Decoded)


def test_a_mask_of_the_size_of_its_image_is_taken_as_it_is(root):
    path = root / "Normal" / "masks" / "Normal-3.png"
    _resize(path, 299, 299)
    table = covid_radiography.load_records(root)
    assert table["mask"][2] == areas.MaskFile(str(path))
    assert table["mask"][0] == areas.CoarseMask(
        str(root / "COVID" / "masks" / "COVID-1.png"), 299, 299, 256, 256
    )


@pytest.mark.parametrize("side", [255, 128, 300])
def test_no_other_size_is_enlarged(root, side):
    _resize(root / "Normal" / "masks" / "Normal-3.png", side, side)
    reason = f"masks/Normal-3.png: expected a mask of 299x299 .*found {side}x{side}"
    with pytest.raises(InputError, match=reason):
        covid_radiography.load_records(root)


def test_an_image_that_is_not_square_needs_a_mask_of_its_size(root):
    _resize(root / "COVID" / "images" / "COVID-1.png", 299, 250)
    with pytest.raises(InputError, match="COVID-1.png: expected a mask of 299x250 .*256x256"):
        covid_radiography.load_records(root)


def test_a_damaged_image_is_left_to_the_decoder(root):
    path = root / "COVID" / "images" / "COVID-1.png"
    path.write_bytes(path.read_bytes()[:20])
    row = covid_radiography.load_records(root).iloc[0]
    result = decoding.decode(decoding.Job(row["image"], 64, "pad", row["mask"]))
    assert isinstance(result, decoding.Rejected)
    assert result.what == "image"


def test_image_without_mask(root):
    (root / "COVID" / "masks" / "COVID-1.png").rename(root / "COVID" / "masks" / "COVID-2.png")
    with pytest.raises(InputError, match=r"a mask in .*COVID/masks .*COVID-1.png \(1 of 1 images"):
        covid_radiography.load_records(root)


def test_classes_that_are_there(root, tmp_path):
    (root / "COVID").rename(tmp_path / "COVID")
    assert covid_radiography.load_records(root)["COVID-19"].tolist() == [0.0, 0.0, 0.0]
    (root / "Normal").rename(root / "Healthy")
    with pytest.raises(InputError, match="expected folders COVID, Lung_Opacity, .*found Healthy"):
        covid_radiography.load_records(root)
    with pytest.raises(InputError, match="expected folders COVID, .*found none"):
        covid_radiography.load_records(root / "Healthy")


def test_missing_masks_folder(root):
    (root / "COVID" / "masks").rename(root / "COVID" / "mask")
    with pytest.raises(InputError, match="expected a folder at .*COVID/masks, found nothing"):
        covid_radiography.load_records(root)


def test_citation():
    assert "Chowdhury" in covid_radiography.cite()
