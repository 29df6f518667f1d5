"""What a sweep shows of its runs: their rounds while they train, and the time that is left."""

import io
import re
import signal

import pytest

from tffcxr.sweeps import sweep_plan, sweep_progress, sweep_runs

ROUND = "federated: round {}/9  loss 0.5000  30 images/s"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(name="clock")
def _clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(sweep_progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture(name="log")
def _log(tmp_path):
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as writer, path.open("rb") as reader:
        yield writer, reader


def _add(log, *lines):
    log[0].write("".join(f"{line}\n" for line in lines).encode())


def test_terminal_shows_the_latest_round_in_one_line(log, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    with sweep_progress.Display(stream).of("run 2/6", log[1]) as rounds:
        _add(log, "WARNING: a file", ROUND.format(1), ROUND.format(2), "WARNING: another")
        rounds.update()
        log[0].write(ROUND.format(3)[:20].encode())  # Not all of the line is there yet.
        rounds.update()
        _add(log, ROUND.format(3)[20:])
        rounds.update()
    # Cut to the width, as a line that wraps could not be replaced.
    assert stream.getvalue() == (
        "\r\x1b[Krun 2/6: federated: round 2/9  loss 0.5"
        "\r\x1b[Krun 2/6: federated: round 3/9  loss 0.5"
        "\r\x1b[K"
    )


def test_file_gets_a_round_every_ten_seconds(log, clock):
    stream = io.StringIO()
    with sweep_progress.Display(stream).of("run 2/6", log[1]) as rounds:
        for number in range(1, 10):
            clock[0] += 4.0
            _add(log, ROUND.format(number))
            rounds.update()
    assert [line.split("  ")[0] for line in stream.getvalue().splitlines()] == [
        f"run 2/6: federated: round {number}/9" for number in (3, 6, 9)
    ]


def test_rounds_of_a_run_are_shown_while_it_runs(tmp_path):
    configuration = sweep_plan.Configuration("slow", (("pause", "0.8"),), "slow")
    stream = Terminal()
    notes: list[str] = []
    runner = sweep_runs.Runner(
        "tests.experiments.tiny_recipe",
        [("rounds", "3")],
        tmp_path,
        lambda _: [],
        lambda _: {},
        notes.append,
        sweep_progress.Display(stream),
    )
    *_, outcomes = runner.run_all([sweep_plan.Run(configuration, 1, 0)])
    assert [outcome.status for outcome in outcomes] == ["complete"]
    found = re.findall(r"run 1/1: tiny: round (\d)/3", stream.getvalue())
    assert {"1", "2"} <= set(found)
    assert notes[-1].startswith("run 1/1: complete; ") and notes[-1].endswith(" elapsed")


def test_run_that_is_given_up_is_stopped_with_what_it_has_finished(tmp_path):
    configuration = sweep_plan.Configuration("slow", (("pause", "0.2"),), "slow")
    table = tmp_path / "runs" / "slow" / "repeat_1" / "rounds.csv"
    runner = sweep_runs.Runner(
        "tests.experiments.tiny_recipe",
        [("rounds", "1000")],
        tmp_path,
        lambda _: [],
        lambda _: {},
        lambda _: None,
        sweep_progress.Display(io.StringIO()),
    )
    run = sweep_plan.Run(configuration, 1, 0)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # As in the background of a script.
    try:
        outcome = runner.run(run, "", lambda: table.exists() and "\n1," in table.read_text())
    finally:
        signal.signal(signal.SIGINT, before)
        runner.close()
    assert (outcome.status, outcome.error) == ("pending", "")
    told = table.parent.with_name("repeat_1.log").read_text().splitlines()
    assert "terminated; " in told[-1]
    assert len(table.read_text().splitlines()) == len(told)  # A header, and a line per round.


@pytest.mark.parametrize(
    "seconds,waiting,expected",
    [
        ({}, ["a"], None),
        ({"a": [90.0]}, ["b"], None),  # It may have decoded all images.
        ({"a": [90.0], "b": [10.0]}, ["c", "c"], 20.0),
        ({"a": [90.0], "b": [10.0], "c": [40.0]}, ["a", "b", "c"], 25.0 + 10.0 + 40.0),
        ({"a": [90.0, 30.0], "b": [10.0]}, ["a", "b"], 40.0),
        ({"a": [90.0, 30.0]}, [], None),
    ],
)
def test_time_left_of_runs_that_differ(seconds, waiting, expected):
    assert sweep_runs._left(seconds, waiting) == expected
