"""Phantoms of Shenzhen and Montgomery County, as their loaders read them."""

import numpy as np
from PIL import Image
import pytest

from tffcxr.datasets import loaders
from tffcxr.datasets.phantoms import phantom


@pytest.fixture(name="root", scope="module")
def _root(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms")
    phantom.write_shenzhen(root / "shenzhen", 24, seed=3, size=64, workers=1)
    phantom.write_montgomery(root / "montgomery", 6, seed=3, size=64, workers=1)
    return root


@pytest.mark.parametrize(("loader", "patients"), [("shenzhen", 24), ("montgomery", 6)])
def test_half_of_the_patients_are_ill_and_each_has_an_image(root, loader, patients):
    table = loaders.load_records(loader, root / loader, "north")
    assert table["patient"].nunique() == len(table) == patients
    assert table["Tuberculosis"].sum() == patients / 2


def test_some_of_shenzhens_masks_are_missing_and_none_of_montgomerys(root):
    shenzhen = loaders.load_records("shenzhen", root / "shenzhen", "north")
    assert 1 <= shenzhen["lungs"].isna().sum() <= 10
    montgomery = loaders.load_records("montgomery", root / "montgomery", "south")
    for region in montgomery["lungs"]:
        sides = [np.asarray(Image.open(path)) > 0 for path in region.files]
        assert all(side.any() for side in sides) and not (sides[0] & sides[1]).any()


def test_no_chest_is_in_both_layouts(root):
    first = [
        np.asarray(Image.open(min((root / layout / "CXR_png").glob("*.png"))))
        for layout in ("shenzhen", "montgomery")
    ]
    assert not np.array_equal(*first)
