"""Tests of report.column_builders, with those of each kind of study: what stands in a cell."""

from typing import Any

from tffcxr.report import column_builders
from tffcxr.report.kinds import classes_kind, findings_kind, masks_kind, volumes_kind

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


def _cells(row, kind):
    return {column.heading: column.text(row) for column in kind.KIND.columns([row])}


def test_masks():
    assert _cells(_MASK, masks_kind) == {
        "Images": "40",
        "Loss": "0.250",
        "Jaccard (90 % CI)": "0.900 (0.850–0.940)",
        "Dice (90 % CI)": "0.947",
        "Round": "9",
        "Jaccard, last round": "0.880",
    }


def test_masks_of_regions_that_may_be_absent():
    cells = _cells({**_MASK, "sensitivity": 0.875, "specificity": None}, masks_kind)
    assert list(cells)[3:6] == ["Loss", "Sensitivity, any pixel", "Specificity, no pixel"]
    assert cells["Sensitivity, any pixel"] == "0.875"
    assert cells["Specificity, no pixel"] == "–"


def test_classes():
    assert _cells(_CLASSES, classes_kind) == {
        "Images": "–",
        "Maximum accuracy (round)": "0.750 (4)",
        "Minimum loss (round)": "0.500",
        "Accuracy (CI)": "0.700",
        "Sensitivity, Normal": "0.800",
        "Sensitivity, Ill": "–",
    }


def test_on_the_page_the_sensitivity_of_a_class_has_its_interval():
    row = {
        **_CLASSES, "interval": "95 % percentile interval",
        "sensitivity_by_class_low": {"Normal": 0.7, "Ill": None},
        "sensitivity_by_class_high": {"Normal": 0.9, "Ill": None},
    }  # fmt: skip
    cells = {column.heading: column.cell(row) for column in classes_kind.KIND.columns([row])}
    assert cells["Sensitivity, Normal (95 % CI)"] == "0.800 (0.700–0.900)"
    assert cells["Sensitivity, Ill (95 % CI)"] == "–"
    assert _cells(row, classes_kind)["Sensitivity, Normal (95 % CI)"] == "0.800"


def test_classes_are_calibrated_one_against_all_others():
    row = {
        **_CLASSES, "interval": "95 % percentile interval",
        "calibration_slope_by_class": {"Normal": 0.75, "Ill": None},
        "calibration_slope_by_class_low": {"Normal": 0.5, "Ill": None},
        "calibration_slope_by_class_high": {"Normal": 1.25, "Ill": None},
    }  # fmt: skip
    columns = [
        column
        for column in classes_kind.KIND.columns([row])
        if column.part == "Calibration of classes"
    ]
    assert [(column.heading, column.cell(row)) for column in columns] == [
        ("Calibration slope, Normal (95 % CI)", "0.750 (0.500–1.250)"),
        ("Calibration slope, Ill (95 % CI)", "–"),
    ]
    assert [column.short for column in columns] == ["slope A", "slope B"]


def test_the_first_column_is_what_models_are_compared_by():
    finding = {"training": "federated", "auroc": 0.9}
    volume = {"training": "federated", "dice": 0.9, "missed": 0}
    kinds = {
        findings_kind: finding, masks_kind: _MASK, classes_kind: _CLASSES, volumes_kind: volume,
    }  # fmt: skip
    firsts = [kind.KIND.columns([row])[0].heading for kind, row in kinds.items()]
    assert firsts == ["AUROC (CI)", "Jaccard (90 % CI)", "Accuracy (CI)", "Dice (CI)"]


def test_federated_is_compared_with_the_site_and_with_all_sites_pooled():
    federated = {
        "training": "federated", "baseline": "site", "p_delong": 0.03, "p_ttest": 1e-9,
        "p_delong_pooled": None, "p_ttest_pooled": 0.2,
    }  # fmt: skip
    site = {"training": "site", "p_delong": None, "p_ttest": None}

    def cells(row):
        return {
            column.heading: column.text(row)
            for column in findings_kind.KIND.columns([federated, site])
            if "vs" in column.heading
        }

    assert cells(federated) == {
        "p vs site": "0.030", "p vs pooled": "–", "t-test vs site": "<0.001",
        "t-test vs pooled": "0.200",
    }  # fmt: skip
    assert set(cells(site).values()) == {"not compared"}


def test_adjusted_p_values_stand_beside_the_others_where_there_are_several_tests():
    row = {
        "training": "federated", "baseline": "site", "p_delong": 0.03, "p_delong_holm": 0.06,
        "p_ttest": 1e-9, "p_delong_pooled": None, "p_delong_pooled_holm": None, "holm_tests": 2,
    }  # fmt: skip
    cells = _cells(row, findings_kind)
    assert cells["p vs site (Holm)"] == "0.030 (0.060)"
    assert cells["p vs pooled (Holm)"] == "–"
    assert cells["t-test vs site"] == "<0.001"
    (note,) = findings_kind.KIND.notes([row])
    assert "adjusted for the 2 tests of the table" in note
    alone = {**row, "holm_tests": 1, "p_delong_holm": 0.03}
    assert _cells(alone, findings_kind)["p vs site"] == "0.030"
    (note,) = findings_kind.KIND.notes([alone])
    assert "In brackets" not in note


def test_on_the_page_every_metric_has_its_interval_and_its_table():
    names = ("auroc", "sensitivity", "ppv", "brier", "calibration_slope")
    row: dict[str, Any] = {"training": "federated", "interval": "95 % percentile interval"}
    for name in names:
        row.update({name: 0.5, f"{name}_low": 0.25, f"{name}_high": 0.75})
    columns = findings_kind.KIND.columns([row])
    parts = {
        title: {column.over_page: column.cell(row) for column in of_part}
        for title, of_part in column_builders.parts(columns)
    }
    assert list(parts) == ["", "At the operating point", "Probabilities"]
    interval = "0.500 (0.250–0.750)"
    assert parts[""]["AUROC (95 % CI)"] == interval
    assert parts["At the operating point"]["Sensitivity (95 % CI)"] == interval
    assert parts["At the operating point"]["Positive predictive value (95 % CI)"] == interval
    assert parts["Probabilities"]["Calibration slope (95 % CI)"] == interval
    assert parts["Probabilities"]["Brier score (95 % CI)"] == interval
    assert {column.heading: column.text(row) for column in columns}["Brier score"] == "0.500"
    assert "Loss" in parts["Probabilities"]


def test_the_only_baseline_may_be_the_pooled_model():
    row = {"training": "federated", "baseline": "pooled", "p_delong": 0.03, "p_ttest": 0.02}
    assert {text for name, text in _cells(row, findings_kind).items() if "vs pooled" in name} == {
        "0.030",
        "0.020",
    }
    assert not [name for name in _cells(row, findings_kind) if "vs site" in name]
    assert not [name for name in _cells({"training": "federated"}, findings_kind) if "vs" in name]


def test_differences_have_a_minus_sign():
    row = {"missed": 0, "dice_difference": -0.0124, "dice_difference_low": -0.02,
           "dice_difference_high": 0.01}  # fmt: skip
    assert _cells(row, volumes_kind)["Dice difference"] == "\u22120.012"
    assert _cells(row, volumes_kind)["Interval of the difference"] == "\u22120.020 to +0.010"
    assert _cells({"missed": 0}, volumes_kind)["Dice difference"] == "not compared"
    assert _cells({"missed": 0, "dice_difference": None}, volumes_kind)["Dice difference"] == "–"


def test_a_model_without_sensitivities_has_dashes():
    row = {**_CLASSES, "sensitivity_by_class": float("nan")}
    assert _cells(row, classes_kind)["Sensitivity, Normal"] == "–"


def test_cells_fit_on_the_terminal():
    for kind, row in ((masks_kind, _MASK), (classes_kind, _CLASSES)):
        for column in kind.KIND.columns([row]):
            assert len(column.short) <= column.width
            assert len(column.text(row)) <= column.width


def test_numbers_without_an_interval_are_named_where_others_have_one():
    has: dict[str, Any] = {
        "auroc": 0.9,
        "auroc_low": 0.8,
        "specificity": 0.4,
        "specificity_low": 0.2,
    }
    lacks = {**has, "specificity_low": None}
    undefined = {**has, "specificity": None, "specificity_low": None}
    results: list[Any] = [
        ("Mass at a (m model, test images)", [has, undefined]),
        ("B (x)", [has, lacks]),
    ]
    found = column_builders.without_interval(results)
    assert found.endswith("leave it undefined: Specificity of B.")
    assert column_builders.without_interval(results[:1]) == ""
    # Where no number has one, the warnings say so.
    assert column_builders.without_interval([("B", [{"auroc": 0.9, "auroc_low": None}])]) == ""
