"""Hounsfield windows, SUV and MRI become grey by hand-computed values."""

import numpy as np
import pytest

from tffcxr.datasets.volumes import intensity
from tffcxr.errors import InputError


def test_hounsfield_window():
    # Centre 40, width 400: -160 is black, 240 white.
    values = np.array([-1024, -160, -60, 40, 240, 3000])
    assert intensity.from_hounsfield(values, 40, 400).tolist() == [0, 0, 64, 128, 255, 255]


def test_suv():
    assert intensity.from_suv(np.array([-1.0, 0.0, 2.0, 10.0, 50.0]), 10.0).tolist() == [
        0,
        0,
        51,
        255,
        255,
    ]


def test_z_scores_of_the_voxels_that_are_not_zero():
    # 2 and 6: mean 4, standard deviation 2; the zeros do not count and are transformed.
    reference = np.array([0, 0, 0, 2, 6])
    found = intensity.z_scores(np.array([0.0, 4.0, 6.0, 8.0]), reference)
    assert found.tolist() == [-2, 0, 1, 2]


@pytest.mark.parametrize("reference", [np.zeros(4), np.array([0.0, 3.0, 3.0])])
def test_nothing_to_normalise_by(reference):
    with pytest.raises(InputError, match="several values"):
        intensity.z_scores(np.ones(2), reference)


@pytest.mark.parametrize(("black", "white"), [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))])
def test_no_window(black, white):
    with pytest.raises(InputError, match="black below white"):
        intensity.to_grey(np.ones(2), black, white)
