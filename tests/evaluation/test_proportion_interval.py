"""Tests of evaluation.proportion_interval: Wilson's by hand, patients, and shares of 0 and 1."""

import numpy as np
import pytest
from sklearn import exceptions

from tffcxr.evaluation import mean_interval, proportion_interval
from tffcxr.evaluation.proportion_interval import method

_interval = proportion_interval.proportion_interval


def test_an_image_per_patient_has_wilsons_interval():
    # z = 1.95996, z * z / 10 = 0.384146: centre (0.8 + 0.192073) / 1.384146 = 0.716740, half width
    # z * sqrt(0.8 * 0.2 / 10 + 0.384146 / 40) / 1.384146 = 0.226578.
    found = _interval(np.array([1] * 8 + [0] * 2))
    assert found == pytest.approx((0.8, 0.490162, 0.943318), abs=1e-6)
    assert _interval(np.array([1] * 8 + [0] * 2), np.arange(10)) == found
    narrow = _interval(np.array([1] * 8 + [0] * 2), level=0.5)
    assert found.low < narrow.low < 0.8 < narrow.high < found.high


def test_of_all_or_no_image_the_interval_still_has_a_width():
    # (p + z^2 / 2n) / (1 + z^2 / n) and as much below it: 1 / (1 + z^2 / n) to 1.
    assert _interval(np.ones(10)) == pytest.approx((1, 1 / 1.3841459, 1))
    assert _interval(np.zeros(10)) == pytest.approx((0, 0, 1 - 1 / 1.3841459))


def test_several_images_of_a_patient_have_the_bootstraps():
    hits = np.random.default_rng(0).integers(0, 2, 60)
    patients = np.arange(60) // 3
    assert _interval(hits, patients, 50) == mean_interval.mean_interval(hits, patients, 50)
    # Copies of the same images tell nothing new.
    once = _interval(hits[:20])
    copied = _interval(np.tile(hits[:20], 5), np.tile(np.arange(20), 5))
    assert copied[1:] == pytest.approx(once[1:], abs=0.06)


def test_where_all_images_are_hits_the_patients_count():
    assert _interval(np.ones(40), np.arange(40) // 4) == _interval(np.ones(10))


def test_nan_is_left_out_with_its_patient():
    hits = np.array([1.0, 0.0, np.nan, 1.0])
    assert _interval(hits, np.array(["a", "b", "a", "c"])) == _interval(hits[[0, 1, 3]])


def test_nothing_to_share_is_nan_with_a_warning():
    with pytest.warns(exceptions.UndefinedMetricWarning, match="no image"):
        assert np.isnan(_interval(np.array([np.nan]))).all()
    with pytest.warns(exceptions.UndefinedMetricWarning, match="2 patients"):
        found = _interval(np.array([1, 0, 1]), np.array(["a", "a", "b"]))
    assert found.mean == pytest.approx(2 / 3)
    assert np.isnan(found[1:]).all()


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="0, 1 or NaN, found 2"):
        _interval(np.array([0, 2]))
    with pytest.raises(ValueError, match="level between 0 and 1, found 95"):
        _interval(np.ones(3), level=95)


def test_the_text_says_which_interval_it_is():
    assert method(None, 100) == method(np.array(["a", "b"]), 100) == "95 % Wilson interval"
    assert method(np.array(["a", "a"]), 100, 0.9).startswith(
        "90 % percentile interval, 100 bootstrap replicates of patients (Wilson"
    )
