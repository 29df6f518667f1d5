"""A share is told from updates that depend on it, and from no others."""

import numpy as np
import pytest

from tffcxr.audit import properties


def _updates(shares, slope, seed):
    noise = np.random.default_rng(seed).normal(size=(len(shares), 5))
    noise[:, 2] += slope * np.array(shares)
    return noise


def _measure(slope):
    random = np.random.default_rng(0)
    mine, theirs = random.uniform(size=200), random.uniform(size=200)
    return properties.measure(
        _updates(mine, slope, 1), mine, _updates(theirs, slope, 2), theirs, 200, 0
    )


def test_a_share_is_told_where_updates_depend_on_it():
    found = _measure(slope=100.0)
    assert found.auc > 0.98 and found.low > 0.95
    assert found.error < 0.03
    # The mean distance of a uniform number from the middle.
    assert found.guess == pytest.approx(0.25, abs=0.03)


def test_a_share_is_not_told_where_updates_do_not_depend_on_it():
    found = _measure(slope=0.0)
    assert found.low < 0.5 < found.high
    assert found.error == pytest.approx(found.guess, rel=0.1)


def test_equal_shares_give_nan_with_a_warning():
    shares = np.full(10, 0.5)
    with pytest.warns(match="the same share"):
        found = properties.measure(np.eye(10), shares, np.eye(10), shares, 20, 0)
    assert np.isnan(found.auc) and found.error == pytest.approx(0)


def test_features_are_sums_over_inputs():
    kernel, bias = np.arange(6.0).reshape(1, 3, 2), np.array([7.0, 8.0])
    assert properties.features([kernel, bias]).tolist() == [6.0, 9.0, 7.0, 8.0]
