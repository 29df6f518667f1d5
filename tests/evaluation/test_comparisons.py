"""Tests of evaluation.comparisons: Holm's procedure by hand over the rows of a table."""

import numpy as np
import pytest

from tffcxr.evaluation import comparisons

NAN = float("nan")


def test_all_tests_of_a_table_are_one_family():
    rows = [
        {"task": "A", "p_delong": 0.01, "p_delong_pooled": 0.04, "p_ttest": 0.001},
        {"task": "A", "p_delong": NAN},
        {"task": "B", "p_delong": 0.03},
        {"task": "C", "dice": 0.9},
    ]
    first, baseline, second, other = comparisons.adjusted(rows)
    # 3 * 0.01; 2 * 0.03; 1 * 0.04, but not below the one before it.
    assert first["p_delong_holm"] == pytest.approx(0.03)
    assert second["p_delong_holm"] == pytest.approx(0.06)
    assert first["p_delong_pooled_holm"] == pytest.approx(0.06)
    assert first["holm_tests"] == second["holm_tests"] == 3
    assert np.isnan(baseline["p_delong_holm"])
    assert "holm_tests" not in baseline
    assert other == rows[3]
    assert "p_ttest_holm" not in first
    assert "p_delong_holm" not in rows[0]


def test_a_single_test_stays_as_it_is():
    (row,) = comparisons.adjusted([{"p_delong": 0.04}])
    assert row == {"p_delong": 0.04, "p_delong_holm": 0.04, "holm_tests": 1}


def test_another_adjustment_replaces_the_first():
    rows = comparisons.adjusted([{"p_delong": 0.01}, {"p_delong": 0.02}])
    (alone, *_), (again, other) = comparisons.adjusted(rows[:1]), comparisons.adjusted(rows)
    assert (alone["p_delong_holm"], alone["holm_tests"]) == (0.01, 1)
    assert [again, other] == rows


def test_large_p_values_stay_below_1_and_a_null_is_no_test():
    rows = comparisons.adjusted([{"p_delong": 0.9}, {"p_delong": 0.8}, {"p_delong": None}])
    assert [row["p_delong_holm"] for row in rows[:2]] == [1.0, 1.0]
    assert np.isnan(rows[2]["p_delong_holm"])
