"""Agreement of heat and region, and focus of the heat, counted by hand."""

import math

import numpy as np
import pytest

from tffcxr.explanation import localisation

HEAT = np.array([[0.0, 1.0], [0.5, 0.5]], np.float32)


def _region(*rows):
    return np.array(rows, bool)


@pytest.mark.parametrize(
    ("region", "share"),
    [
        (_region([0, 1], [0, 0]), 0.5),
        (_region([0, 0], [1, 1]), 0.5),
        (_region([1, 0], [0, 1]), 0.25),
        (_region([1, 0], [0, 0]), 0.0),
        (_region([1, 1], [1, 1]), 1.0),
    ],
)
def test_share_inside(region, share):
    assert localisation.share_inside(HEAT, region) == pytest.approx(share)


def test_share_does_not_depend_on_the_scale_of_the_heat():
    region = _region([0, 1], [1, 0])
    assert localisation.share_inside(HEAT * 1e-6, region) == pytest.approx(0.75)


def test_many_faint_pixels_are_not_lost_in_the_sum():
    heat = np.full((2048, 2048), 1e-3, np.float32)
    region = np.zeros_like(heat, bool)
    region[:, :512] = True
    assert localisation.share_inside(heat, region) == pytest.approx(0.25, rel=1e-9)


@pytest.mark.parametrize(
    ("heat", "region", "cause"),
    [
        (np.zeros((2, 2)), np.ones((2, 2), bool), "there is no heat"),
        (np.ones((2, 2)), np.zeros((2, 2), bool), "the region is empty"),
    ],
)
def test_undefined_is_nan_with_a_warning(heat, region, cause):
    with pytest.warns(RuntimeWarning, match=cause):
        assert math.isnan(localisation.share_inside(heat, region))


@pytest.mark.parametrize(
    ("heat", "region", "message"),
    [
        (HEAT, np.ones((2, 3), bool), "two arrays"),
        (HEAT[..., None], np.ones((2, 2, 1), bool), "two arrays"),
        (HEAT, np.ones((2, 2)), "expected bool"),
        (HEAT - 1, np.ones((2, 2), bool), "not negative"),
        (HEAT * np.nan, np.ones((2, 2), bool), "finite"),
    ],
)
def test_wrong_arrays_are_refused(heat, region, message):
    with pytest.raises(ValueError, match=message):
        localisation.share_inside(heat, region)


ONE_PIXEL = np.zeros((4, 6), np.float32)
ONE_PIXEL[2, 3] = 0.7


@pytest.mark.parametrize(
    ("heat", "entropy", "half_area"),
    [
        (np.full((4, 6), 0.3, np.float32), math.log(24), 0.5),
        (np.full((224, 224), 1 / 3, np.float32), math.log(224 * 224), 0.5),
        (np.ones((3, 3)), math.log(9), 5 / 9),  # Half of nine pixels needs five.
        (ONE_PIXEL, 0.0, 1 / 24),
        # Shares 0, 1/2, 1/4 and 1/4: ln 2 / 2 + 2 ln 4 / 4.
        (HEAT, 1.5 * math.log(2), 0.25),
    ],
)
def test_focus(heat, entropy, half_area):
    assert localisation.entropy(heat) == pytest.approx(entropy, abs=1e-6)
    assert localisation.half_area(heat) == half_area
    assert localisation.half_area(1e-6 * heat[::-1]) == half_area  # Neither scale nor place count.
    assert localisation.entropy(1e-6 * heat[::-1]) == pytest.approx(entropy, abs=1e-6)


@pytest.mark.parametrize("measure", [localisation.entropy, localisation.half_area])
def test_focus_of_no_heat_is_nan_with_a_warning(measure):
    with pytest.warns(RuntimeWarning, match="there is no heat"):
        assert math.isnan(measure(np.zeros((2, 2))))
    with pytest.raises(ValueError, match="not negative"):
        measure(HEAT - 1)
