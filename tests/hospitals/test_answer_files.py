"""Answers of a round are on the coordinator's disk, whole, for it alone, until the round ends."""

from __future__ import annotations

import concurrent.futures
import os
import stat
import weakref

import numpy as np
import pytest

from tests.hospitals import in_memory, network, runs
from tests.training import example
from tffcxr import runtime
from tffcxr.errors import InputError, RunError
from tffcxr.hospitals import answer_files, coordinator, protocol, wire
from tffcxr.hospitals.answer_files import AnswerFolder, StoredFields
from tffcxr.hospitals.protocol import Reason, UnreachableError

ARRAYS = (np.arange(700_001, dtype=np.float32), np.zeros((0, 3), np.int8), np.array(True))


def message(*arrays):
    fields = tuple(wire.Field(f"update/{n}", array) for n, array in enumerate(arrays))
    return wire.Message("compute", {"seconds": 2.0}, fields)


def arrived(folder, arrays=ARRAYS, end=None):
    content = b"".join(wire.encode(message(*arrays)))[:end]
    chunks = [content[at : at + 300_001] for at in range(0, len(content), 300_001)]
    return wire.decode(chunks, 1 << 30, lambda _: folder)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_what_arrives_is_on_disk_for_its_owner_alone_and_not_in_memory(tmp_path):
    answer = arrived(AnswerFolder(tmp_path / "answers"))
    (path,) = (tmp_path / "answers").iterdir()
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    assert path.read_bytes() == b"".join(array.tobytes() for array in ARRAYS)
    assert isinstance(answer.fields, StoredFields) and len(answer.fields) == len(ARRAYS)
    for field, array in zip(answer.fields, ARRAYS):
        np.testing.assert_array_equal(field.array, array)
        assert field.array.dtype == array.dtype
    assert [field.name for field in answer.fields[1:]] == ["update/1", "update/2"]
    read = weakref.ref(answer.fields[0])
    assert read() is None  # Not kept by what read it.


def test_a_file_goes_with_its_answer(tmp_path):
    answer = arrived(AnswerFolder(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    del answer
    assert not list(tmp_path.iterdir())


def test_values_alone_need_no_file(tmp_path):
    answer = arrived(AnswerFolder(tmp_path), ())
    assert not answer.fields and not list(tmp_path.iterdir())


@pytest.mark.parametrize("end", [500, -1])
def test_half_an_answer_leaves_no_file(tmp_path, end):
    with pytest.raises(wire.CutMessageError):
        arrived(AnswerFolder(tmp_path), end=end)
    assert not list(tmp_path.iterdir())


def test_a_program_that_was_killed_leaves_answers_only_until_the_next_start(tmp_path):
    killed = tmp_path / "hospitals" / "answers"
    killed.mkdir(parents=True)
    (killed / "0123.answer").write_bytes(b"update")
    (killed / "notes.txt").write_text("mine")
    hub = in_memory.Hub()
    coordinator.Coordinator(hub, dict.fromkeys(runs.SITES, ()), 1, 1.0, tmp_path / "hospitals")
    assert [path.name for path in killed.iterdir()] == ["notes.txt"]
    assert mode(killed) == 0o700


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "answers").write_text("a file")
    with pytest.raises(InputError) as caught:
        AnswerFolder(tmp_path / "answers")
    assert str(caught.value) == (
        f"{tmp_path / 'answers'}: expected a folder for answers of hospitals, found File exists"
    )


def flipped(path):
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "other bytes": flipped,
    "cut": lambda path: os.truncate(path, 5),
    "absent": lambda path: path.unlink(),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_an_error_of_one_line(tmp_path, name):
    answer = arrived(AnswerFolder(tmp_path))
    (path,) = tmp_path.iterdir()
    DAMAGES[name](path)
    with pytest.raises(RunError) as caught:
        list(answer.fields)
    found = "No such file or directory" if name == "absent" else "other bytes"
    assert str(caught.value) == (
        f"{path}: expected update/0 as a hospital has sent it, found {found}; the same command "
        "resumes the run"
    )


@pytest.fixture(name="setting", scope="module")
def _setting(tmp_path_factory):
    runtime.use("device")
    return runs.Setting(example.plan(runs.THREE), runs.clients(tmp_path_factory.mktemp("clients")))


SITES = {site: (site,) for site in ("north", "south", "west")}


def test_a_round_holds_one_update_at_a_time_and_sends_the_same_bytes_to_all(
    tmp_path, monkeypatch, setting
):
    alive: list[tuple[weakref.ref, str]] = []
    of_read: list[int] = []
    files: list[int] = []
    read = StoredFields.__getitem__

    def watched(self, place):
        field = read(self, place)
        path = self._path.name
        of_read.append(len({of for array, of in alive if array() is not None} - {path}))
        alive.append((weakref.ref(field.array.base), path))
        return field

    folder = tmp_path / "hospitals" / "answers"

    def after_round(_):
        files.append(len(list(folder.iterdir())))
        assert all(array() is None for array, _ in alive)
        alive.clear()

    monkeypatch.setattr(StoredFields, "__getitem__", watched)
    hub = in_memory.Hub()
    study = runs.Study(tmp_path, setting, hub=hub, sites=SITES, after_round=after_round)
    study.run()
    # Nothing of another hospital is left when an array is read.
    assert max(of_read) == 0 and len(of_read) > 9
    assert files == [0, 0, 0]
    for number in (1, 2, 3):
        sent = [
            [chunk for field in asked.fields for chunk in field.chunks]
            for _, asked in hub.sent
            if asked.kind == "compute" and asked.about["round_number"] == number
        ]
        assert len(sent) == 3 and len(sent[0]) > 1
        assert all([*map(id, each)] == [*map(id, sent[0])] for each in sent)


def test_a_damaged_file_ends_the_run_with_its_line(tmp_path, setting, monkeypatch):
    store = AnswerFolder.__call__

    def damaged(self, layouts, take):
        fields = store(self, layouts, take)
        for path in (tmp_path / "hospitals" / "answers").iterdir():
            flipped(path)
        return fields

    monkeypatch.setattr(AnswerFolder, "__call__", damaged)
    study = runs.Study(tmp_path, setting)
    for site in study.sites:
        study.hospital(site)
    with pytest.raises(RunError, match=r"^.*/answers/\w+\.answer: expected update/.* resumes the"):
        study.coordinate()
    assert not list((tmp_path / "hospitals" / "answers").iterdir())


@pytest.fixture(name="hub")
def _hub():
    with network.hub() as hub:
        yield hub


@pytest.fixture(name="north")
def _north(hub):
    north = network.Hospital(hub.port, "north")
    north.hello()
    yield north
    north.close()


def test_an_answer_over_the_network_is_stored_once(tmp_path, hub, north):
    asked = hub.ask("north", wire.Message("compute"), AnswerFolder(tmp_path))
    key = north.poll().about["task"]
    with concurrent.futures.ThreadPoolExecutor() as pool:  # The connection broke: it is sent again.
        for done in [pool.submit(north.answer, key, message(*ARRAYS)) for _ in range(2)]:
            assert done.result(10).kind == "noted"
    np.testing.assert_array_equal(asked.result(5).fields[0].array, ARRAYS[0])
    network.until(lambda: len(list(tmp_path.iterdir())) == 1)


@pytest.mark.parametrize("is_withdrawn", [True, False])
def test_what_does_not_count_is_not_stored(tmp_path, hub, north, is_withdrawn):
    asked = hub.ask("north", wire.Message("compute"), AnswerFolder(tmp_path))
    key = north.poll().about["task"] if is_withdrawn else "invented"
    if is_withdrawn:
        hub.withdraw(asked)
    network.refused(Reason.TASK, north.answer, key, message(*ARRAYS))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_ends_the_task_and_not_the_hospital(tmp_path, hub, north, monkeypatch):
    def full(pieces, file):
        next(pieces)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(answer_files, "_copied", full)
    asked = hub.ask("north", wire.Message("compute"), AnswerFolder(tmp_path))
    key = north.poll().about["task"]
    with pytest.raises(UnreachableError, match="the coordinator cannot store an answer and stops"):
        north.answer(key, message(*ARRAYS))
    with pytest.raises(RunError) as caught:
        asked.result(5)
    assert "expected room for the answer of a hospital, found No space left" in str(caught.value)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
    assert isinstance(caught.value, RunError) and not isinstance(caught.value, InputError)
    network.refused(Reason.TASK, north.answer, key, message(*ARRAYS))  # It may ask for the next.


def test_ten_gigabytes_are_refused_before_a_file_is_made(tmp_path):
    head = b'{"kind": "answer", "about": {"task": "a"}, "fields": [["x", "float32", [2500000000]]]}'
    chunks = [wire.MAGIC + len(head).to_bytes(4, "little") + head]
    with pytest.raises(wire.MessageError, match="at most 2147483648 bytes, found 100000000"):
        wire.decode(chunks, protocol.largest, lambda _: AnswerFolder(tmp_path / "answers"))
    assert not (tmp_path / "answers").exists()
