"""Tests of datasets.scanners: names without serial numbers, rare ones together."""

import pytest

from tffcxr.datasets import scanners


@pytest.mark.parametrize(
    ("manufacturer", "model", "name"),
    [
        ("Philips  Medical Systems ", "DigitalDiagnost", "Philips Medical Systems DigitalDiagnost"),
        ("Fujifilm", "FUJIFILM FDR", "FUJIFILM FDR"),
        (None, "Definium 6000", "Definium 6000"),
        ("GE", "", "GE"),
        ("Acme", "SN:123456 Ray", "Acme Ray"),
        ("0012345", None, None),
        (None, None, None),
    ],
)
def test_names(manufacturer, model, name):
    assert scanners.name(manufacturer, model) == name


def test_rare_ones_are_pooled_by_patients():
    made = ["B 2"] * 10 + ["a 1"] * 4 + ["A 1"] * 7 + ["C"] * 30 + [None]
    patients = [*range(21), *([0, 1, 2] * 10), 0]  # Many images of three patients are few.
    groups, order = scanners.pooled(made, patients)
    assert order == ("A 1", "B 2", "other")
    assert groups.tolist() == ["B 2"] * 10 + ["A 1"] * 11 + ["other"] * 30 + ["unknown"]


def test_there_are_few_groups():
    made = [f"scanner {number}" for number in range(20) for _ in range(10)]
    groups, order = scanners.pooled(made, list(range(200)))
    assert len(order) == scanners.MOST_MODELS + 1
    assert set(groups) == set(order)
