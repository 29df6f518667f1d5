"""Warnings of metrics without a value, of many rows."""

import warnings

import pytest
from sklearn import exceptions

from tffcxr.evaluation import inputs, undefined


def test_each_is_told_once_with_all_that_it_is_about():
    gathered = undefined.Gathered()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("A", "B", "A"):
            with gathered.about(name):
                inputs.undefined("no positive")
    assert gathered.messages == ["no positive"]
    with pytest.warns(exceptions.UndefinedMetricWarning) as told:
        gathered.tell()
    assert [str(each.message) for each in told] == ["A, B: no positive"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gathered.tell()


def test_other_warnings_pass():
    with pytest.warns(RuntimeWarning, match="else"), undefined.Gathered().about("A"):
        warnings.warn("else", RuntimeWarning, stacklevel=1)


def test_a_name_stands_before_the_warnings():
    with pytest.warns(match="^Mass at north: no positive$"), undefined.named("Mass at north"):
        inputs.undefined("no positive")
