"""The rows of a sweep, by hand, and the run that is named the best."""

import csv
import json
import math

import pandas as pd
import pytest

from tests.report import example_sweep
from tffcxr.errors import InputError
from tffcxr.sweeps import sweep_results

NAN = math.nan


def _series(*values):
    return pd.Series(values, index=range(1, len(values) + 1), dtype=float)


@pytest.mark.parametrize(
    "values,target,is_lower_better,expected",
    [
        ([0.5, 0.92, 0.9, 0.95], 0.92, False, 2),  # At least, and the first.
        ([0.5, 0.6], 0.92, False, NAN),
        ([NAN, NAN, 0.95], 0.92, False, 3),
        ([NAN, NAN], 0.92, False, NAN),
        ([], 0.92, False, NAN),
        ([0.7, 0.3, 0.1], 0.3, True, 2),
        ([NAN, 0.4], 0.3, True, NAN),
    ],
)
def test_rounds_to_target(values, target, is_lower_better, expected):
    found = sweep_results.rounds_to_target(_series(*values), target, is_lower_better)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@pytest.mark.parametrize(
    "values,is_lower_better,expected",
    [
        ([0.5, 0.9, 0.9, 0.1], False, (0.9, 2)),
        ([0.5, 0.9, 0.1, 0.1], True, (0.1, 3)),
        ([NAN, 0.2, NAN], False, (0.2, 2)),
    ],
)
def test_best(values, is_lower_better, expected):
    assert sweep_results.best(_series(*values), is_lower_better) == expected


def test_best_of_nothing_is_undefined_with_a_warning():
    for values in ([], [NAN, NAN]):
        with pytest.warns(UserWarning, match="undefined in every round"):
            value, at = sweep_results.best(_series(*values), False)
        assert math.isnan(value) and math.isnan(at)


def _write(folder, table):
    folder.mkdir(parents=True)
    pd.DataFrame(table).to_csv(folder / "rounds.csv", index=False)


def _run(folder, configuration, repeat=1, status="complete"):
    return sweep_results.Run(folder, configuration, {"a": configuration}, repeat, 0, status)


@pytest.fixture(name="by_hand")
def _by_hand(tmp_path):
    """Two configurations: the second has a failed run with half a row in its file."""
    rounds, loss, metric = [2, 1, 3], "A/loss", "A/jaccard"  # Not in order, as never happens.
    _write(tmp_path / "1", {"round": rounds, "seconds": 2, metric: [0.5, 0.2, 0.4], loss: 1.0})
    _write(tmp_path / "2", {"round": [1], "seconds": 2, metric: [0.9], loss: [0.5]})
    _write(tmp_path / "3", {"round": [1], "seconds": 2, metric: [0.3], loss: [0.25]})
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / "rounds.csv").write_text("round,seconds,A/jaccard,A/loss\n1,2,0.99")
    runs = [
        _run("1", "x"),
        _run("2", "x", 2),
        _run("3", "y"),
        _run("4", "y", 2, "failed"),
        _run("5", "z", 1, "pending"),
    ]
    return tmp_path, runs


def test_rows(by_hand):
    path, runs = by_hand
    sweep = sweep_results.read(path, "recipe", runs, target=0.5)
    assert (sweep.metric, sweep.compared) == ("A/jaccard", ["A/jaccard"])
    first, second, third, failed, pending = sweep_results.run_rows(sweep)
    assert (first["best"], first["best_round"], first["last"]) == (0.5, 2, 0.4)
    assert (first["best_loss"], first["rounds_to_target"], first["seconds"]) == (1.0, 2, 6.0)
    assert (second["rounds_to_target"], second["rounds_trained"]) == (1, 1)
    assert math.isnan(third["rounds_to_target"])
    for row in (failed, pending):
        for name in ("best", "best_round", "last", "best_loss", "rounds_to_target", "seconds"):
            assert math.isnan(row[name]), name
    assert sweep_results.best_row(sweep, [first, second, third, failed, pending]) is second


@pytest.mark.parametrize(
    "metric,loss,expected",
    [
        ([0.4, 0.6, NAN], [0.9, 0.8, NAN], 0.6),  # Another network of the run has a third round.
        ([0.4, NAN, NAN], [0.9, 0.8, NAN], NAN),  # Undefined in the last of its own rounds.
    ],
)
def test_last_is_of_the_last_round_that_was_trained(tmp_path, metric, loss, expected):
    _write(tmp_path / "1", {"round": [1, 2, 3], "A/jaccard": metric, "A/loss": loss})
    sweep = sweep_results.read(tmp_path, "recipe", [_run("1", "x")])
    (row,) = sweep_results.run_rows(sweep)
    assert row["last"] == pytest.approx(expected, nan_ok=True)


def test_configurations(by_hand):
    path, runs = by_hand
    sweep = sweep_results.read(path, "recipe", runs, target=0.5)
    x, y, z = sweep_results.configuration_rows(sweep, sweep_results.run_rows(sweep))
    assert (x["runs"], x["complete"], x["failed"], x["reached"]) == (2, 2, 0, 2)
    assert x["best_mean"] == pytest.approx(0.7)
    assert x["best_sd"] == pytest.approx(0.4 / math.sqrt(2))
    assert (x["rounds_to_target_mean"], x["best_loss_mean"]) == (1.5, 0.75)
    assert (y["runs"], y["complete"], y["failed"], y["reached"]) == (2, 1, 1, 0)
    assert y["best_mean"] == 0.3
    assert math.isnan(y["best_sd"]) and math.isnan(y["rounds_to_target_mean"])
    assert (z["complete"], z["failed"]) == (0, 0)
    assert math.isnan(z["best_mean"])


def test_target_that_one_repeat_misses_has_no_mean(by_hand):
    path, runs = by_hand
    sweep = sweep_results.read(path, "recipe", runs, target=0.8)
    x = sweep_results.configuration_rows(sweep, sweep_results.run_rows(sweep))[0]
    assert x["reached"] == 1
    assert math.isnan(x["rounds_to_target_mean"])


def test_of_a_loss_the_least_is_best(by_hand):
    path, runs = by_hand
    sweep = sweep_results.read(path, "recipe", runs, "A/loss")
    rows = sweep_results.run_rows(sweep)
    assert sweep.compared == ["A/loss"] == [sweep_results.loss_of("A/loss")]
    assert sweep_results.best_row(sweep, rows) is rows[2]
    assert "rounds_to_target" not in rows[0]


def test_files(by_hand):
    path, runs = by_hand
    sweep_results.write(sweep_results.read(path, "recipe", runs))
    found = json.loads((path / "sweep.json").read_text())
    assert (found["experiment"], found["metric"], found["best_run"]) == ("recipe", "A/jaccard", "2")
    assert found["complete"] is False
    assert [run["status"] for run in found["runs"]] == [*["complete"] * 3, "failed", "pending"]
    assert found["runs"][3]["best"] is None
    assert found["runs"][0]["flags"] == {"a": "x"}
    assert found["runs"][0]["seed"] == 0
    assert sweep_results.best_run(path) == path / "2"
    with (path / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["best"] for row in rows] == ["0.5", "0.9", "0.3", "nan", "nan"]
    assert [row["best_round"] for row in rows] == ["2", "1", "1", "nan", "nan"]


@pytest.mark.parametrize(
    "columns,expected",
    [
        (["round", "A/loss", "A/auroc", "B/accuracy"], "A/auroc"),
        (["round", "A/loss", "A/auroc", "B/auroc"], "auroc"),
        (["round", "A/dice", "A/jaccard", "A/auroc"], "A/jaccard"),
        (["round", "A/loss", "A/dice", "B/loss", "B/dice"], "dice"),
        (
            ["round", "No Lung Opacity / Not Normal/accuracy"],
            "No Lung Opacity / Not Normal/accuracy",
        ),
    ],
)
def test_metric_without_a_wish(tmp_path, columns, expected):
    _write(tmp_path / "1", {name: [0.5] for name in columns})
    sweep = sweep_results.read(tmp_path, "recipe", [_run("1", "x")])
    assert sweep.metric == expected
    assert sweep.compared == [name for name in columns if f"/{name}".endswith(f"/{expected}")]


def test_runs_whose_tasks_have_other_names_are_compared_by_the_end_of_the_column(tmp_path):
    _write(tmp_path / "1", {"round": [1], "unet full/accuracy": [0.5], "unet full/loss": [3.0]})
    _write(tmp_path / "2", {"round": [1], "vgg/loss": [2.0], "vgg/accuracy": [0.75]})
    runs = [_run("1", "x"), _run("2", "y")]
    sweep = sweep_results.read(tmp_path, "recipe", runs)
    assert (sweep.metric, sweep.compared) == ("accuracy", ["accuracy"])
    rows = sweep_results.run_rows(sweep)
    assert [(row["best"], row["best_loss"]) for row in rows] == [(0.5, 3.0), (0.75, 2.0)]
    by_loss = sweep_results.read(tmp_path, "recipe", runs, "loss")
    assert [row["best"] for row in sweep_results.run_rows(by_loss)] == [3.0, 2.0]
    sweep_results.write(by_loss)
    assert sweep_results.best_run(tmp_path) == tmp_path / "2"


@pytest.fixture(name="two_models")
def _two_models(tmp_path):
    """Runs with two models each; of the first configuration a second run has failed."""
    full, cut = "net full/accuracy", "net segmented/accuracy"
    losses = {"net full/loss": [3.0, 2.0], "net segmented/loss": [1.5, 1.0]}
    _write(tmp_path / "1", {"round": [1, 2], full: [0.1, 0.4], cut: [0.6, 0.5], **losses})
    _write(tmp_path / "3", {"round": [1, 2], full: [0.7, 0.2], cut: [0.3, NAN], **losses})
    runs = [
        _run("1", "x"),
        _run("2", "x", 2, "failed"),
        _run("3", "y"),
        _run("4", "z", 1, "failed"),
    ]
    return tmp_path, runs, full, cut


@pytest.mark.parametrize("wish", [None, "accuracy"])
def test_every_model_has_a_row(two_models, wish):
    path, runs, full, cut = two_models
    sweep = sweep_results.read(path, "recipe", runs, wish, target=0.5)
    assert (sweep.metric, sweep.compared) == ("accuracy", [full, cut])
    rows = sweep_results.run_rows(sweep)
    assert [(r["folder"], r["metric"]) for r in rows] == [
        ("1", full),
        ("1", cut),
        ("2", full),
        ("2", cut),
        ("3", full),
        ("3", cut),
        ("4", "accuracy"),  # Nobody knows which models it would have had.
    ]
    best = [r["best"] for r in rows]
    assert best[:2] == [0.4, 0.6] and best[4:6] == [0.7, 0.3]
    assert all(math.isnan(best[i]) for i in (2, 3, 6))
    assert [r["best_loss"] for r in rows[:2]] == [2.0, 1.0]
    assert [r["rounds_to_target"] for r in rows[1:5:3]] == [1, 1]
    table = sweep_results.configuration_rows(sweep, rows)
    assert [(r["configuration"], r["metric"], r["complete"], r["failed"]) for r in table] == [
        ("x", full, 1, 1),
        ("x", cut, 1, 1),
        ("y", full, 1, 0),
        ("y", cut, 1, 0),
        ("z", "accuracy", 0, 1),
    ]
    assert [r["best_mean"] for r in table[:4]] == [0.4, 0.6, 0.7, 0.3]
    # Each has a best run of its own.
    assert [r["folder"] for r in sweep_results.best_rows(sweep, rows)] == ["3", "1"]
    sweep_results.write(sweep)
    assert sweep_results.best_run(path) == path / "3"
    assert len(json.loads((path / "sweep.json").read_text())["runs"]) == len(rows)


def test_one_model_of_several_is_compared_alone_if_asked_for(two_models):
    path, runs, _, cut = two_models
    rows = sweep_results.run_rows(sweep_results.read(path, "recipe", runs, cut))
    assert [(r["folder"], r["metric"]) for r in rows] == [(run.folder, cut) for run in runs]
    assert [r["best"] for r in rows[::2]] == [0.6, 0.3]


def test_a_metric_that_some_configurations_have(two_models):
    """A configuration has rows of its own models alone."""
    path, runs, full, cut = two_models
    _write(path / "5", {"round": [1], "vgg full/accuracy": [0.9]})
    sweep = sweep_results.read(path, "recipe", [*runs, _run("5", "v")])
    assert sweep.compared == [full, cut, "vgg full/accuracy"]
    assert sweep.compared_of("x") == [full, cut]
    assert sweep.compared_of("v") == ["vgg full/accuracy"]
    assert [r["metric"] for r in sweep_results.run_rows(sweep)][-1:] == ["vgg full/accuracy"]


def test_unknown_metric(by_hand):
    path, runs = by_hand
    for metric in ("A/dice", "seconds", "stage"):
        with pytest.raises(
            InputError, match="expected one of train_loss, A/jaccard, A/loss, jaccard, loss of"
        ):
            sweep_results.read(path, "recipe", runs, metric)
    # As long as no run is complete, nobody knows.
    assert sweep_results.read(path, "recipe", runs[3:], "A/dice").metric == "A/dice"


def test_best_run_of_what_has_none(tmp_path):
    with pytest.raises(InputError, match="expected a sweep with sweep.json, found No such file"):
        sweep_results.best_run(tmp_path)
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(InputError, match="expected a sweep, found"):
        sweep_results.best_run(tmp_path)
    sweep_results.write(sweep_results.read(tmp_path, "r", [_run("1", "x", status="failed")]))
    with pytest.raises(InputError, match="expected a sweep with a complete run, found none"):
        sweep_results.best_run(tmp_path)
    (tmp_path / "sweep.json").write_text('{"best_run": "gone"}')
    with pytest.raises(InputError, match="found no such folder"):
        sweep_results.best_run(tmp_path)


def test_folder_may_move(tmp_path):
    made = example_sweep.runs(epochs=(1,), clients=(1,), repeats=1)
    sweep_results.write(
        sweep_results.read(example_sweep.write(tmp_path / "a", made), "recipe", made)
    )
    (tmp_path / "a").rename(tmp_path / "b")
    assert sweep_results.best_run(tmp_path / "b") == tmp_path / "b" / made[0].folder
