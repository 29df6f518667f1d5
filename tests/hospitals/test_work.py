"""A hospital's clients are computed on the devices that the local engine would give them."""

from __future__ import annotations

import collections
import threading

import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.hospitals import network, runs
import tests.runtime
from tests.training import example
from tffcxr import runtime
from tffcxr.errors import RunError
from tffcxr.hospitals import invocations, questions, wire
from tffcxr.hospitals.work import CannotError, Work
from tffcxr.runtime import device, native

is_split = pytest.mark.skipif(
    not tests.runtime.CPU_IS_SPLIT, reason="TensorFlow had started already; run this file alone"
)
TWO = ("CPU:1", "CPU:2")
SEVERAL_CLIENTS = {"alps": ("north", "west"), "coast": ("south",)}


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    data = runs.clients(tmp_path_factory.mktemp("clients"))
    return runs.Setting(example.plan(runs.THREE, keeps_optimizer=True), data)


@is_split
def test_a_hospital_computes_at_once_on_the_devices_of_its_context(tmp_path, kept, monkeypatch):
    computed: dict[str, set[str]] = collections.defaultdict(set)
    both = threading.Barrier(2)
    compute = invocations.Invocations.compute

    def noting(self, client, *arguments):
        if client in SEVERAL_CLIENTS["alps"]:
            both.wait(60)  # Breaks unless the two are computed at once.
        found = compute(self, client, *arguments)
        leaves = tf.nest.flatten([value for _, value in found])
        computed[client] |= {leaf.device[-5:] for leaf in leaves}
        return found

    monkeypatch.setattr(invocations.Invocations, "compute", noting)
    study = runs.Study(tmp_path / "hospitals", kept, sites=SEVERAL_CLIENTS, devices=TWO)
    end = study.run()
    assert computed == {"north": {"CPU:1"}, "west": {"CPU:2"}, "south": {"CPU:1"}}
    assert not runs.left_out(study.folder)
    monkeypatch.undo()
    recorded = runs.Recorded.of(study.folder)
    with tff.framework.get_context_stack().install(device.device_context(TWO)):
        rows, state = kept.local(tmp_path / "local", recorded)
    assert runs.rows_of(end) == rows
    runs.assert_same_state(study, end.state, state)


@is_split
def test_a_client_that_fails_on_its_device_is_left_out(tmp_path, kept, monkeypatch):
    compute = invocations.Invocations.compute

    def failing(self, client, device_name, message, *arguments):
        if (client, message.about["round_number"]) == ("west", 2):
            raise MemoryError("OOM on GPU:1")
        return compute(self, client, device_name, message, *arguments)

    monkeypatch.setattr(invocations.Invocations, "compute", failing)
    study = runs.Study(tmp_path / "hospitals", kept, sites=SEVERAL_CLIENTS, devices=TWO)
    end = study.run()
    assert runs.left_out(study.folder) == {(2, "west"): questions.FAILED}
    _, state = kept.local(tmp_path / "local", runs.Recorded.of(study.folder))
    runs.assert_same_state(study, end.state, state)


def test_the_devices_are_those_of_the_device_executor():
    stack = tff.framework.get_context_stack()
    with stack.install(device.DeviceContext(["/GPU:0", "/GPU:1"])):
        assert device.current_workers() == ("/GPU:0", "/GPU:1")
    with stack.install(native.native_context()), pytest.raises(RuntimeError, match="device exec"):
        device.current_workers()


class Link:
    """Keeps the answers."""

    def __init__(self):
        self.answers = []
        self.failure = None

    def answer(self, task, message):
        if self.failure:
            raise self.failure
        self.answers.append((task, message))


@pytest.fixture(name="link")
def _link():
    return Link()


def answering(gate=None, word=""):
    """What begins a task whose answer names the device, once the gate is open."""

    def compute(device_name):
        assert gate is None or gate.wait(10)
        return wire.Message("compute", {"device": device_name, "word": word})

    return lambda: compute


def work(link, stop=lambda: None, clients="abc", devices=("/CPU:1", "/CPU:2")):
    return Work(link, tuple(clients), devices, stop)


def test_clients_are_dealt_in_turn_and_answered_as_they_are_done(link):
    gate = threading.Event()
    with work(link) as at_work:
        at_work.do_beside("1", "compute", "a", answering(gate))
        at_work.do_beside("2", "compute", "b", answering())
        at_work.do_beside("3", "compute", "c", answering())
        network.until(lambda: link.answers)
        gate.set()
        at_work.wait()
    found = [(task, message.about["device"]) for task, message in link.answers]
    assert found == [("2", "/CPU:2"), ("1", "/CPU:1"), ("3", "/CPU:1")]


def test_a_clients_next_task_begins_when_its_last_is_done(link):
    gate, begun = threading.Event(), []

    def begin():
        begun.append(len(link.answers))
        return answering()()

    with work(link) as at_work:
        at_work.do_beside("1", "compute", "a", answering(gate))
        threading.Timer(0.1, gate.set).start()
        at_work.do_beside("2", "compute", "a", begin)
        at_work.do("3", "measure", lambda: wire.Message("measure", {"before": len(link.answers)}))
    assert begun == [1]
    assert link.answers[-1][1].about["before"] == 2


def test_one_device_computes_in_the_thread_of_the_tasks(link):
    def begin():
        return lambda _: wire.Message("compute", {"thread": threading.get_ident()})

    for clients, devices in (("ab", ["/CPU:0"]), ("a", ["/CPU:0", "/CPU:0"])):
        with work(link, clients=clients, devices=devices) as at_work:
            at_work.do_beside("1", "compute", "a", begin)
        assert link.answers.pop()[1].about["thread"] == threading.get_ident()


def failing(error):
    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "reported"),
    [(OSError(28, "full", "/secret"), questions.FAILED), (CannotError("too few", "x"), "too few")],
)
def test_what_fails_is_reported_in_no_more_than_these_words(link, error, reported):
    with work(link) as at_work:
        at_work.do_beside("1", "compute", "a", failing(error))
        at_work.do_beside("2", "compute", "a", lambda: failing(error))
        at_work.do("3", "measure", failing(error))
        at_work.do_beside("4", "compute", "of nobody", failing(error))
    assert [task for task, _ in link.answers] == ["1", "2", "3", "4"]
    assert {message.about["failed"] for _, message in link.answers} == {reported}


def test_an_answer_that_cannot_be_sent_ends_the_work(link):
    link.failure = RunError("the log is full")
    with work(link) as at_work, pytest.raises(RunError, match="the log is full"):
        at_work.do_beside("1", "compute", "a", answering())
        at_work.wait()


def test_work_that_is_given_up_is_stopped_and_not_answered(link):
    gate = threading.Event()
    with pytest.raises(KeyboardInterrupt), work(link, gate.set) as at_work:
        at_work.do_beside("1", "compute", "a", answering(gate))
        at_work.do_beside("2", "compute", "c", answering())
        raise KeyboardInterrupt
    assert gate.is_set()
    after = Link()
    with work(after) as at_work:  # The same thread, which comes to this last.
        at_work.do_beside("3", "compute", "a", answering())
        at_work.wait()
    assert after.answers and not link.answers


def test_seconds_in_which_two_work_count_once(link, monkeypatch):
    now = [10.0]
    monkeypatch.setattr("tffcxr.hospitals.work.time.monotonic", lambda: now[0])
    gates = {client: threading.Event() for client in "ab"}
    with work(link) as at_work:
        at_work.do_beside("1", "compute", "a", answering(gates["a"]))
        now[0] = 12.0
        at_work.do_beside("2", "compute", "b", answering(gates["b"]))
        now[0] = 13.0
        gates["b"].set()
        network.until(lambda: link.answers)
        now[0] = 20.0
        gates["a"].set()
        at_work.wait()
        now[0] = 50.0
        at_work.do("3", "measure", lambda: wire.Message("measure"))
        assert at_work.take_seconds() == 10.0
        assert at_work.take_seconds() == 0.0
    assert [message.about["seconds"] for _, message in link.answers] == [3.0, 7.0, 0.0]
