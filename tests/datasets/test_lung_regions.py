"""Cleaning keeps two lungs whatever lies around them; true masks are plausible, wrong ones not."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from scipy import ndimage

from tests.datasets import source_folders
from tests.real_data import real_data
from tffcxr.datasets import loaders, lung_regions
from tffcxr.datasets.imaging import images

SIZE = 64


def _mask(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def _lungs(scale=1.0, size=SIZE):
    """Two ellipses of 0.15 of the image's area each."""
    drawn = np.zeros((size, size), np.uint8)
    axes = (int(0.16 * size), int(0.31 * size * scale))
    for centre in (0.27, 0.73):
        cv2.ellipse(drawn, (int(centre * size), size // 2), axes, 0, 0, 360, 1, -1)
    return drawn > 0


def _noise(seed, sigma=1.5, size=SIZE):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), sigma)
    return smooth / smooth.std()


def test_islands_go_and_holes_are_filled():
    found = lung_regions.clean(
        _mask(
            "####.....#####..",
            "#..#.....#####..",
            "####..#..#####..",
            "####.....####..#",
        )
    )
    np.testing.assert_array_equal(
        found,
        _mask(
            "####.....#####..",
            "####.....#####..",
            "####.....#####..",
            "####.....####...",
        ),
    )


def test_of_three_regions_the_smallest_goes():
    found = lung_regions.clean(_mask("###.##.####", "###.##.####"))
    np.testing.assert_array_equal(found, _mask("###....####", "###....####"))


def test_regions_that_touch_at_a_corner_are_one():
    # 8 and 4 pixels; were the corner no bridge, the two of 4 and the last would be of one size.
    touching = _mask("##...##", "##...##", "..##...", "..##..#")
    np.testing.assert_array_equal(
        lung_regions.clean(touching), _mask("##...##", "##...##", "..##...", "..##...")
    )


def test_a_region_enclosed_by_another_belongs_to_it():
    ring = _mask("#####", "#...#", "#.#.#", "#...#", "#####")
    assert lung_regions.clean(ring).all()


def test_what_a_filled_hole_makes_small_goes():
    mask = np.zeros((40, 40), bool)
    mask[:30, :30] = True
    mask[1:29, 1:29] = False  # a frame of 116 pixels, 900 when it is filled
    mask[35:, 35:] = True  # 25 pixels: more than a tenth of the frame, less of the square
    assert lung_regions.clean(mask).sum() == 900


def test_empty_stays_empty():
    assert not lung_regions.clean(np.zeros((5, 7), bool)).any()


@pytest.mark.parametrize("seed", range(40))
def test_properties_of_cleaning(seed):
    noise = _noise(seed, sigma=1 + seed % 4)
    mask = _lungs() ^ (noise > 1.2) if seed % 2 else noise > 0.4
    found = lung_regions.clean(mask)
    np.testing.assert_array_equal(lung_regions.clean(found), found)
    assert not (found & ~ndimage.binary_fill_holes(mask)).any()  # nothing new but filled holes
    np.testing.assert_array_equal(ndimage.binary_fill_holes(found), found)
    _, regions = ndimage.label(found, np.ones((3, 3)))
    assert 1 <= regions <= 2
    for turn in (np.fliplr, np.flipud, np.transpose):
        np.testing.assert_array_equal(lung_regions.clean(turn(mask)), turn(found))


def test_cleaning_takes_back_what_was_added_to_the_lungs():
    specks = _noise(0, 0.5) > 2.0
    dirty = _lungs() | (specks & ~ndimage.binary_dilation(_lungs(), iterations=3))
    dirty &= ~(specks & ndimage.binary_erosion(_lungs(), iterations=2))
    assert (dirty != _lungs()).sum() > 20
    np.testing.assert_array_equal(lung_regions.clean(dirty), _lungs())


def _left_only(lungs):
    return lungs & (np.arange(SIZE) < SIZE // 2)


def _small_right(lungs):
    small = cv2.erode(lungs.astype(np.uint8), np.ones((11, 11))) > 0
    return _left_only(lungs) | (small & ~_left_only(np.ones_like(lungs)))


def _uneven(lungs):
    """Of one lung the lower part is left, of the other the upper part."""
    rows, left = np.arange(SIZE)[:, None], np.arange(SIZE) < SIZE // 2
    return lungs & np.where(left, rows < 38, rows > 25)


def _shreds(lungs):
    """Of one lung a comb is left: its outer part, and every fourth row."""
    comb = (np.arange(SIZE)[:, None] % 4 == 0) | (np.arange(SIZE) < 12)
    return lungs & (comb | (np.arange(SIZE) > SIZE // 2))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (np.zeros_like, "empty"),
        (np.ones_like, "100 % of the image, expected 6 % to 75 %"),
        (lambda lungs: cv2.erode(lungs.astype(np.uint8), np.ones((15, 15))) > 0, "of the image, "),
        (np.logical_not, "100 % of the image's edge, expected at most 15 %"),
        (_left_only, "100 % on the left, expected 20 % to 80 %"),
        (lambda lungs: np.fliplr(_left_only(lungs)), "0 % on the left, expected 20 % to 80 %"),
        (_small_right, "one lung 2. % of the other, expected at least 30 %"),
        (
            lambda lungs: lungs & (np.arange(SIZE) < 34)[:, None],
            "too flat: .. % of the image's height, expected at least 40 %",
        ),
        (_uneven, "beside each other in 3. % of their height, expected at least 50 %"),
        (_shreds, "a lung .. % of its convex hull, expected at least 60 %"),
    ],
)
def test_wrong_masks_are_called_so(spoil, reason):
    assert lung_regions.implausible(_lungs()) is None
    with_reason = lung_regions.implausible(spoil(_lungs()).astype(bool))
    assert with_reason is not None
    assert re.search(reason, with_reason), with_reason


def test_lungs_that_touch_are_plausible():
    joined = _lungs()
    joined[30:34, 20:44] = True
    assert ndimage.label(joined)[1] == 1
    assert lung_regions.implausible(joined) is None


def test_a_mask_of_odd_width_is_balanced():
    lungs = _lungs(size=63)
    lungs |= np.fliplr(lungs)
    assert lung_regions._share_left(lungs) == 0.5


@pytest.mark.parametrize("size", [64, 256])
def test_no_true_mask_is_implausible(size):
    records = loaders.load_records("lungs", real_data("covid_lungs"), "covid")
    assert len(records) == 88
    _check_all_plausible(records, size)


@pytest.mark.parametrize("name", ["montgomery", "shenzhen", "rsna", "siim"])
def test_no_mask_of_the_test_data_is_implausible(name):
    records = loaders.load_records(name, source_folders.TESTDATA / name, name)
    assert records["lungs"].notna().any()
    _check_all_plausible(records, 64)


def _check_all_plausible(records, size):
    for region in records["lungs"].dropna():
        mask = region.to_array()
        square = images.fit_to_square(mask, size, "pad", is_mask=True)
        found = lung_regions.clean(square)[images.place_in_square(mask.shape, size, "pad")]
        assert lung_regions.implausible(found) is None, region
        # The smaller pieces of a true mask: at most this much of it is lost.
        assert np.count_nonzero(found) >= 0.97 * np.count_nonzero(square)
