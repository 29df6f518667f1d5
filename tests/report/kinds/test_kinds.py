"""Tests of report.kinds: what a run asks, from its results or from its rounds alone."""

import pandas as pd
import pytest

from tffcxr.report.kinds import kinds


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"auroc": 0.9, "accuracy": 0.8}, kinds.FINDINGS),
        ({"jaccard": float("nan")}, kinds.MASKS),
        ({"classes": ["a", "b"], "accuracy": 0.8}, kinds.CLASSES),
        ({"dice": 0.7, "missed": 0}, kinds.VOLUMES),
        ({}, kinds.FINDINGS),
    ],
)
def test_of_rows(row, expected):
    assert kinds.of_rows([row]) == expected
    assert kinds.of_rows([]) == kinds.FINDINGS


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["round", "A/loss", "A/auroc"], kinds.FINDINGS),
        (["round", "Lungs/loss", "Lungs/jaccard"], kinds.MASKS),
        (["round", "resnet50 full/accuracy"], kinds.CLASSES),
        (["round", "accuracy"], kinds.FINDINGS),
        (["round", "Kidneys in CT/loss", "Kidneys in CT/dice"], kinds.VOLUMES),
        (["round", "No Lung Opacity / Not Normal/jaccard"], kinds.MASKS),
    ],
)
def test_of_rounds(columns, expected):
    assert kinds.of_rounds(pd.DataFrame(columns=columns)) == expected
