"""Private states stay at the hospitals through kills, and no longer than needed."""

from __future__ import annotations

import dataclasses
import gc

import numpy as np
import pytest

from tests.hospitals import in_memory, runs
from tests.hospitals.test_participation import comes_back, once
from tests.training import example
from tffcxr import runtime
from tffcxr.errors import RunError
from tffcxr.evaluation import registry
from tffcxr.hospitals.private_states import PrivateStates
from tffcxr.learning.schedules import Schedule
from tffcxr.training import checkpoints, loop, selection
from tffcxr.training.plan import Stage


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.clients(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module")
def kept(data):
    return runs.Setting(example.plan(runs.THREE, keeps_optimizer=True), data)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def kill_once(monkeypatch, module, name, is_now):
    """Has a function end like a kill the first time that something is so of its arguments."""
    whole, open_ = getattr(module, name), [True]

    def cut(*arguments, **named):
        if open_ and is_now(*arguments):
            open_.clear()
            raise Killed
        return whole(*arguments, **named)

    monkeypatch.setattr(module, name, cut)


def test_a_coordinator_that_is_killed_before_its_checkpoint_gives_the_same(
    tmp_path, monkeypatch, kept
):
    rows, state = kept.local(tmp_path / "local")
    kill_once(monkeypatch, checkpoints.Checkpoints, "save", lambda _, number, *__: number == 2)
    study = runs.Study(tmp_path / "hospitals", kept)
    for site in study.sites:
        study.hospital(site)
    with pytest.raises(Killed):
        study.coordinate()
    assert [path.name for path in study.private_states("north", "north")][-1] == "round_000002.npz"
    end = study.run_on()
    assert runs.rows_of(end)[1:] == rows[1:]  # The first was read from its file, as text.
    runs.assert_same_state(study, end.state, state)


def test_coordinator_and_hospital_may_be_killed(tmp_path, monkeypatch, kept):
    """The hospital when its answer was to leave, the coordinator while others measure."""
    rows, state = kept.local(tmp_path / "local")
    hub = in_memory.Hub(loses_answer=once("compute", "south", 3))
    study = runs.Study(tmp_path / "hospitals", kept, hub=hub)
    comes_back(study, "south", hub)
    kill_once(monkeypatch, loop, "_row", lambda number, *_: number == 3)
    for site in study.sites:
        study.hospital(site)
    with pytest.raises(Killed):
        study.coordinate()
    end = study.run_on()
    assert runs.rows_of(end)[2:] == rows[2:]
    runs.assert_same_state(study, end.state, state)


def test_a_damaged_checkpoint_takes_the_hospitals_back_too(tmp_path, monkeypatch, kept):
    rows, state = kept.local(tmp_path / "local")
    kill_once(monkeypatch, checkpoints.Checkpoints, "save", lambda _, number, *__: number == 3)
    study = runs.Study(tmp_path / "hospitals", kept)
    for site in study.sites:
        study.hospital(site)
    with pytest.raises(Killed):
        study.coordinate()
    (study.folder / "checkpoints" / "round_000002.npz").write_bytes(b"cut")
    end = study.run_on()
    assert runs.rows_of(end)[1:] == rows[1:]
    runs.assert_same_state(study, end.state, state)


@pytest.mark.parametrize("best", [1, 2, 3])
def test_the_state_of_the_best_round_is_there_at_the_end(tmp_path, monkeypatch, kept, best):
    monkeypatch.setattr(selection, "best_round", lambda rows, _: min(best, len(rows)))
    hub = in_memory.Hub(holds=once("compute", "south", best + 1))
    study = runs.Study(
        tmp_path / "hospitals", kept, hub=hub, best=registry.AUROC, quorum=1, seconds=1
    )
    study.run()
    sampler = runs.Recorded.of(study.folder)
    assert (sampler.rounds.get(best + 1) == ["north"]) == (best < 3)
    stages = (dataclasses.replace(kept.plan.stages[0], rounds=best),)
    until = runs.Setting(dataclasses.replace(kept.plan, stages=stages), kept.data, kept.evaluator)
    kept.share(until)
    _, state = until.local(tmp_path / "local", sampler)
    for site, finished in study.finished.items():
        assert (finished.round, finished.rounds, finished.planned) == (best, 3, 3)
        assert finished.is_chosen
        assert runs.bits(finished.reported[site]) == runs.bits(until.weights(state)[site])


def test_states_and_memory_do_not_grow_with_rounds(tmp_path, monkeypatch, data):
    """Twelve rounds, of which the 4th is reported; in some, a hospital is late."""
    stage = Stage("all", 12, Schedule("constant", 1e-2, 12))
    setting = runs.Setting(example.plan(stage, keeps_optimizer=True), data)
    setting.local(tmp_path / "local")  # What is traced is so before.
    monkeypatch.setattr(selection, "best_round", lambda rows, _: min(4, len(rows)))
    hub = in_memory.Hub(holds=once("compute", "south", 6))
    files: list[int] = []
    objects: list[int] = []
    answers: list[int] = []

    def after_round(number):
        files.append(max(len(study.private_states(site, site)) for site in study.sites))
        # Answers end with their round, without the collector of cycles.
        answers.append(sum(answer() is not None for answer in hub.answers))
        hub.sent.clear()
        hub.received.clear()
        hub.answers.clear()
        if number in (7, 12):
            gc.collect()
            objects.append(len(gc.get_objects()))

    study = runs.Study(
        tmp_path / "hospitals", setting, hub=hub, best=registry.AUROC, quorum=1, seconds=1,
        after_round=after_round,
    )  # fmt: skip
    gc.disable()
    try:
        study.run()
    finally:
        gc.enable()
    assert len(files) == 12
    assert max(files) <= 4  # Of the best round, of two checkpoints, and one that does not count.
    assert answers == [0] * 12
    # Of a message that stayed in each round there would be some ten objects.
    assert objects[1] - objects[0] < 30


def test_states_by_hand(tmp_path):
    states = PrivateStates(tmp_path)
    for number in (1, 2, 4, 6):
        states.save("a", number, [np.full(2, number), np.float32(0.5)])
    states.settle("a", 4, [1, 3])  # Of round 3 the state after round 2; 6 did not count.
    assert sorted(path.name for path in tmp_path.glob("a/*")) == [
        f"round_00000{number}.npz" for number in (1, 2, 4)
    ]
    assert states.load("a", 4)[0].tolist() == [4, 4]
    with pytest.raises(RunError, match="expected the private state of round 6"):
        states.load("a", 6)
    states.settle("a", 0, [])
    assert not list(tmp_path.glob("a/*"))


def test_a_state_that_is_cut_or_half_written(tmp_path):
    states = PrivateStates(tmp_path)
    states.save("a", 1, [np.arange(100)])
    path = tmp_path / "a" / "round_000001.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match="expected the private state of round 1"):
        states.load("a", 1)
    (tmp_path / "a" / ".round_000002.npz.12.tmp").write_bytes(b"half")
    PrivateStates(tmp_path)  # Of a hospital that was started again.
    assert [each.name for each in (tmp_path / "a").iterdir()] == [path.name]
