"""The program `sweep`: kills, failures, refusals, and what lies in its folder.

Most tests sweep `tiny_recipe`, which has all that a sweep needs and takes a fraction of a second.
"""

import dataclasses
import json
import random
import signal
import time

import psutil
import pytest

from tests.experiments import programs
from tffcxr import concealed
from tffcxr.sweeps import sweep_results

GRID = ("--experiment=tiny", "--grid=learning_rate=0.1,0.5", "--repeats=2")
KILLS = 4


def _sweep(folder, *flags):
    return programs.run("tiny_sweep", f"--output_dir={folder}", *flags)


def _refusal(folder, *flags):
    ended = _sweep(folder, *flags)
    return programs.refusal(dataclasses.replace(ended, errors=ended.errors.replace("tests.", "")))


def _rows(path):
    """A table's rows without the times, which differ."""
    rows = programs.read_rows(path)
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def _lines(text):
    """The tables that a sweep prints; not the path of its report."""
    return [line for line in text.splitlines() if not line.startswith("report:")]


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory):
    """A complete sweep, and how it ended."""
    folder = tmp_path_factory.mktemp("sweep") / "whole"
    ended = _sweep(folder, *GRID, "--target=0.5", "--set=site=x,1", "--set=site=y")
    assert ended.status == 0, ended.errors
    return folder, ended


def test_rows_by_hand(whole):
    folder, ended = whole
    rows = _rows(folder / "summary.csv")
    # Round r of seed s has the AUROC 1 - 1 / (1 + r * rate * (1 + s)), in three rounds.
    assert [(r["learning_rate"], r["repeat"], r["seed"]) for r in rows] == [
        ("0.1", "1", "0"),
        ("0.5", "1", "0"),
        ("0.1", "2", "1"),
        ("0.5", "2", "1"),
    ]
    assert [float(r["best"]) for r in rows] == pytest.approx([3 / 13, 0.6, 0.375, 0.75])
    assert [float(r["best_loss"]) for r in rows] == pytest.approx([10 / 13, 0.4, 0.625, 0.25])
    assert [r["rounds_to_target"] for r in rows] == ["nan", "2", "nan", "1"]
    assert {(r["status"], r["rounds_trained"], r["best_round"]) for r in rows} == {
        ("complete", "3", "3")
    }
    one, two = _rows(folder / "configurations.csv")
    assert float(one["best_mean"]) == pytest.approx((3 / 13 + 0.375) / 2)
    assert float(one["best_sd"]) == pytest.approx((0.375 - 3 / 13) / 2**0.5)
    assert (one["reached"], one["rounds_to_target_mean"]) == ("0", "nan")
    assert (two["reached"], two["rounds_to_target_mean"]) == ("2", "1.5")
    assert "0.675 ± 0.106" in ended.output
    one, two = _rows(folder / "results.csv")
    assert (one["learning_rate"], one["task"], one["split"]) == ("0.1", "Lung, left", "test")
    assert (one["complete"], one["loss_n"], one["dice_n"]) == ("2", "2", "1")
    assert float(two["loss_mean"]) == pytest.approx((0.4 + 0.25) / 2)
    assert float(two["loss_sd"]) == pytest.approx((0.4 - 0.25) / 2**0.5)
    assert (two["dice_mean"], two["dice_sd"]) == ("0.5", "nan")  # Undefined in the second repeat.
    assert "0.325 ± 0.106" in ended.output and "0.500 ± – (1 of 2)" in ended.output
    assert "0.325 ± 0.106" in (folder / "report.html").read_text(encoding="utf-8")
    assert all(len(line) <= 100 for line in _lines(ended.output))


def test_folder_holds_the_runs_and_names_the_best(whole):
    folder, ended = whole
    best = sweep_results.best_run(folder)
    assert best == folder / "runs" / "learning_rate=0.5" / "repeat_2"
    config = json.loads((best / "config.json").read_text())["settings"]
    assert (config["learning_rate"], config["seed"]) == (0.5, 1)
    assert config["site"] == concealed.settings({"site": ["x,1", "y"]})["site"]
    assert len(set(config["site"])) == 2
    assert best.with_name("repeat_2.log").read_text().splitlines() == [
        "tiny: round 1/3  loss 0.5000",
        "tiny: round 2/3  loss 0.3333",
        "tiny: round 3/3  loss 0.2500",
    ]
    # Shared by all runs; with sites, there are no phantoms.
    assert (folder / "cache").is_dir() and not (folder / "phantoms").exists()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count('href="runs/learning_rate%3D0.5/repeat_2/report.html"') == 2
    assert "Synthetic images" in page
    assert (folder / "figures" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((folder / "tensorboard").rglob("events*"))) == 4
    progress = ended.errors.splitlines()
    assert progress[0] == "run 1/4: learning_rate=0.1, repeat 1 (seed 0)"
    assert progress[1].startswith("run 1/4: complete; ")
    assert progress[1].endswith(" elapsed")  # One run tells too little of the others.
    assert progress[3].endswith(" left")


def test_again_runs_nothing_and_may_ask_for_another_metric(whole):
    folder, ended = whole
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/**/rounds.csv")}
    flags = (*GRID, "--set=site=x,1", "--set=site=y")
    again = _sweep(folder, *flags, "--target=0.5")
    assert again.status == 0
    assert _lines(again.output) == _lines(ended.output)
    assert again.errors == "4 of 4 runs are complete already\n"
    assert len(list((folder / "tensorboard").rglob("events*"))) == 4
    losses = _sweep(folder, *flags, "--metric=Lung, left/loss", "--target=0.5")
    assert losses.status == 0
    assert [float(row["best"]) for row in _rows(folder / "summary.csv")] == pytest.approx(
        [10 / 13, 0.4, 0.625, 0.25]
    )
    assert sweep_results.best_run(folder).parent.name == "learning_rate=0.5"
    assert before == {path: path.stat().st_mtime_ns for path in before}
    wrong = _refusal(folder, *flags, "--metric=Lungs/auroc")
    assert "--metric: expected one of train_loss, Lung, left/loss" in wrong
    _sweep(folder, *flags, "--target=0.5")


def test_wrong_metric_stops_no_run(tmp_path):
    folder = tmp_path / "s"
    wrong = _sweep(folder, *GRID, "--metric=dise")
    known = "train_loss, Lung, left/loss, Lung, left/auroc, loss, auroc of rounds.csv"
    assert wrong.status == 2
    assert wrong.errors.splitlines()[-1].endswith(
        f"--metric: expected one of {known}, found 'dise'"
    )
    logs = sorted((folder / "runs").rglob("rounds.csv"))
    before = {path: path.stat().st_mtime_ns for path in logs}
    assert len(before) == 4
    # What does not depend on the metric is there.
    assert len(_rows(folder / "results.csv")) == 2
    # The other tables are as they were before, here at the start.
    assert {row["status"] for row in _rows(folder / "summary.csv")} == {"pending"}
    right = _sweep(folder, *GRID, "--metric=auroc")
    assert right.status == 0, right.errors
    assert right.errors == "4 of 4 runs are complete already\n"
    assert {row["status"] for row in _rows(folder / "summary.csv")} == {"complete"}
    assert before == {path: path.stat().st_mtime_ns for path in logs}


def test_wrong_metric_is_told_once_and_early_with_what_failed(tmp_path):
    flags = ("--experiment=tiny", "--grid=learning_rate=0.1,1e30,0.5", "--metric=dise")
    ended = _sweep(tmp_path / "s", *flags)
    assert ended.status == 2
    lines = ended.errors.splitlines()
    warnings = [i for i, line in enumerate(lines) if line.startswith("WARNING:")]
    assert len(warnings) == 1
    assert "run 1/3: complete" in lines[warnings[0] - 1]
    assert "the runs continue: --metric: expected one of train_loss" in lines[warnings[0]]
    assert lines[-1].endswith("found 'dise'; 1 of 3 runs failed")


def test_another_sweep_in_the_same_folder_is_refused(whole):
    folder, _ = whole
    before = (folder / "summary.csv").read_bytes()
    for flags, expected in (
        (["--grid=learning_rate=0.1,0.6"], "learning_rate=0.6"),
        (["--grid=learning_rate=0.1,0.5", "--set=rounds=2"], "--rounds=2"),
        (["--grid=learning_rate=0.1,0.5", "--seed=1"], "seed=1"),
        (["--grid=learning_rate=0.1,0.5", "--repeats=3"], "repeats=3"),
    ):
        if not any("repeats" in flag for flag in flags):
            flags = ["--repeats=2", *flags]
        flags = [*flags, *(["--set=site=x,1", "--set=site=y"])]
        line = _refusal(folder, "--experiment=tiny", *flags)
        assert "use the same settings to resume or another folder" in line
        assert expected in line
    assert (folder / "summary.csv").read_bytes() == before


def test_kills_leave_no_process_and_no_trace(tmp_path, whole):
    flags = (*GRID, "--target=0.5", "--set=site=x,1", "--set=site=y", "--set=pause=0.05")
    rng = random.Random(time.time_ns())
    kills: list[float] = []
    for _ in range(KILLS):
        program = programs.Program("tiny_sweep", [f"--output_dir={tmp_path / 's'}", *flags])
        kills.append(rng.uniform(0.3, 2.0))
        time.sleep(kills[-1])
        children = program.children()
        program.kill()
        program.wait()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive, kills
    ended = _sweep(tmp_path / "s", *flags)
    assert ended.status == 0, (kills, ended.errors)
    folder, expected = whole
    assert _lines(ended.output) == _lines(expected.output), kills
    for name in ("summary.csv", "configurations.csv", "results.csv"):
        assert _rows(tmp_path / "s" / name) == _rows(folder / name), kills


def test_ctrl_c_ends_the_child_and_says_how_to_go_on(tmp_path):
    program = programs.Program(
        "tiny_sweep", [f"--output_dir={tmp_path / 's'}", *GRID, "--set=pause=60"]
    )
    log = tmp_path / "s" / "runs" / "learning_rate=0.1" / "repeat_1"
    deadline = time.monotonic() + 60
    while not (log / "rounds.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    children = program.children()
    program.interrupt()
    ended = program.wait()
    assert ended.status == 130
    assert ended.errors.splitlines()[-1].endswith("interrupted; the same command resumes the sweep")
    told = log.with_name("repeat_1.log").read_text().splitlines()[-1]
    assert told.endswith("interrupted; no round was finished; the same command starts again")
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_failed_run_does_not_stop_the_others_and_is_tried_again(tmp_path):
    flags = ("--experiment=tiny", "--grid=learning_rate=1e30,0.5")
    ended = _sweep(tmp_path / "s", *flags)
    assert ended.status == 1
    failed, done = _rows(tmp_path / "s" / "summary.csv")
    assert (failed["status"], done["status"]) == ("failed", "complete")
    assert failed["error"].endswith("round 1: every client failed")
    assert failed["best"] == failed["rounds_trained"] == "nan"
    assert "failed: runs/learning_rate=1e30/repeat_1: " in ended.output
    assert ended.errors.splitlines()[-1].endswith(
        "1 of 2 runs failed; the same command retries them"
    )
    page = (tmp_path / "s" / "report.html").read_text(encoding="utf-8")
    assert "every client failed" in page
    again = _sweep(tmp_path / "s", *flags)
    assert again.status == 1
    log = tmp_path / "s" / "runs" / "learning_rate=1e30" / "repeat_1.log"
    assert log.read_text().count("every client failed") == 2


def test_configurations_of_a_file(tmp_path):
    file = tmp_path / "c.json"
    file.write_text('{"slow": {"learning_rate": 0.1}, "fast, short": {"rounds": 1}}')
    ended = _sweep(tmp_path / "s", "--experiment=tiny", f"--configurations={file}")
    assert ended.status == 0, ended.errors
    assert (tmp_path / "s" / "phantoms").is_dir()
    slow, fast = _rows(tmp_path / "s" / "summary.csv")
    assert (slow["configuration"], slow["learning_rate"], slow["rounds"]) == ("slow", "0.1", "")
    assert (fast["learning_rate"], fast["rounds"], fast["rounds_trained"]) == ("", "1", "1")
    assert fast["folder"] == "runs/fast,-short/repeat_1"


def test_runs_are_forks_of_one_process_unless_they_need_another_environment(tmp_path):
    flags = ("--experiment=tiny", "--grid=precision=float32,bfloat16,float16", "--set=rounds=1")
    ended = _sweep(tmp_path / "s", *flags)
    assert ended.status == 0, ended.errors
    parents = [
        (tmp_path / "s" / "runs" / f"precision={name}" / "repeat_1" / "parent").read_text()
        for name in ("float32", "bfloat16", "float16")
    ]
    # TensorFlow reads at its import what bfloat16 needs, and the server has imported it.
    assert parents[0] == parents[2] != parents[1]


@pytest.mark.parametrize(
    "flags,expected",
    [
        (["--experiment=chexviz"], "--experiment: expected one of"),
        ([], "--experiment: expected one of"),
        (["--experiment=cheXviz", "--grid=local_epoch=1"], "did you mean local_epochs?"),
        (["--experiment=cheXviz", "--grid=rounds=1,x"], "--rounds: expected a whole number"),
        (["--experiment=cheXviz", "--grid=rounds"], "--grid: expected NAME=VALUE,VALUE,…"),
        (["--experiment=cheXviz", "--repeats=0"], "--repeats: expected at least 1, found 0"),
        (["--experiment=cheXviz", "--target=nan"], "--target: expected a finite number"),
        (
            ["--experiment=cheXviz", "--grid=learning_rate=0.1,0.10"],
            "learning_rate=0.1 and learning_rate=0.10 with the same settings",
        ),
        (["--experiment=cheXviz", "--seed=1", "--grid=seed=1,2"], "--seed: expected it once"),
        (["--experiment=cheXviz", "--configurations=/nowhere.json"], "/nowhere.json"),
    ],
)
def test_bad_input_is_told_before_anything_runs(tmp_path, flags, expected):
    ended = programs.run("sweep", f"--output_dir={tmp_path / 's'}", *flags)
    assert expected in programs.refusal(ended)
    assert not (tmp_path / "s").exists()


def test_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    assert "found 'thesis.txt'" in _refusal(tmp_path, *GRID)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_killed_sweep_of_a_real_recipe_goes_on(tmp_path):
    from tffcxr.datasets.phantoms import phantom

    phantom.write_rsna(tmp_path / "rsna", 24, seed=1, size=64, workers=1)
    flags = [f"--output_dir={tmp_path / 's'}", "--experiment=cheXviz", "--grid=local_epochs=1,2"]
    for setting in (
        f"site=a=rsna:{tmp_path / 'rsna'}:Lung Opacity",
        "image_size=32",
        "width=0.25",
        "rounds=1",
        "baseline=none",
        "heatmaps=0",
        "bootstrap=20",
    ):
        flags.append(f"--set={setting}")
    program = programs.Program("sweep", flags)
    second = tmp_path / "s" / "runs" / "local_epochs=2" / "repeat_1.log"
    deadline = time.monotonic() + 240
    while not second.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    children = program.children()
    program.kill()
    assert program.wait().status == -signal.SIGKILL
    assert not psutil.wait_procs(children, timeout=30)[1]
    first = second.parents[1] / "local_epochs=1" / "repeat_1"
    before = (first / "rounds.csv").stat().st_mtime_ns
    ended = programs.run("sweep", *flags)
    assert ended.status == 0, ended.errors
    assert ended.errors.startswith("1 of 2 runs are complete already\nrun 2/2: local_epochs=2")
    assert (first / "rounds.csv").stat().st_mtime_ns == before
    rows = _rows(tmp_path / "s" / "summary.csv")
    assert [(row["local_epochs"], row["metric"], row["status"]) for row in rows] == [
        ("1", "Lung Opacity/auroc", "complete"),
        ("2", "Lung Opacity/auroc", "complete"),
    ]
    final = _rows(tmp_path / "s" / "results.csv")
    assert [(row["local_epochs"], row["task"], row["auroc_n"]) for row in final] == [
        (row["local_epochs"], row["metric"].removesuffix("/auroc"), "1") for row in rows
    ]
    # Decoded once for both.
    assert len(list((tmp_path / "s" / "cache").glob("*/manifest.json"))) == 1
