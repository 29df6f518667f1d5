"""The coordinator's side, by hospitals whose every message is written out here."""

import concurrent.futures
import dataclasses
import gc
import logging
import threading
import time
import weakref

import numpy as np
import pytest

from tests.hospitals import network
from tffcxr.errors import InputError, RunError
from tffcxr.hospitals import protocol, wire
from tffcxr.hospitals.link import status
from tffcxr.hospitals.protocol import Reason


@pytest.fixture(name="hub")
def _hub(caplog):
    caplog.set_level(logging.WARNING)
    with network.hub() as hub:
        yield hub


@pytest.fixture(name="hospital_of")
def _hospital_of(hub):
    hospitals = []

    def hospital_of(site="north", **about):
        hospitals.append(network.Hospital(hub.port, site, **about))
        return hospitals[-1]

    yield hospital_of
    for each in hospitals:
        each.close()


def test_a_task_is_handed_out_until_it_is_answered_and_the_first_answer_counts(
    hub, hospital_of, caplog
):
    north = hospital_of()
    north.hello()
    asked = hub.ask("north", network.numbers(1, "train", round=3))
    first = north.poll()
    key = first.about["task"]
    # The answer to the poll was lost: the hospital does not have the task.
    again = north.poll()
    assert again.about["task"] == key
    task = protocol.unwrap(again)
    assert task.kind == "train" and task.about == {"round": 3}
    np.testing.assert_array_equal(task.fields[0].array, np.arange(1 << 18))
    assert north.poll(key, wait=0).kind == "nothing"
    north.answer(key, network.numbers(loss=0.5))
    assert asked.result(5).about == {"loss": 0.5}
    # The acknowledgement was lost.
    assert north.answer(key, network.numbers(loss=0.7)).kind == "noted"
    assert asked.result().about == {"loss": 0.5}
    assert north.poll(wait=0).kind == "nothing" and not caplog.messages


def test_a_task_and_its_answer_go_with_whoever_asked(hub, hospital_of):
    north = hospital_of()
    north.hello()
    question = network.numbers(1)
    asked = hub.ask("north", question)
    north.answer(north.poll().about["task"], network.numbers(1))
    kept = [weakref.ref(question), weakref.ref(asked.result(5))]
    gc.disable()  # Two hundred rounds of weights must not wait for it.
    try:
        del question, asked
        network.until(lambda: not any(each() for each in kept))
    finally:
        gc.enable()


def test_tasks_come_in_their_order_and_to_their_site_only(hub, hospital_of):
    north, south = hospital_of(), hospital_of("south")
    for each in (north, south):
        each.hello()
    hub.ask("north", wire.Message("a"))
    hub.ask("north", wire.Message("b"))
    assert south.poll(wait=0).kind == "nothing"
    first = north.poll()
    assert first.about["kind"] == "a" and north.poll(first.about["task"]).about["kind"] == "b"
    with pytest.raises(InputError, match="expected a site .north, south., found west"):
        hub.ask("west", wire.Message("a"))


def test_a_poll_waits_for_its_task_and_no_longer_than_it_asked(hub, hospital_of):
    north = hospital_of()
    north.hello()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        poll = pool.submit(north.poll)
        time.sleep(0.1)
        assert not poll.done()
        hub.ask("north", wire.Message("a"))
        assert poll.result(5).about["kind"] == "a"


def test_only_the_last_poll_of_a_hospital_waits():
    patient = dataclasses.replace(network.QUICK, wait=20)
    with network.hub(timing=patient) as hub, concurrent.futures.ThreadPoolExecutor() as pool:
        north = network.Hospital(hub.port, "north")
        north.hello()
        waits = {pool.submit(north.poll, wait=20)}
        for _ in range(30):
            waits.add(pool.submit(north.poll, wait=20))
            done, waits = concurrent.futures.wait(waits, 10, "FIRST_COMPLETED")
            assert [poll.result().kind for poll in done] == ["nothing"]
        hub.ask("north", wire.Message("a"))
        assert waits.pop().result(10).kind == "task"
        north.close()


@pytest.mark.parametrize("how", ["withdrawn", "answered", "invented", "of another site"])
def test_an_answer_to_a_task_that_is_not_open_is_refused(hub, hospital_of, caplog, how):
    north = hospital_of()
    north.hello()
    asked = hub.ask("south" if how == "of another site" else "north", wire.Message("a"))
    key = "invented"
    if how == "of another site":
        south = hospital_of("south")
        south.hello()
        key = south.poll().about["task"]
    elif how != "invented":
        key = north.poll().about["task"]
    if how == "withdrawn":
        hub.withdraw(asked)
        assert asked.cancelled() and north.poll(wait=0).kind == "nothing"
    if how == "answered":
        north.answer(key, network.numbers())
        # Its next process replays what the first one said.
        north.hello(process="2")
    line = network.refused(Reason.TASK, north.answer, key, network.numbers(loss=1))
    assert line == f"expected an answer to an open task, found one to '{key}'"
    assert caplog.messages == [f"refused north: {line}"]
    assert how not in ("answered", "withdrawn") or asked.done()
    assert asked.cancelled() or not asked.done() or asked.result().about == {}


def test_cancelling_withdraws(hub, hospital_of):
    north = hospital_of()
    north.hello()
    hub.ask("north", wire.Message("a")).cancel()
    assert north.poll(wait=0).kind == "nothing"


def test_callbacks_run_without_the_lock(hub, hospital_of):
    north = hospital_of()
    north.hello()
    seen: concurrent.futures.Future = concurrent.futures.Future()

    def ask_from_another_thread(_):
        thread = threading.Thread(target=lambda: seen.set_result(hub.ask("north", message)))
        thread.start()
        thread.join()

    message = wire.Message("a")
    hub.ask("north", message).add_done_callback(ask_from_another_thread)
    north.answer(north.poll().about["task"], network.numbers())
    assert seen.result(5) and north.poll().about["kind"] == "a"


def test_calls_are_answered_by_who_handles_them(hub, hospital_of):
    north = hospital_of()
    north.hello()
    hub.handle("twice", lambda site, m: wire.Message(site, {"is": 2 * m.about["x"]}))
    reply = north.call(wire.Message("twice", {"x": 21}))
    assert reply.kind == "north" and reply.about == {"is": 42}


def test_a_call_waits_for_its_handler_and_for_what_it_says(hub, hospital_of):
    north = hospital_of()
    north.hello()
    about = {"session": north.session}
    call = protocol.wrap("call", about, wire.Message("when"))
    assert north.send(call).kind == "later"
    answers = iter([None, None, wire.Message("now")])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        sent = pool.submit(north.send, call)
        hub.handle("when", lambda *_: next(answers))
        assert protocol.unwrap(sent.result(5)).kind == "now"


@pytest.mark.parametrize("error", [InputError("too few images"), RunError("too few images")])
def test_what_a_handler_raises_arrives_as_a_refusal(hub, hospital_of, caplog, error):
    def refuse(*_):
        raise error

    north = hospital_of()
    north.hello()
    hub.handle("a", refuse)
    assert network.refused(Reason.MESSAGE, north.call, wire.Message("a")) == "too few images"
    assert caplog.messages == ["refused north: too few images"]


def test_values_that_a_call_lacks_are_named(hub, hospital_of):
    north = hospital_of()
    north.hello()
    for kind, about, line in [
        ("beat", {}, "expected a text as doing of beat, found None"),
        ("beat", {"doing": "\ud800"}, "expected a text as doing of beat, found"),
        ("poll", {"session": north.session, "has": 3, "wait": 0}, "expected the tasks"),
        ("poll", {"session": north.session, "has": [], "wait": float("nan")}, "expected the tasks"),
        ("answer", {"session": north.session, "task": "a", "kind": "b"}, "expected a message in a"),
        (
            "hello",
            {"protocol": 1, "versions": {"tffcxr": 1}},
            "expected texts as versions of",
        ),
    ]:
        assert line in network.refused(Reason.MESSAGE, north.send, wire.Message(kind, about))


def test_the_end_is_told_to_who_waits_and_to_who_comes(hub, hospital_of, caplog):
    north, south = hospital_of(), hospital_of("south")
    for each in (north, south):
        each.hello()
    asked = hub.ask("south", wire.Message("a"))
    key = south.poll().about["task"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        poll = pool.submit(network.refused, Reason.ENDED, north.poll)
        time.sleep(0.1)
        end = pool.submit(hub.end, "the study is complete")
        assert poll.result(5) == "the study is complete"
        hub.wait_for(lambda _: asked.done(), 5)
        assert asked.cancelled() and not end.done()
        network.refused(Reason.ENDED, south.answer, key, network.numbers())
        end.result(0.5)
    assert network.refused(Reason.ENDED, hospital_of().hello) == "the study is complete"
    assert not caplog.messages


@pytest.mark.parametrize("who", [network.coordinator(), network.site("south")])
def test_the_status_tells_who_is_there_and_how_far_the_run_is(hub, hospital_of, who):
    north = hospital_of()
    north.hello()
    north.beat("training\x1b[2J\nstandard", "an image was broken")
    hub.report = {"round": 3, "rounds": 50}
    found = status(who, f"127.0.0.1:{hub.port}")
    north = found["members"]["north"]
    assert (north["is_connected"], north["error"]) == (True, "an image was broken")
    assert north["doing"] == "training[2J standard" and north["since"] <= north["seen"]
    nothing = {"is_connected": False, "since": None, "seen": None, "doing": "", "error": ""}
    assert found["members"]["south"] == nothing
    assert found["report"] == {"round": 3, "rounds": 50}
    assert found["versions"] == network.VERSIONS and found["protocol"] == protocol.VERSION


def test_the_status_of_a_coordinator_that_is_not_there_is_an_error():
    with network.Relay(1) as relay, pytest.raises(RunError, match="cannot be reached"):
        status(network.site(), relay.address, timing=network.QUICK)


def test_what_cannot_be_sent_is_said_where_it_is_asked_or_answered(hub, hospital_of, caplog):
    objects = wire.Message("a", {}, (wire.Field("x", np.array([None])),))
    with pytest.raises(TypeError, match="expected numbers in x, found object"):
        hub.ask("north", objects)
    with pytest.raises(TypeError, match="not JSON serializable"):
        hub.ask("north", wire.Message("a", {"x": {1, 2}}))
    north = hospital_of()
    north.hello()
    hub.handle("a", lambda *_: objects)
    line = network.refused(Reason.MESSAGE, north.call, wire.Message("a"))
    assert line == "the coordinator failed to answer: expected numbers in x, found object"


def test_a_hospital_that_left_keeps_its_last_error(hub, hospital_of):
    north = hospital_of()
    north.hello()
    north.beat("training", "an image was broken")
    assert hub.wait_for(lambda members: not members, 5)
    left = hub.status()["members"]["north"]
    assert (left["is_connected"], left["error"]) == (False, "an image was broken")


def test_a_hub_that_stops_lets_polls_end():
    patient = dataclasses.replace(network.QUICK, wait=20)
    with network.hub(timing=patient) as hub, concurrent.futures.ThreadPoolExecutor() as pool:
        north = network.Hospital(hub.port, "north")
        north.hello()
        poll = pool.submit(north.poll, wait=20)
        time.sleep(0.1)
        hub.stop()
        assert poll.result(10).kind == "nothing"
        north.close()
