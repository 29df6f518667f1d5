"""What the terminal shows of a round."""

import io
import math

import pytest

from tffcxr.training import progress
from tffcxr.training.loop import ClientResult, RoundResult


def _observe(observer, number, clients=(), **validation):
    row = {"round": number, "train_loss": 0.123456, "images": 300}
    observer(row, RoundResult(tuple(clients), 0.123456, validation, {}), None)


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_per_round_with_the_time_left(clock):
    stream = io.StringIO()
    observer = progress.Progress("federated", 10, "validation", stream)
    clock[0] = 50.0  # The first round traces, too.
    _observe(observer, 1, **{"Edema/auroc": 0.75, "Edema/loss": 0.5, "Mass/auroc": math.nan})
    clock[0] = 60.0
    _observe(observer, 2)
    clock[0] = 80.0
    _observe(observer, 3)
    assert stream.getvalue().splitlines() == [
        "federated: round 1/10  loss 0.1235  validation AUROC Edema 0.750  6 images/s",
        "federated: round 2/10  loss 0.1235  30 images/s  about 1 min 20 s left",
        # The mean of the rounds after the first, 15 s, seven times.
        "federated: round 3/10  loss 0.1235  15 images/s  about 1 min 45 s left",
    ]
    assert all(progress.is_round(line) for line in stream.getvalue().splitlines())


def test_of_many_findings_the_mean_and_the_ends_are_shown(clock):
    stream = io.StringIO()
    observer = progress.Progress("federated", 10, "validation", stream)
    clock[0] = 10.0
    _observe(observer, 1, **{f"F{number}/auroc": 0.5 + number / 20 for number in range(7)})
    assert "validation AUROC mean of 7 0.650, F0 0.500 to F6 0.800" in stream.getvalue()


def test_dice_is_shown_where_there_is_no_jaccard(clock):
    stream = io.StringIO()
    observer = progress.Progress("federated", 2, "test", stream)
    clock[0] = 10.0
    _observe(observer, 1, **{"CT/dice": 0.5, "Lungs/jaccard": 0.6, "Lungs/dice": 0.75})
    assert "test Dice CT 0.500  test Jaccard Lungs 0.600  30 images/s" in stream.getvalue()


def test_a_resumed_run_has_the_rounds_that_are_left(clock):
    stream = io.StringIO()
    observer = progress.Progress("federated", 10, "validation", stream)
    for number in (8, 9, 10):
        clock[0] += 20.0 if number == 8 else 2.0
        _observe(observer, number)
    eighth, ninth, tenth = stream.getvalue().splitlines()
    assert ninth.startswith("federated: round 9/10")
    assert ninth.endswith("about 2 s left")
    assert "left" not in eighth + tenth  # Before there is an estimate, and when nothing is left.


def test_a_client_that_was_left_out_is_named(clock):
    stream = io.StringIO()
    observer = progress.Progress("federated", 2, "test", stream)
    clock[0] = 1.0
    clients = [
        ClientResult("a", 5, 0.5),
        ClientResult("b", 5, math.nan, "layer bn is not finite"),
        ClientResult("c", 0, math.nan, "left out: not connected"),
    ]
    _observe(observer, 1, clients)
    lines = stream.getvalue().splitlines()[1:]
    assert lines == [
        "federated: round 1: left out b: layer bn is not finite",
        "federated: round 1: left out c: not connected",
    ]
    assert not any(map(progress.is_round, lines))


@pytest.mark.parametrize(
    "seconds,text",
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3600, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds, text):
    assert progress.format_duration(seconds) == text
