"""The mean over images and its interval, against the normal approximation and by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn import exceptions

from tffcxr.evaluation import bootstrap
from tffcxr.evaluation.mean_interval import difference_test, mean_interval


def test_width_is_that_of_the_normal_approximation():
    values = np.random.default_rng(1).beta(8, 2, 400)
    result = mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert result.mean == pytest.approx(values.mean())
    assert result.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert result.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_equal_values_have_no_spread():
    assert mean_interval(np.full(6, 0.75)) == (0.75, 0.75, 0.75)


def test_patients_are_drawn_whole():
    values = np.repeat(np.linspace(0.1, 0.9, 10), 4)
    patients = np.repeat([f"p{n}" for n in range(10)], 4)
    alone = mean_interval(values[::4], seed=3)
    assert mean_interval(values, patients, seed=3) == pytest.approx(alone)
    images = mean_interval(values, seed=3)
    assert images.high - images.low < 0.7 * (alone.high - alone.low)


def test_a_patient_counts_by_its_images():
    # Of 5 patients one has 3 images of 1.0, the others one of 0.0 each: drawn k times, the mean
    # is 3 k / (3 k + 5 - k).
    values = np.array([1, 1, 1, 0, 0, 0, 0.0])
    patients = np.array([0, 0, 0, 1, 2, 3, 4])
    result = mean_interval(values, patients, replicates=4000, level=0.5)
    # k is binomial(5, 1/5): P(0) = 0.33 and P(k <= 1) = 0.74, so the quartiles are k = 0 and
    # k = 2 (P(k <= 1) < 0.75 by 0.013, two standard deviations of 4000 draws).
    assert result.mean == pytest.approx(3 / 7)
    assert result.low == 0.0
    assert result.high in (pytest.approx(3 / 7), pytest.approx(6 / 9))


def test_is_a_function_of_the_seed():
    values = np.random.default_rng(2).random(20)
    first = mean_interval(values, seed=1)
    assert first == mean_interval(values, seed=1)
    assert first != mean_interval(values, seed=2)


def test_an_image_without_a_true_mask_is_left_out():
    values = np.random.default_rng(2).random(20)
    holed = np.concatenate([values, [np.nan, np.nan]])
    assert mean_interval(holed) == mean_interval(values)


def test_undefined_is_nan_with_a_warning():
    with pytest.warns(exceptions.UndefinedMetricWarning, match="no image has a value"):
        assert np.isnan(mean_interval(np.array([np.nan]))).all()
    few = np.full(bootstrap.MINIMUM_PATIENTS - 1, 0.5)
    with pytest.warns(exceptions.UndefinedMetricWarning, match="4 patients"):
        result = mean_interval(few)
    assert result.mean == 0.5
    assert np.isnan(result[1:]).all()


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"values": [0.5, np.inf]}, "infinite"),
        ({"values": [0.5], "level": 1.0}, "between 0 and 1, found 1.0"),
        ({"values": [0.5], "replicates": 0}, "at least 1 replicate, found 0"),
        ({"values": [0.5], "groups": np.array([1, 2])}, "a patient per image"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(**arguments)


def test_a_difference_is_tested_with_the_spread_of_patients():
    values = np.random.default_rng(4).normal(0.1, 1, 200)
    expected = stats.ttest_1samp(values, 0).pvalue
    assert 0.01 < expected < 0.5
    found = difference_test(values, replicates=4000)
    assert found == pytest.approx(expected, rel=0.15)
    patients = np.repeat(np.arange(200), 4)
    assert difference_test(np.repeat(values, 4), patients, replicates=4000) == pytest.approx(found)
    assert difference_test(np.append(values, np.nan), replicates=4000) == pytest.approx(found)


def test_differences_without_any_spread():
    assert difference_test(np.zeros(9)) == 1
    assert np.isnan(difference_test(np.full(9, 0.5)))
    with pytest.warns(exceptions.UndefinedMetricWarning, match="4 patients"):
        assert np.isnan(difference_test(np.arange(4.0)))
