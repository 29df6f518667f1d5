"""Differences between models on the same cases: by hand, by symmetry, and where there is none."""

import numpy as np
import pytest

from tffcxr.evaluation import delong, paired, resampling

NAN = float("nan")


def test_the_mean_difference_leaves_out_cases_without_a_value_in_either():
    a, b = np.array([0.9, 0.7, NAN, 0.5] * 4), np.array([0.5, NAN, 0.3, 0.6] * 4)
    found = paired.mean_difference(a, b, np.arange(16))
    assert found.mean == pytest.approx((0.4 - 0.1) / 2)


def test_the_interval_of_paired_cases_is_that_of_their_differences():
    random = np.random.default_rng(0)
    hard = random.normal(size=200)  # What the models have in common cancels out.
    a, b = hard + 0.1 + random.normal(0, 0.01, 200), hard
    found = paired.mean_difference(a, b, np.arange(200))
    assert 0.09 < found.low < found.mean < found.high < 0.11
    of_patients = paired.mean_difference(a, b, np.arange(200) // 4)
    assert of_patients.mean == found.mean


def test_models_that_are_alike_have_no_interval_and_p_of_1():
    a = np.linspace(0, 1, 20)
    found = paired.mean_difference(a, a, np.arange(20))
    assert found.mean == 0 and np.isnan([found.low, found.high]).all()
    assert paired.randomisation_test(a, a, np.arange(20)) == 1


def test_p_is_the_share_of_changes_of_places_with_as_large_a_difference():
    # Of the 32 ways to give signs to 1, 1, 1, 1, 1, two have a sum of 5 or -5.
    p = paired.randomisation_test(np.ones(5), np.zeros(5), np.arange(5), changes=20000)
    assert p == pytest.approx(2 / 32, abs=0.01)
    # The cases of a patient change places together.
    twice = paired.randomisation_test(np.ones(10), np.zeros(10), np.arange(10) // 2, 20000)
    assert twice == pytest.approx(2 / 32, abs=0.01)
    assert paired.randomisation_test(np.ones(50), np.zeros(50), np.arange(50)) == 1 / 10000


def test_p_does_not_ask_which_model_comes_first():
    random = np.random.default_rng(1)
    a, b, patients = random.random(40), random.random(40), np.arange(40) // 2
    assert paired.randomisation_test(a, b, patients) == paired.randomisation_test(b, a, patients)


def test_of_few_patients_there_is_no_test():
    with pytest.warns(UserWarning, match="4 patients with a value of both models"):
        few = paired.randomisation_test(np.ones(5), np.zeros(5), np.array([0, 1, 2, 3, 3]))
    assert np.isnan(few)
    with pytest.warns(UserWarning, match="0 patients"):
        assert np.isnan(paired.randomisation_test(np.full(5, NAN), np.ones(5), np.arange(5)))
    with pytest.raises(ValueError, match="of the same cases"):
        paired.mean_difference(np.ones(2), np.ones(3), np.arange(2))


def test_a_metric_of_all_cases_is_resampled_for_both_alike():
    everyone = np.ones(12, bool)
    right, fewer = np.arange(12) < 9, np.arange(12) < 6
    a, b = resampling.share(right, everyone), resampling.share(fewer, everyone)
    found = paired.statistic_difference(a, b, np.arange(12))
    assert found.mean == pytest.approx(3 / 12)
    # Hits of the second are hits of the first: no resample has a negative difference.
    assert 0 <= found.low < found.mean < found.high < 0.6
    alike = paired.statistic_difference(a, a, np.arange(12))
    assert alike.mean == 0 and np.isnan(alike.low)
    with pytest.warns(UserWarning, match="needs 5 patients"):
        assert np.isnan(paired.statistic_difference(a, b, np.arange(12) // 3).low)


def test_the_difference_of_aurocs_has_the_interval_of_its_test():
    random = np.random.default_rng(2)
    labels = np.repeat([0.0, 1.0], 40)
    a, b = labels + random.normal(0, 0.7, 80), labels + random.normal(0, 1.0, 80)
    found = delong.delong_difference(labels, a, b)
    assert found[3:] == delong.delong_test(labels, a, b)
    error = found.value / found.z
    assert found.high - found.value == pytest.approx(1.959964 * error)
    assert found.value - found.low == pytest.approx(1.959964 * error)
    # At the level 1 - p the interval just reaches 0.
    edge = delong.delong_difference(labels, a, b, level=1 - found.p)
    assert min(abs(edge.low), abs(edge.high)) == pytest.approx(0, abs=1e-9)
    alike = delong.delong_difference(labels, a, a)
    assert (alike.value, alike.p) == (0, 1) and np.isnan(alike.low)
    with pytest.raises(ValueError, match="level"):
        delong.delong_difference(labels, a, b, level=1)
