"""The Montgomery County loader on its layout, and on files that someone has spoiled."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from tests.datasets import source_folders
from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.sources import montgomery
from tffcxr.errors import InputError


@pytest.fixture
def root(tmp_path):
    return source_folders.copy("montgomery", tmp_path)


def test_records():
    table = montgomery.load_records(source_folders.TESTDATA / "montgomery")
    assert records.findings(table) == ["Tuberculosis"]
    assert table["Tuberculosis"].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert table["patient"].tolist() == ["0001", "0002", "0003", "0004"]


def test_mask_is_the_union_of_both_lungs():
    root = source_folders.TESTDATA / "montgomery"
    for row in montgomery.load_records(root).to_dict("records"):
        sides = [areas.MaskFile(path).to_array() for path in row["mask"].files]
        assert ["leftMask" in path for path in row["mask"].files] == [True, False]
        # The patient's left lung is on the right of the image.
        columns = np.arange(64)
        assert [side.any(axis=0) @ columns / side.any(axis=0).sum() > 32 for side in sides] == [
            True,
            False,
        ]
        assert not (sides[0] & sides[1]).any()
        np.testing.assert_array_equal(row["mask"].to_array(), sides[0] | sides[1])


@pytest.mark.parametrize("side", ["leftMask", "rightMask"])
def test_image_without_the_mask_of_a_lung(root, side):
    (root / "ManualMask" / side / "MCUCXR_0003_1.png").unlink()
    reason = rf"a mask in .*{side} for every image, found none for .*MCUCXR_0003_1.png \(1 of 4"
    with pytest.raises(InputError, match=reason):
        montgomery.load_records(root)


def test_mask_of_another_size(root):
    path = root / "ManualMask" / "rightMask" / "MCUCXR_0002_0.png"
    PIL.Image.open(path).resize((32, 32), PIL.Image.NEAREST).save(path)
    with pytest.raises(InputError, match="rightMask/MCUCXR_0002_0.png: .* 64x64 .*found 32x32"):
        montgomery.load_records(root)


def test_other_names(root):
    for folder in (root / "CXR_png", *(root / "ManualMask").iterdir()):
        (folder / "MCUCXR_0001_0.png").rename(folder / "MCUCXR_0001.png")
    with pytest.raises(InputError, match="a name such as MCUCXR_0001_0.png, found .*_0001.png"):
        montgomery.load_records(root)


def test_missing_and_empty_folders(root):
    for path in (root / "CXR_png").iterdir():
        path.unlink()
    (root / "CXR_png" / "Thumbs.db").touch()
    with pytest.raises(InputError, match=r"montgomery: expected \*.png .*CXR_png, found none"):
        montgomery.load_records(root)
    (root / "ManualMask").rename(root / "masks")
    (root / "CXR_png" / "MCUCXR_0001_0.png").touch()
    with pytest.raises(InputError, match="expected a folder at .*leftMask, found nothing"):
        montgomery.load_records(root)


def test_citation():
    assert "Jaeger" in montgomery.cite()
