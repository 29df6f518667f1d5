"""The final tables over repeats, by hand: unknown numbers are counted and are never 0."""

import csv
import json
import math

import pytest

from tffcxr.errors import InputError
from tffcxr.sweeps import sweep_finals, sweep_results


def _run(folder, configuration, repeat=1, status="complete"):
    return sweep_results.Run(folder, configuration, {"a": configuration}, repeat, 0, status)


def _write(path, *rows):
    path.mkdir()
    (path / "metrics.json").write_text(json.dumps({"rows": rows, "complete": True}))


def _row(training="federated", split="test", **more):
    return {"task": "Lungs", "model": "unet", "training": training, "split": split, **more}


def test_mean_and_sample_standard_deviation(tmp_path):
    for folder, accuracy in (("1", 0.5), ("2", 0.75), ("3", 1.0), ("4", 0.25)):
        _write(
            tmp_path / folder,
            _row(accuracy=accuracy, accuracy_low=0.1, p_delong=0.01, images=9),
            _row(split="train", accuracy=1.0),
        )
    runs = [_run("1", "x"), _run("2", "x", 2), _run("3", "x", 3), _run("4", "y")]
    test, train, other, _ = sweep_finals.rows(tmp_path, runs)
    assert list(test) == [
        *("configuration", "a", "task", "model", "training", "split", "complete"),
        *("accuracy_mean", "accuracy_sd", "accuracy_n"),
    ]
    assert (test["configuration"], test["split"], test["complete"]) == ("x", "test", 3)
    # Deviations -1/4, 0 and 1/4: the sum of squares is 1/8, and 1/8 / (3 - 1) = 1/16.
    assert (test["accuracy_mean"], test["accuracy_sd"], test["accuracy_n"]) == (0.75, 0.25, 3)
    assert (train["split"], train["accuracy_mean"], train["accuracy_sd"]) == ("train", 1.0, 0.0)
    assert (other["configuration"], other["accuracy_mean"], other["accuracy_n"]) == ("y", 0.25, 1)
    assert math.isnan(other["accuracy_sd"])


@pytest.mark.parametrize("unknown", [{"dice": None}, {"dice": math.nan}, {}])
def test_what_is_not_known_is_counted(tmp_path, unknown):
    _write(tmp_path / "1", _row(dice=0.5))
    _write(tmp_path / "2", _row(**unknown))
    _write(tmp_path / "3")  # No such model at all.
    _write(tmp_path / "4", _row(**unknown))
    runs = [_run("1", "x"), _run("2", "x", 2), _run("3", "x", 3), _run("4", "y")]
    one, none = sweep_finals.rows(tmp_path, runs)
    assert (one["complete"], one["dice_n"], one["dice_mean"]) == (3, 1, 0.5)
    assert math.isnan(one["dice_sd"])
    assert (none["complete"], none["dice_n"]) == (1, 0)
    assert math.isnan(none["dice_mean"]) and math.isnan(none["dice_sd"])


def test_equal_numbers_have_no_spread(tmp_path):
    """Summed in floating point, three of this number leave a deviation of 7e-17."""
    for folder in "123":
        _write(tmp_path / folder, _row(accuracy=0.3636363636363636))
    (row,) = sweep_finals.rows(tmp_path, [_run(f, "x", int(f)) for f in "123"])
    assert row["accuracy_sd"] == 0.0


def test_only_complete_runs_and_no_row_without_one(tmp_path):
    _write(tmp_path / "1", _row(loss=1.0))
    _write(tmp_path / "2", _row(loss=9.0))
    runs = [_run("1", "x"), _run("2", "x", 2, "failed"), _run("3", "y", 1, "pending")]
    (row,) = sweep_finals.rows(tmp_path, runs)
    assert (row["configuration"], row["complete"], row["loss_mean"]) == ("x", 1, 1.0)


def test_sensitivities_by_class(tmp_path):
    first = {"Normal": 0.5, "No Lung Opacity / Not Normal": None}
    second = {"Normal": 0.0, "No Lung Opacity / Not Normal": 0.25}
    _write(tmp_path / "1", _row(sensitivity_by_class=first))
    _write(tmp_path / "2", _row(sensitivity_by_class=second))
    finals = sweep_finals.rows(tmp_path, [_run("1", "x"), _run("2", "x", 2)])
    names = sweep_finals.metrics_of(finals)
    assert [sweep_finals.heading(name) for name in names] == [
        "Sensitivity, Normal",
        "Sensitivity, No Lung Opacity / Not Normal",
    ]
    assert [finals[0][f"{name}_mean"] for name in names] == [0.25, 0.25]
    assert [finals[0][f"{name}_n"] for name in names] == [2, 1]


def test_what_tells_rows_apart(tmp_path):
    rows = [
        _row(accuracy=0.0),
        _row(accuracy=0.1, images_kind="full"),
        _row(accuracy=0.2, images_kind="segmented"),
        _row(accuracy=0.3, client="a"),
        _row(accuracy=0.4, training="pooled"),
        _row(accuracy=0.5, split="train"),
        {**_row(accuracy=0.6), "model": "vgg"},
        {**_row(accuracy=0.7), "task": "Heart"},
    ]
    _write(tmp_path / "1", *rows)
    _write(tmp_path / "2", *reversed(rows))
    finals = sweep_finals.rows(tmp_path, [_run("1", "x"), _run("2", "x", 2)])
    assert [row["accuracy_mean"] for row in finals] == [i / 10 for i in range(8)]
    assert {row["accuracy_sd"] for row in finals} == {0.0}
    assert [row["images_kind"] for row in finals[:3]] == [None, "full", "segmented"]


@pytest.mark.parametrize(
    "text,expected",
    [
        ("[", "expected JSON in"),
        ('{"rows": 1}', "expected a list of rows in"),
        ('{"rows": [{"task": "x", "split": "test"}]}', "expected 'training' in row 0 of"),
        (json.dumps({"rows": [_row(), _row()]}), "one row of Lungs, unet, federated, test in"),
    ],
)
def test_damaged_results_are_told(tmp_path, text, expected):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "metrics.json").write_text(text)
    with pytest.raises(InputError, match=expected):
        sweep_finals.rows(tmp_path, [_run("1", "x")])


def test_file(tmp_path):
    sweep_finals.write(tmp_path, [])
    assert not list(tmp_path.iterdir())
    _write(tmp_path / "1", _row(loss=0.5, auroc=None))
    sweep_finals.write(tmp_path, sweep_finals.rows(tmp_path, [_run("1", "x")]))
    with (tmp_path / "results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["loss_mean"], row["loss_sd"], row["loss_n"]) == ("0.5", "nan", "1")
    assert (row["auroc_mean"], row["auroc_n"], row["a"], row["task"]) == ("nan", "0", "x", "Lungs")
