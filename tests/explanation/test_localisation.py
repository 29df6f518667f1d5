"""Agreement of heat and region, counted by hand."""

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
