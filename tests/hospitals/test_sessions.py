"""Which processes the coordinator lets in, by hospitals whose every message is written out."""

import concurrent.futures
import hashlib
import logging
import time

import pytest

from tests.hospitals import network
from tffcxr.hospitals import wire
from tffcxr.hospitals.link import status
from tffcxr.hospitals.protocol import Reason, RefusedError


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


@pytest.mark.parametrize(
    ("about", "line"),
    [
        ({"protocol": 2}, "expected protocol 1 of the coordinator, found protocol 2 at north"),
        (
            {"versions": {"tffcxr": "0.0.9", "tensorflow": "2.14.1"}},
            "expected the versions of the coordinator (tffcxr 0.1.0), found at north tffcxr 0.0.9",
        ),
        (
            {"versions": {"tffcxr": "0.1.0", "jax": "1"}},
            "expected the versions of the coordinator (jax absent, tensorflow 2.14.1), "
            "found at north jax 1, tensorflow absent",
        ),
    ],
)
def test_other_versions_are_named_at_both_sides(hub, hospital_of, caplog, about, line):
    assert network.refused(Reason.MEMBER, hospital_of(**about).hello) == line
    assert caplog.messages == [f"refused north: {line}"] and not hub.members()


def test_a_site_that_is_not_of_the_study(hub, hospital_of, caplog):
    line = network.refused(Reason.MEMBER, hospital_of("west").hello)
    assert line == "expected a site of the study (north, south), found west"
    assert caplog.messages == [f"refused west: {line}"]


def test_a_hospital_that_says_hello_is_a_member_until_it_is_silent(hub, hospital_of):
    north = hospital_of()
    assert not hub.members()
    before = time.time()
    north.hello()
    north.beat("training standard", "an image was broken")
    (member,) = hub.members().values()
    assert (member.site, member.doing, member.error) == (
        "north",
        "training standard",
        "an image was broken",
    )
    assert before <= member.since <= member.seen <= time.time()
    assert member.received > member.sent > 100
    assert hub.wait_for(lambda members: not members, 5)


def test_waiting_for_members_ends_when_they_are_there_or_in_time(hub, hospital_of):
    assert not hub.wait_for(lambda members: len(members) == 2, 0.05)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waits = pool.submit(hub.wait_for, lambda members: len(members) == 2, 10)
        hospital_of("south").hello()
        hospital_of("north").hello()
        assert waits.result(5)
    assert list(hub.members()) == ["north", "south"]


def test_a_hospital_that_starts_again_takes_over_and_gets_its_open_tasks(hub, hospital_of, caplog):
    dead, north = hospital_of(), hospital_of(process="2")
    dead.hello()
    hub.ask("north", wire.Message("a"))
    key = dead.poll().about["task"]
    north.hello()
    assert north.poll().about["task"] == key
    line = network.refused(Reason.SESSION, dead.answer, key, network.numbers())
    assert line == "expected the current session of north, found an earlier one"
    assert f"refused north: {line}" in caplog.messages
    north.answer(key, network.numbers())


def test_late_calls_after_a_reconnect_are_refused_without_a_word(hub, hospital_of, caplog):
    """As a coordinator does that was started again, or whose hospital lost its connection."""
    north, south = hospital_of(), hospital_of("south")
    north.session = south.session = "of the coordinator before"
    network.refused(Reason.SESSION, north.beat)
    south.hello()
    stale, south.session = south.session, "of the coordinator before"
    network.refused(Reason.SESSION, south.beat)
    south.hello()
    south.session = stale
    network.refused(Reason.SESSION, south.beat)
    assert not caplog.messages


def test_a_call_that_is_replayed_is_refused_and_said(hub, hospital_of, caplog):
    north, south = hospital_of(), hospital_of("south")
    for each in (north, south):
        each.hello()
    stale = north.session
    for each in (north, south):
        each.hello()
    south.session = "made up"
    line = network.refused(Reason.SESSION, south.answer, "1", network.numbers())
    assert caplog.messages == [f"refused south: {line}"]
    north.session = stale
    time.sleep(network.QUICK.gone)
    line = network.refused(Reason.SESSION, north.poll)
    assert caplog.messages[1:] == [f"refused north: {line}"]


def test_a_kit_that_is_used_twice(hub, hospital_of, caplog):
    first, copy = hospital_of(), hospital_of(instance="another folder", process="2")
    first.hello()
    line = network.refused(Reason.MEMBER, copy.hello)
    assert line.startswith("the kit of north is used twice: another process with it is connected")
    assert caplog.messages == [f"refused north: {line}"]
    first.beat()
    assert hub.wait_for(lambda members: not members, 5)
    # Nobody heard of the first one for a while.
    copy.hello()
    line = network.refused(Reason.MEMBER, first.hello)
    assert "is used twice" in line


def test_a_copy_of_the_whole_folder_does_not_take_over_in_turns(hub, hospital_of):
    first, copy = hospital_of(), hospital_of(process="2")
    first.hello()
    copy.hello()
    network.refused(Reason.SESSION, first.beat)
    assert "is used twice" in network.refused(Reason.MEMBER, first.hello)
    copy.beat()


def test_a_process_whose_hello_was_lost_says_it_again(hub, hospital_of):
    north = hospital_of()
    first = north.hello().about["session"]
    assert north.hello().about["session"] != first
    north.beat()


STUDY = b'{"recipe":"cheXviz"}'


def test_a_hospital_gets_no_task_before_it_approved_the_study(hub, hospital_of, caplog):
    early = hospital_of()
    early.hello()
    hub.ask("north", wire.Message("a"))
    hub.propose(STUDY)
    assert not hub.members()
    assert network.refused(Reason.STUDY, early.poll) == "another study is proposed"
    reply = early.hello(approved="0" * 64)
    assert reply.kind == "proposal" and reply.about["proposal"].encode() == STUDY
    assert hub.status()["members"]["south"]["doing"] == ""
    assert hub.status()["members"]["north"]["doing"] == "asked to approve the study"
    early.hello(approved=hashlib.sha256(STUDY).hexdigest())
    assert list(hub.members()) == ["north"] and early.poll().about["kind"] == "a"
    hub.propose(STUDY + b" ")
    assert network.refused(Reason.STUDY, early.answer, "x", network.numbers())
    assert not caplog.messages


def test_a_poll_that_waits_hears_of_a_new_study_at_once(hub, hospital_of):
    north = hospital_of()
    north.hello()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        poll = pool.submit(network.refused, Reason.STUDY, north.poll)
        time.sleep(0.1)
        hub.propose(STUDY)
        poll.result(5)


def test_the_coordinators_certificate_is_no_hospitals(hospital_of):
    hospital = hospital_of("coordinator")
    assert "found coordinator" in network.refused(Reason.MEMBER, hospital.hello)


def test_a_site_that_is_not_of_the_study_gets_no_status(hub):
    with pytest.raises(RefusedError, match="found west"):
        status(network.site("west"), f"127.0.0.1:{hub.port}")
