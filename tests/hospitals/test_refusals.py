"""Hospitals and coordinators that do not fit, or say other things than they should."""

from __future__ import annotations

import hashlib
import logging
import pathlib
import threading
from typing import Any

import numpy as np
import pytest

from tests.hospitals import in_memory, runs
from tests.training import example
from tffcxr import runtime
from tffcxr.clients.shards.shard_store import ShardSpec
from tffcxr.errors import RunError
from tffcxr.hospitals import coordinator, member, questions, serving, wire
from tffcxr.runtime import device
from tffcxr.training import loop

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


def changed(where):
    """What South answers in place of its update."""

    def changes(site, answer):
        if (site, answer.kind) != ("south", "compute"):
            return answer
        return wire.Message(answer.kind, answer.about, tuple(where(list(answer.fields))))

    return changes


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


@pytest.mark.parametrize("name", OTHER_ANSWERS)
def test_other_answers_leave_the_client_out(tmp_path, kept, name):
    hub = in_memory.Hub(changes=changed(OTHER_ANSWERS[name]))
    study = runs.Study(tmp_path / "hospitals", kept, hub=hub, sites=THREE_SITES)
    end = study.run()
    found = runs.left_out(study.folder)
    assert set(found) == {(number, "south") for number in (1, 2, 3)}
    assert all(why.startswith("answered with other values: ") for why in found.values())
    _, state = kept.local(tmp_path / "local", runs.Recorded.of(study.folder))
    runs.assert_same_state(study, end.state, state)


@pytest.mark.parametrize(
    "about",
    [
        {"seconds": "long"}, {"seconds": None}, {"seconds": -1e9}, {"seconds": float("nan")},
        {"failed": ["a\nb", {"c": "d" * 9999}]},
    ],
    ids=str,
)  # fmt: skip
def test_garbage_about_an_answer(tmp_path, kept, about, capfd):
    def changes(site, answer):
        if (site, answer.kind) != ("south", "compute"):
            return answer
        return wire.Message(answer.kind, about, answer.fields)

    study = runs.Study(tmp_path, kept, hub=in_memory.Hub(changes=changes), sites=THREE_SITES)
    study.run()
    reasons = runs.left_out(study.folder).values()
    assert len(reasons) == (3 if "failed" in about else 0)
    assert all(len(reason) <= 300 and "\n" not in reason for reason in reasons)
    work = study.coordinator.traffic["south"]["work_seconds"]
    assert work == 0.0
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


@pytest.mark.parametrize("name", OTHER_MEASURES)
def test_other_measurements_do_not_count(tmp_path, kept, name, caplog):
    about, fields = OTHER_MEASURES[name]

    def changes(site, answer):
        if (site, answer.kind) != ("south", "measure"):
            return answer
        return wire.Message(answer.kind, about, fields)

    study = runs.Study(tmp_path, kept, hub=in_memory.Hub(changes=changes))
    end = study.run()
    assert end.number == 3 and not runs.left_out(study.folder)
    assert all(np.isnan(row["Effusion/auroc"]) for row in end.rounds)
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(lines) == 3 and all(line.startswith("round ") for line in lines)


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
        "client": "north", "round_number": 1, "passes": 1, "state": 0, "kept": [],
        "computation": questions.computation_ids.computation_id(process.next),
        "walks": [[0]], "later": [], "arrays": [0],
    }  # fmt: skip
    return {**about, **changes}


QUESTIONS: list[dict[str, Any]] = [
    {"walks": [[999]]}, {"walks": []}, {"walks": "all"}, {"walks": [[-1]]}, {"arrays": [5]},
    {"arrays": []}, {"passes": 0}, {"state": 7}, {"kept": ["x"]}, {"client": "south"}, {},
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


def registered(hub, site, clients):
    return hub.call(site, wire.Message("register", {"clients": clients}))


def joined(tmp_path, hub, **settings):
    """A coordinator whose run has begun, with what North has."""
    hospitals = coordinator.Coordinator(
        hub, dict.fromkeys(runs.SITES, ()), 1, 1.0, tmp_path, **settings
    )
    counts = {"train": {"images": 3, "labels": {"Opacity": {"present": None, "absent": 2}}}}
    thread = threading.Thread(target=registered, args=(hub, "north", {"north": counts}))
    thread.start()
    if settings:
        registered_early = threading.Thread(target=registered, args=(hub, "south", {"south": {}}))
        registered_early.start()
    hospitals.begin()
    thread.join(10)
    return hospitals


@pytest.mark.parametrize(
    ("site", "clients", "why"),
    [
        ("south", {"south": {}, "north": {}}, "expected the client south alone"),
        ("south", {"north": {}}, "expected the client south alone"),
        ("south", {}, "expected the client south alone, found none"),
        ("west", {"west": {}}, "expected a hospital of the run, found west"),
    ],
)
def test_a_hospital_that_brings_others_clients_may_not_join(tmp_path, site, clients, why):
    hub = in_memory.Hub()
    hospitals = joined(tmp_path, hub)
    answer = registered(hub, site, clients)
    assert answer.kind == "refused" and why in answer.about["reason"]
    assert hospitals.site_of == {"north": "north", "south": "south"}


def test_hospitals_with_clients_of_their_own_join_before_the_start(tmp_path, caplog):
    hub = in_memory.Hub()
    hospitals = joined(tmp_path, hub, has_own_clients=True)
    assert registered(hub, "south", {"south": {}}).kind == "register"  # It was started again.
    answer = registered(hub, "south", {"north": {}})
    assert "found that north has north" in answer.about["reason"]
    answer = registered(hub, "south", {"other": {}})
    assert answer.about["reason"] == "the run has begun without south"
    assert hospitals.site_of == {"north": "north", "south": "south"}


@pytest.mark.parametrize(
    "clients",
    [None, [], {"north": 3}, {"north": {"train": {}}}, {"north": {"train": {"images": -1}}},
     {"north": {"train": {"images": 1.5, "labels": {}}}},
     {"north": {"train": {"images": 1, "labels": {"Opacity": {"present": "many"}}}}}],
)  # fmt: skip
def test_a_registration_of_other_values_is_refused(tmp_path, clients):
    hub = in_memory.Hub()
    joined(tmp_path, hub)
    with pytest.raises(wire.MessageError, match="expected the clients of a hospital"):
        registered(hub, "north", clients)


def test_what_is_known_of_clients_has_the_form_of_shards(tmp_path, data):
    hospitals = joined(tmp_path, in_memory.Hub())
    store = hospitals.store(data.store.spec)
    assert store.client_ids == ["north", "south"]
    assert (store.count("north", "train"), store.count("south", "train")) == (3, None)
    assert store.files("north", "train") == []


def test_computations_of_clients_need_a_round(tmp_path):
    hospitals = joined(tmp_path, in_memory.Hub())
    context = device.DeviceContext(["/CPU:0"], elsewhere=hospitals.parts)
    assert context.workers == ("/CPU:0",)
    with pytest.raises(AssertionError, match="expected a round"):
        hospitals.parts(None, None, None, 2)


def test_labels_that_are_not_told_are_unknown(tmp_path):
    found = joined(tmp_path, in_memory.Hub()).store(ShardSpec(32, ("Opacity", "Effusion")))
    unknown = {"present": None, "absent": None, "unknown": None}
    assert found.label_counts("north", "train") == {
        "Opacity": {"present": None, "absent": 2, "unknown": None},
        "Effusion": unknown,
    }
    assert found.label_counts("south", "test") == {"Opacity": unknown, "Effusion": unknown}


ROW = {"task": "Opacity", "model": "m", "split": "test", "training": "federated", "auroc": 0.9}


def results(hub, rows):
    return hub.call("north", wire.Message("results", {"rows": rows}))


def test_rows_of_results_are_kept_as_they_were_reported(tmp_path):
    hub = in_memory.Hub()
    hospitals = joined(tmp_path, hub)
    results(hub, [{**ROW, "p": None, "binned": [[0.1, 0.4, 12, 30]]}])
    assert hospitals.result_rows() == [{**ROW, "p": None, "client": "north"}]


@pytest.mark.parametrize(
    "rows",
    [
        None, {"rows": []}, [3], [{"task": "Opacity"}], [{**ROW, "model": 3}],
        [{**ROW, "model": "two\nlines"}], [{**ROW, "auroc": "<script>"}], [{**ROW, "auroc": [1]}],
        [{**ROW, "binned": 3}], [{**ROW, "binned": [[0.1, 0.4, 12]]}],
    ],
    ids=str,
)  # fmt: skip
def test_other_rows_of_results_are_refused(tmp_path, rows):
    hub = in_memory.Hub()
    joined(tmp_path, hub)
    with pytest.raises(wire.MessageError, match="expected rows of results"):
        results(hub, rows)
    assert not (tmp_path / "north.rows.json").exists()
