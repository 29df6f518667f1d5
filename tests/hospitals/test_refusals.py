"""Hospitals and coordinators that do not fit, or say other things than they should."""

from __future__ import annotations

import hashlib
import logging
import pathlib
from typing import Any

import numpy as np
import pytest

from tests.hospitals import in_memory, runs
from tests.training import example
from tffcxr import runtime
from tffcxr.errors import RunError
from tffcxr.hospitals import member, questions, serving, wire
from tffcxr.training import loop
from tffcxr.training.plan import Stage

THREE_SITES = {site: (site,) for site in ("north", "south", "west")}


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.clients(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module")
def kept(data):
    return runs.Setting(example.plan(runs.THREE, keeps_optimizer=True), data)


@pytest.mark.parametrize(
    "change",
    [{"optimizer": "adamw"}, {"proximal": 0.1}, {"clip_norm": 1.0}, {"share": "all"}],
    ids=lambda change: next(iter(change)),
)
def test_another_computation_ends_the_training_with_a_line_at_both_sides(
    tmp_path, kept, data, caplog, change
):
    other = runs.Setting(example.plan(runs.THREE, keeps_optimizer=True, **change), data)
    study = runs.Study(tmp_path, kept, settings={"south": other})
    for site in study.sites:
        study.hospital(site)
    expected = f"round 1: too few hospitals take part (south: {questions.OTHER_COMPUTATION})"
    with pytest.raises(loop.TrainingFailed) as caught:
        study.coordinate()
    assert str(caught.value) == expected
    (line,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert line.startswith("compute: expected the computation ")
    assert "which this hospital has built of the study's settings, found " in line


def study_of(folder, data, kind, changes, **settings):
    """A study of as many rounds as changes, in each of which South answers otherwise.

    Args:
      folder: of the study.
      data: the clients'.
      kind: of the answers that are changed.
      changes: make what arrives of an answer, one for each round.
      **settings: see `runs.Study`.

    Returns:
      The study, and its setting.
    """
    rounds = Stage("all", len(changes), runs.RATE)
    setting = runs.Setting(example.plan(rounds, keeps_optimizer=True), data)
    waiting = iter(changes)

    def change(site, answer):
        is_meant = (site, answer.kind) == ("south", kind)
        return next(waiting)(answer) if is_meant else answer

    hub = in_memory.Hub(changes=change)
    return runs.Study(folder, setting, hub=hub, **settings), setting


def first(change):
    return lambda fields: [
        wire.Field(fields[0].name, change(fields[0].array)), *fields[1:]
    ]  # fmt: skip


OTHER_ANSWERS = {
    "a shape": first(lambda array: array[:-1]),
    "a dtype": first(lambda array: array.astype(np.float64)),
    "too few": lambda fields: fields[:-1],
    "too many": lambda fields: [*fields, fields[0]],
    "none": lambda _: [],
    "another order": lambda fields: fields[::-1],
}


def with_fields(change):
    return lambda answer: wire.Message(answer.kind, answer.about, tuple(change([*answer.fields])))


def test_other_answers_leave_the_client_out(tmp_path, data):
    changes = [with_fields(change) for change in OTHER_ANSWERS.values()]
    study, setting = study_of(tmp_path / "hospitals", data, "compute", changes, sites=THREE_SITES)
    end = study.run()
    found = runs.left_out(study.folder)
    assert set(found) == {(number, "south") for number in range(1, len(changes) + 1)}
    for name, why in zip(OTHER_ANSWERS, found.values()):
        assert why.startswith("answered with other values: "), name
    _, state = setting.local(tmp_path / "local", runs.Recorded.of(study.folder))
    runs.assert_same_state(study, end.state, state)


GARBAGE_ABOUT: list[dict[str, Any]] = [
    {"seconds": "long"},
    {"seconds": None},
    {"seconds": -1e9},
    {"seconds": float("nan")},
    {"failed": ["a\nb", {"c": "d" * 9999}]},
]


def test_garbage_about_an_answer(tmp_path, data, capfd):
    def with_about(about):
        return lambda answer: wire.Message(answer.kind, about, answer.fields)

    changes = [with_about(about) for about in GARBAGE_ABOUT]
    study, _ = study_of(tmp_path, data, "compute", changes, sites=THREE_SITES)
    study.run()
    ((where, reason),) = runs.left_out(study.folder).items()
    assert where == (len(changes), "south")
    assert len(reason) <= 300 and "\n" not in reason
    assert study.coordinator.traffic["south"]["work_seconds"] == 0.0
    assert "Traceback" not in capfd.readouterr().err


OTHER_MEASURES: dict[str, tuple[dict[str, Any], tuple[wire.Field, ...]]] = {
    "failed": ({"failed": "no"}, ()),
    "nothing": ({}, ()),
    "of another hospital": ({"measured": {"north": {}}, "counts": {}, "images": {"north": 9}}, ()),
    "garbage": ({"measured": 3, "images": {"south": 6}}, ()),
    "no columns": ({"measured": {"south": {}}, "counts": {}, "images": {"south": 6}}, ()),
    "no arrays": ({"scores": "Scores", "images": {"south": 6}}, ()),
    "an unknown kind": ({"scores": "Member", "images": {"south": 6}}, ()),
    "a negative count": ({"scores": "Scores", "images": {"south": -6}}, ()),
    "other arrays": (
        {"scores": "Scores", "images": {"south": 6}},
        tuple(wire.Field(str(n), np.zeros((6, 5), np.float32)) for n in range(3)),
    ),
    "arrays of one axis": (
        {"scores": "Scores", "images": {"south": 6}},
        tuple(wire.Field(str(n), np.zeros(6, np.float32)) for n in range(3)),
    ),
}


def test_other_measurements_do_not_count(tmp_path, data, caplog):
    def in_place(about, fields):
        return lambda answer: wire.Message(answer.kind, about, fields)

    changes = [in_place(*measured) for measured in OTHER_MEASURES.values()]
    study, _ = study_of(tmp_path, data, "measure", changes)
    end = study.run()
    assert end.number == len(changes) and not runs.left_out(study.folder)
    assert all(np.isnan(row["Effusion/auroc"]) for row in end.rounds)
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    starts = [f"round {number}: " for number in range(1, len(changes) + 1)]
    assert [line.startswith(start) for line, start in zip(lines, starts)] == [True] * len(lines)
    assert len(lines) == len(changes)


def test_a_shard_that_is_gone_is_told_without_its_path(tmp_path, caplog):
    folder = tmp_path / "disk"
    data = runs.clients(folder)
    setting = runs.Setting(example.plan(runs.THREE), data)
    gone = [pathlib.Path(path) for path in data.store.files("south", "train")]
    measured = [pathlib.Path(path) for path in data.store.files("south", "validation")]

    def after_round(number):
        for path in {1: gone, 2: measured}.get(number, ()):
            path.unlink()

    study = runs.Study(tmp_path / "run", setting, sites=THREE_SITES, after_round=after_round)
    study.run()
    assert runs.left_out(study.folder) == {(n, "south"): questions.FAILED for n in (2, 3)}
    lines = [each.getMessage() for each in caplog.records if "NotFound" in each.getMessage()
             or "No such file" in each.getMessage()]  # fmt: skip
    assert any(str(gone[0]) in line for line in lines)
    assert any(str(measured[0]) in line for line in lines)
    failures = [message for site, message in study.hub.received if "failed" in message.about]
    assert [message.kind for message in failures] == ["compute", "compute", "measure"]
    assert all(message.about["failed"] == questions.FAILED for message in failures)


def test_a_disk_that_is_full_leaves_the_client_out(tmp_path, monkeypatch, kept):
    def full(self, client, number, arrays):
        raise OSError(28, "No space left on device", "/secret/path")

    monkeypatch.setattr(member.PrivateStates, "save", full)
    study = runs.Study(tmp_path, kept)
    for site in study.sites:
        study.hospital(site)
    with pytest.raises(loop.TrainingFailed, match="too few hospitals .*: failed at the hospital"):
        study.coordinate()


class Asked:
    """A hospital that is asked some things by hand."""

    def __init__(self, tmp_path, kept):
        self.study = runs.Study(tmp_path, kept, quorum=1)
        self.study.hub.handle("register", lambda *_: wire.Message("register"))
        self.study.hub.handle("training", lambda *_: wire.Message("training"))
        self.study.hospital("north")
        self.study.await_serving("north")

    def __call__(self, kind, about, *arrays):
        fields = tuple(wire.Field("x", np.asarray(array)) for array in arrays)
        asked = self.study.hub.ask("north", wire.Message(kind, about, fields))
        return asked.result(30)


GARBAGE: list[tuple[str, dict[str, Any]]] = [
    ("compute", {}),
    ("compute", {"client": "north", "round_number": "x"}),
    ("compute", {"client": "north", "round_number": 99}),
    ("compute", {"client": ["north"], "round_number": 1}),
    ("compute", {"client": "../../etc", "round_number": 1, "computation": "0"}),
    ("measure", {}),
    ("measure", {"round_number": 1, "states": []}),
    ("measure", {"round_number": 1, "states": {"north": 5}}),
    ("execute", {"code": "print()"}),
]


def question(setting, **changes):
    process = setting.training(runs.Recorded(("north",), {})).process_of(setting.plan.stages[0])
    about = {
        "client": "north", "round_number": 1, "state": 0, "kept": [],
        "computation": questions.computation_ids.computation_id(process.next),
        "walks": [[0]], "later": [], "arrays": [0],
    }  # fmt: skip
    return {**about, **changes}


QUESTIONS: list[dict[str, Any]] = [
    {"walks": [[999]]}, {"walks": []}, {"walks": "all"}, {"walks": [[-1]]}, {"arrays": [5]},
    {"arrays": []}, {"state": 7}, {"kept": ["x"]}, {"client": "south"}, {},
]  # fmt: skip


def test_garbage_from_a_coordinator_is_answered_and_changes_nothing(tmp_path, kept, caplog):
    ask = Asked(tmp_path, kept)
    for kind, about in GARBAGE:
        answer = ask(kind, {"training": runs.NAME, **about})
        assert answer.about["failed"] == questions.FAILED, about
    for changes in QUESTIONS:
        answer = ask("compute", {"training": runs.NAME, **question(kept, **changes)})
        assert answer.about["failed"] == questions.FAILED, changes
        assert not answer.fields
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(lines) == len(GARBAGE) + len(QUESTIONS)
    assert not any("\n" in line for line in lines)
    # Neither of another training.
    assert not ask("finish", {"training": "another"}).about
    assert not ask("compute", {"training": "another"}).fields
    assert ask("measure", {"training": runs.NAME}).about["failed"]  # It is there still.


def test_a_question_of_a_state_that_nobody_has_drops_none(tmp_path, kept):
    folder = tmp_path / "north" / hashlib.sha256(runs.NAME.encode()).hexdigest()[:12]
    member.PrivateStates(folder).save("north", 2, [np.zeros(2)])
    ask = Asked(tmp_path, kept)
    about = {"training": runs.NAME, **question(kept, state=7)}
    assert ask("compute", about).about["failed"] == questions.FAILED
    assert [path.name for path in folder.glob("north/*")] == ["round_000002.npz"]


def test_a_finish_of_other_values_ends_the_hospital_with_a_line(tmp_path, kept):
    hub = in_memory.Hub()
    hub.handle("training", lambda *_: wire.Message("finish", {"rounds": "many"}))
    link = in_memory.Link(hub, "north")
    part = member.Member(link, runs.Limits(), tmp_path, {}, runs.signer("north"))
    served = serving.Served(
        runs.NAME, kept.training(runs.Recorded(("north",), {})), kept.plan, kept.data,
        kept.evaluator, ("north",), lambda *_: None,
    )  # fmt: skip
    with pytest.raises(RunError, match="expected the end of standard, found other values"):
        part.serve(served)
