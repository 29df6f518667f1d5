"""Tests of report.columns: what stands in a cell."""

from tffcxr.report import columns

_MASK = {
    "training": "federated", "images": 40, "loss": 0.25, "jaccard": 0.9, "jaccard_low": 0.85,
    "jaccard_high": 0.94, "dice": 0.947, "round": 9, "last_jaccard": 0.88,
    "interval": "90 % percentile interval",
}  # fmt: skip
_CLASSES = {
    "training": "federated", "classes": ["Normal", "Ill"], "accuracy": 0.7,
    "maximum_accuracy": 0.75, "maximum_accuracy_round": 4, "minimum_loss": 0.5,
    "minimum_loss_round": None,
    "sensitivity_by_class": {"Normal": 0.8, "Ill": None},
}  # fmt: skip


def _cells(row):
    return {column.heading: column.text(row) for column in columns.of([row])}


def test_masks():
    assert _cells(_MASK) == {
        "Images": "40",
        "Loss": "0.250",
        "Jaccard (90 % CI)": "0.900 (0.850–0.940)",
        "Dice (90 % CI)": "0.947",
        "Round": "9",
        "Jaccard, last round": "0.880",
    }


def test_masks_of_regions_that_may_be_absent():
    cells = _cells({**_MASK, "sensitivity": 0.875, "specificity": None})
    assert list(cells)[3:6] == ["Dice (90 % CI)", "Sensitivity, any pixel", "Specificity, no pixel"]
    assert cells["Sensitivity, any pixel"] == "0.875"
    assert cells["Specificity, no pixel"] == "–"


def test_classes():
    assert _cells(_CLASSES) == {
        "Images": "–",
        "Maximum accuracy (round)": "0.750 (4)",
        "Minimum loss (round)": "0.500",
        "Accuracy (CI)": "0.700",
        "Sensitivity, Normal": "0.800",
        "Sensitivity, Ill": "–",
    }


def test_a_model_without_sensitivities_has_dashes():
    row = {**_CLASSES, "sensitivity_by_class": float("nan")}
    assert _cells(row)["Sensitivity, Normal"] == "–"


def test_cells_fit_on_the_terminal():
    for row in (_MASK, _CLASSES):
        for column in columns.of([row]):
            assert len(column.short) <= column.width
            assert len(column.text(row)) <= column.width
