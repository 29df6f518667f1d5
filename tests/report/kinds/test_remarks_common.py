"""Tests of report.remarks_common: which rows are compared, and which are of few patients."""

from tffcxr.report.kinds import remarks_common

NAN = float("nan")


def _row(title, training, dice=0.5, **counts):
    return {"title": title, "training": training, "dice": dice, **counts}


def test_blocks_without_a_federated_number_are_passed_over():
    rows = [
        _row("a", "site"),
        _row("a", "federated", 0.7),
        _row("b", "site"),
        _row("b", "federated", NAN),
        _row("c", "site", None),
        _row("c", "federated", 0.9),
    ]
    found = list(remarks_common.compared(rows, "dice"))
    assert found == [("a", {"site": rows[0], "federated": rows[1]}), ("c", {"federated": rows[5]})]


def test_few_patients_of_a_test_set_are_told_once():
    rows = [
        _row("b", "site", patients=29, images=58, dice_low=0.3),
        _row("b", "federated", patients=29, images=58, dice_low=0.4),
        _row("a", "federated", patients=1, dice_low=NAN),
        _row("c", "federated", patients=30, images=58),
        _row("d", "federated", patients=NAN, images=58),
        _row("e", "federated"),
    ]
    told = "another sample may give quite other numbers, and"
    assert remarks_common.few_patients(rows) == [
        f"a: only 1 patient; {told} no interval can be given.",
        f"b: only 29 patients; {told} intervals of so few are too narrow.",
    ]
    assert remarks_common.few_patients(rows, with_images=True) == [
        f"b: only 29 patients (58 images); {told} intervals of so few are too narrow."
    ]
