"""The program `sweep` with `--search`: kills, failures, refusals, and what lies in its folder."""

import dataclasses
import json
import time

import psutil
import pytest

from tests.experiments import programs
from tffcxr.sweeps import sweep_results

SEARCH = (
    "--experiment=tiny",
    "--search=auroc",
    "--trials=6",
    "--grid=learning_rate=1e-3..10",
    "--grid=momentum=0.0,0.5",
    "--seed=1",
)


def _sweep(folder, *flags):
    return programs.run("tiny_sweep", f"--output_dir={folder}", *flags)


def _refusal(folder, *flags):
    ended = _sweep(folder, *flags)
    return programs.refusal(dataclasses.replace(ended, errors=ended.errors.replace("tests.", "")))


def _rows(folder):
    rows = programs.read_rows(folder / "summary.csv")
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory):
    """A complete search, and how it ended."""
    folder = tmp_path_factory.mktemp("search") / "whole"
    ended = _sweep(folder, *SEARCH)
    assert ended.status == 0, ended.errors
    return folder, ended


def test_folder_holds_the_trials_and_names_the_best(whole):
    folder, ended = whole
    rows = _rows(folder)
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert {row["status"] for row in rows[:3]} == {"complete"}
    complete = [row for row in rows if row["status"] == "complete"]
    # The AUROC after three rounds is 1 - 1 / (1 + 3 * rate * (1 + seed)).
    for row in complete:
        rate = float(row["learning_rate"])
        assert float(row["value"]) == pytest.approx(1 - 1 / (1 + 6 * rate))
    (pruned, *_) = (row for row in rows if row["status"] == "pruned")
    assert pruned["pruned_round"] == "1" and pruned["value"] == "nan"
    log = (folder / pruned["folder"]).with_name("repeat_1.log").read_text()
    assert "tiny: round 1/3" in log and "Traceback" not in log
    best = max(complete, key=lambda row: float(row["value"]))
    assert sweep_results.best_run(folder, of_all=True) == folder / best["folder"]
    # The best is the first row, and its settings are ready to run.
    assert ended.output.splitlines()[2].startswith(f"{best['trial']} (best)")
    (command,) = (line for line in ended.output.splitlines() if line.startswith("tffcxr "))
    assert command == (
        f"tffcxr tiny --learning_rate={best['learning_rate']} "
        f"--momentum={best['momentum']} --seed=1 --output_dir={folder}_best"
    )
    assert "on the validation images" in " ".join(ended.output.split())
    assert (folder / "figures" / "trials.png").exists()
    assert len(list((folder / "tensorboard").rglob("events*"))) == 6
    # Optuna says nothing of its own.
    progress = ended.errors.splitlines()
    assert all(line.startswith("trial ") for line in progress), progress
    assert len([line for line in progress if "; " in line]) == 6


def test_killed_search_is_continued_as_if_it_were_not_and_extended(tmp_path, whole):
    folder = tmp_path / "s"
    for trial, flags in ((2, ["--trials=4"]), (5, [])):
        started = programs.Program("tiny_sweep", [f"--output_dir={folder}", *SEARCH, *flags])
        table = folder / "runs" / f"trial_{trial:04d}" / "repeat_1" / "rounds.csv"
        deadline = time.monotonic() + 60
        while not table.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        children = started.children()
        started.kill()
        started.wait()
        assert not psutil.wait_procs(children, timeout=10)[1]
    ended = _sweep(folder, *SEARCH)
    assert ended.status == 0, ended.errors
    assert ended.errors.startswith("4 of 6 trials have ended already\ntrial 5/6: ")
    assert _rows(folder) == _rows(whole[0])


def test_another_search_in_the_same_folder_is_refused(whole):
    folder, _ = whole
    before = (folder / "summary.csv").read_bytes()
    for flags, expected in (
        ([*SEARCH, "--search=loss"], "holds a search by 'auroc', found 'loss'"),
        ([*SEARCH, "--noprune"], "prune=False"),
        ([*SEARCH, "--sampler=random"], "sampler='random'"),
        ([*SEARCH, "--set=batch_size=2"], "--batch_size=2"),
        ([*SEARCH[:3], "--grid=learning_rate=1e-3..9", *SEARCH[4:]], "1e-3..9"),
        (["--experiment=tiny", "--grid=momentum=0.0,0.5"], "--grid=learning_rate=None"),
    ):
        assert expected in _refusal(folder, *flags)
    assert (folder / "summary.csv").read_bytes() == before


def test_unknown_metric_ends_the_search_after_a_round_and_may_be_corrected(tmp_path):
    flags = ("--experiment=tiny", "--trials=2", "--grid=learning_rate=0.1,0.5", "--set=pause=0.6")
    ended = _sweep(tmp_path / "s", *flags, "--search=Lungs/auroc")
    assert ended.status == 2
    first, *_, last = ended.errors.splitlines()
    assert first.startswith("trial 1/2: ")
    assert "--search: expected one of train_loss, Lung, left/loss, Lung, left/auroc" in last
    assert len(list((tmp_path / "s" / "runs").iterdir())) == 1
    right = _sweep(tmp_path / "s", *flags, "--search=Lung, left/auroc")
    assert right.status == 0, right.errors
    assert [row["status"] for row in _rows(tmp_path / "s")] == ["complete", "complete"]


def test_all_trials_failed(tmp_path):
    flags = ("--experiment=tiny", "--search=auroc", "--grid=learning_rate=1e30,2e30")
    ended = _sweep(tmp_path / "s", *flags)
    assert ended.status == 1
    assert ended.errors.splitlines()[-1].endswith(
        "all 2 trials failed; the same command with more --trials tries others"
    )
    assert {row["status"] for row in _rows(tmp_path / "s")} == {"failed"}
    assert "best settings" not in ended.output
    page = (tmp_path / "s" / "report.html").read_text(encoding="utf-8")
    assert "every client failed" in page
    sweep = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert sweep["best_run"] is None and sweep["complete"]


RATES = "--grid=learning_rate=1e-4..1e-2"


@pytest.mark.parametrize(
    "flags,expected",
    [
        ([], "--search: expected a --grid to search, such as --grid=learning_rate=1e-4..1e-2"),
        ([RATES, "--trials=0"], "--trials: expected at least 1, found 0"),
        ([RATES, "--search=aurok"], "--search: expected a metric (accuracy, auroc"),
        (["--grid=batch_norm=0..1"], "--batch_norm: expected one of aggregate"),
        (["--grid=local_epoch=1..3"], "did you mean local_epochs?"),
        (["--grid=rounds=3..1"], "--grid: expected LOW below HIGH"),
        (["--grid=seed=1..9"], "--grid: expected no seed in a search"),
        (["--grid=learning_rate=0.1,0.10"], "with the same settings"),
        (["--grid=local_epochs=1,2", "--trials=3"], "--trials: expected at most 2"),
        ([RATES, "--sampler=grid"], "--sampler=grid: expected lists of values, found the range"),
        ([RATES, "--repeats=2"], "--repeats: expected it without --search, found both"),
        ([RATES, "--metric=auroc"], "--metric: expected it without --search, found both"),
        ([RATES, "--set=learning_rate=0.1"], "expected learning_rate in one place"),
    ],
)
def test_bad_input_is_told_before_anything_runs(tmp_path, flags, expected):
    common = (f"--output_dir={tmp_path / 's'}", "--experiment=tiny", "--search=auroc")
    ended = programs.run("tiny_sweep", *common, *flags)
    line = programs.refusal(dataclasses.replace(ended, errors=ended.errors.replace("tests.", "")))
    assert expected in line
    assert not (tmp_path / "s").exists()


def test_recipe_checks_the_ends_of_a_range(tmp_path):
    flags = ("--experiment=cheXviz", "--search=auroc", "--grid=learning_rate=-1.0..1.0")
    ended = programs.run("sweep", f"--output_dir={tmp_path / 's'}", *flags)
    assert "cheXviz: learning rate: expected above 0, found -1.0" in programs.refusal(ended)


@pytest.mark.parametrize(
    "flags,expected",
    [
        ([RATES], "without --search, found the range 'learning_rate=1e-4..1e-2'"),
        (["--grid=local_epochs=1,2", "--trials=3"], "--trials: expected --search with it"),
    ],
)
def test_flags_of_a_search_without_one(tmp_path, flags, expected):
    assert expected in _refusal(tmp_path / "s", "--experiment=tiny", *flags)
    assert not (tmp_path / "s").exists()
