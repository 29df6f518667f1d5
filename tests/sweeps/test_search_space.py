"""The space of a search: what its axes mean, and what they may not be."""

import pytest

from tffcxr.errors import InputError
from tffcxr.sweeps import search_space


def _axis(text):
    (axis,) = search_space.parse([text])
    return axis


@pytest.mark.parametrize(
    "text,low,high,is_integer,is_logarithmic",
    [
        ("a=1e-4..1e-2", 1e-4, 1e-2, False, True),
        ("a=0.03..0.3", 0.03, 0.3, False, True),  # A ratio of 10, but for rounding.
        ("a=0.03..0.2", 0.03, 0.2, False, False),
        ("a=0.0..1", 0.0, 1.0, False, False),  # One end is no integer.
        ("a=-5..5", -5, 5, True, False),
        ("a=1..9", 1, 9, True, False),
        ("a=1..16", 1, 16, True, True),
        ("a= 2 .. 3 ", 2, 3, True, False),
    ],
)
def test_range(text, low, high, is_integer, is_logarithmic):
    axis = _axis(text)
    assert (axis.low, axis.high) == (low, high)
    assert (axis.is_integer, axis.is_logarithmic) == (is_integer, is_logarithmic)


def test_list_of_paths_is_no_range():
    axis = _axis("weights=../a,../b")
    assert axis == search_space.Choice("weights", ("../a", "../b"))
    search_space.reject_ranges(["weights=../a", "weights=..", "rounds=1,2", "weights=a..b"])


@pytest.mark.parametrize(
    "text,value,expected",
    [
        ("a=1e-4..1e-1", 0.00123456, 0.001235),
        ("a=1e-4..1e-1", 0.0001000001, 0.0001),
        ("a=0.123449..99.9", 0.1234491, 0.123449),  # Not below the end.
        ("a=0.0..1.0", 0.123456, 0.123),
        ("a=0.0..0.5", 0.123456, 0.1235),
        ("a=1..9", 4, 4),
    ],
)
def test_numbers_are_short(text, value, expected):
    assert _axis(text).rounded(value) == expected


def test_sizes():
    axes = search_space.parse(["a=x,y,z", "b=1..5"])
    assert search_space.size(axes) == 15
    # All distinct numbers of four digits: 9000 per decade.
    assert _axis("a=1e-4..1e-2").size == 18000
    many = {_axis("a=0.0..0.9").rounded(i / 1e4) for i in range(9001)}
    assert len(many) >= _axis("a=0.0..0.9").size


def test_corners():
    axes = search_space.parse(["a=x,y,z", "b=1e-4..1e-2"])
    corners = search_space.corners(axes)
    assert len(corners) == 6
    assert corners[0] == (("a", "x"), ("b", "1e-4"))  # As it was typed.
    assert corners[-1] == (("a", "z"), ("b", "1e-2"))
    many = search_space.corners(search_space.parse([f"{name}=0..1" for name in "abcdefghi"]))
    assert len(many) == 1 + 9  # Not 512.
    for name in "abcdefghi":
        assert {dict(corner)[name] for corner in many} == {"0", "1"}


@pytest.mark.parametrize(
    "text,expected",
    [
        ("a=1", "expected LOW..HIGH or two values at least to search, found 'a=1'"),
        ("a=../x", "expected LOW..HIGH or two values at least"),
        ("a=1..x", "expected two numbers in NAME=LOW..HIGH, found 'a=1..x'"),
        ("a=1..", "expected two numbers"),
        ("a=1..inf", "expected two numbers"),
        ("a=2..1", "expected LOW below HIGH in NAME=LOW..HIGH, found 'a=2..1'"),
        ("a=1..1", "expected LOW below HIGH"),
        ("a", "expected NAME=VALUE,VALUE,…"),
        ("a=1,1", "expected every value once"),
    ],
)
def test_bad_axis(text, expected):
    with pytest.raises(InputError) as caught:
        search_space.parse([text])
    assert expected in str(caught.value)
    assert str(caught.value).startswith("--grid: ") and "\n" not in str(caught.value)


def test_range_without_a_search():
    with pytest.raises(InputError, match="without --search, found the range 'a=1e-4..1'"):
        search_space.reject_ranges(["b=1,2", "a=1e-4..1"])
