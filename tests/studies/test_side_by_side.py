"""Independent trainings at once: all results, the first failure, and a stop for the others."""

import threading

import pytest

from tffcxr.studies import side_by_side


@pytest.fixture(autouse=True)
def _two_at_once(monkeypatch):
    monkeypatch.setattr(side_by_side, "at_once", lambda: 2)


def test_results_come_in_the_order_of_the_tasks_and_two_run_at_once():
    meeting = threading.Barrier(2, timeout=30)  # Breaks unless two tasks wait at once.

    def task(value):
        meeting.wait()
        return value

    tasks = {name: lambda name=name: task(name.upper()) for name in ("c", "a", "b", "d")}
    assert list(side_by_side.run(tasks).items()) == [("c", "C"), ("a", "A"), ("b", "B"), ("d", "D")]


def test_a_failure_is_raised_and_stops_the_neighbour_after_its_round():
    started, rounds = threading.Event(), []

    def fails():
        started.wait(30)
        raise OSError("disk full")

    def trains():
        started.set()
        while True:
            rounds.append(1)
            side_by_side.stop_if_asked({}, None, None)
            threading.Event().wait(0.01)

    with pytest.raises(OSError, match="disk full"):
        side_by_side.run({"long": trains, "bad": fails})
    assert rounds


def test_a_single_task_runs_in_the_callers_thread():
    assert side_by_side.run({"pooled": threading.current_thread}) == {
        "pooled": threading.main_thread()
    }
