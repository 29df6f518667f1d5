"""Labels as tables write them."""

from __future__ import annotations

import math

import pytest

from tffcxr.datasets.tables import label_values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1", 1.0), ("1.0", 1.0), ("1,0", 1.0), ("Yes", 1.0), ("TRUE", 1.0), ("positive", 1.0)),
        *(("present", 1.0), ("WAHR", 1.0), ("0", 0.0), ("0.0", 0.0), ("No", 0.0), ("false", 0.0)),
        *(("Negative", 0.0), ("absent", 0.0), ("FALSCH", 0.0), (" 0 ", 0.0)),
    ],
)
def test_present_and_absent(text, value):
    assert label_values.parse(text) == value


@pytest.mark.parametrize("text", ["", "NaN", "N/A", "#N/A", "null", "unknown"])
def test_unknown_is_not_absent(text):
    assert math.isnan(label_values.parse(text))
    assert label_values.is_empty(text)


@pytest.mark.parametrize("text", ["-1", "-1.0", "uncertain"])
def test_uncertain(text):
    assert math.isnan(label_values.parse(text))
    assert math.isnan(label_values.parse(text, "ignore"))
    assert label_values.parse(text, "positive") == 1.0
    assert label_values.parse(text, "negative") == 0.0


@pytest.mark.parametrize("text", ["2", "x", "maybe", "none", "10", "0.5", "1.00,0", "-2", "?"])
def test_anything_else_is_no_label(text):
    with pytest.raises(ValueError, match=f"expected 1 or 0 .*found '{text}'".replace("?", r"\?")):
        label_values.parse(text)


def test_share_of_labels():
    assert label_values.share_of_labels(["1", "0", "", "-1"]) == 1.0
    assert label_values.share_of_labels(["1", "x", "", "w", "z"]) == 0.25
    assert math.isnan(label_values.share_of_labels(["", "nan"]))
