"""What a hospital's log says of what it sends: all of it, before it leaves, and nothing else."""

import collections
import concurrent.futures
import contextlib
import json
import time

import pytest

from tests.hospitals import network
from tffcxr.errors import RunError
from tffcxr.hospitals import outgoing, wire


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "outgoing.jsonl"


@pytest.fixture(name="log")
def _log(path):
    log = outgoing.OutgoingLog(path)
    yield log
    log.close()


def test_what_leaves_the_hospital_is_in_its_log(path, log):
    with network.hub() as hub, network.link(hub.port, log) as link:
        hub.handle("a call", lambda *_: wire.Message("b"))
        hub.ask("north", wire.Message("train"))
        link.doing("training")
        task, _ = link.next_task()
        link.call(wire.Message("a call", {"x": 1}))
        time.sleep(5 * network.QUICK.beat)
        link.answer(task, network.numbers(0.5, loss=0.25))
        hub.ask("north", wire.Message("train"))
        link.next_task()
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert outgoing.verify(path) == len(lines)
    kinds = collections.Counter(line["kind"] for line in lines)
    assert kinds["hello"] == kinds["poll"] == kinds["call"] == kinds["answer"] == 1
    assert kinds["beat"] <= 2
    (answer,) = [line for line in lines if line["kind"] == "answer"]
    assert answer["about"]["about"] == {"loss": 0.25}
    assert answer["fields"][0]["bytes"] == 1 << 19


def test_an_answer_waits_at_the_hospital_until_the_coordinator_is_back(path, log):
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(network.hub())
        link = stack.enter_context(network.link(hub.port, log))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor())
        hub.ask("north", wire.Message("train"))
        task, _ = link.next_task()
        hub.stop()
        answers = pool.submit(link.answer, task, network.numbers())
        time.sleep(1)
        stack.enter_context(network.hub(hub.port))
        answers.result(10)
    # The attempt that found nobody, and the one that found another coordinator.
    assert path.read_text().count('"kind": "answer"') == 2


def test_what_cannot_be_logged_does_not_leave(log, monkeypatch):
    def fail(message):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "record", fail)
    with network.hub() as hub, network.link(hub.port, log) as link:
        with pytest.raises(RunError, match="the log of what leaves .* No space left"):
            link.next_task()
        assert not hub.members()


def test_an_answer_that_cannot_be_logged_ends_the_wait_for_a_task(log, monkeypatch):
    record = log.record

    def fail(message):
        if message.kind == "answer":
            raise OSError(28, "No space left on device")
        record(message)

    monkeypatch.setattr(log, "record", fail)
    with network.hub() as hub, network.link(hub.port, log) as link:
        hub.ask("north", wire.Message("train"))
        task, _ = link.next_task()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waiting = pool.submit(link.next_task)
            for call in (lambda: link.answer(task, network.numbers()), lambda: waiting.result(10)):
                with pytest.raises(RunError, match="the log of what leaves .* No space left"):
                    call()
