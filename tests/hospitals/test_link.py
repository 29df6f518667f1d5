"""A hospital's side against a real hub: what it does when connections and processes die."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import logging
import threading
import time

import numpy as np
import pytest

from tests.hospitals import network
from tffcxr.errors import InputError, RunError
from tffcxr.hospitals import authority, outgoing, wire
from tffcxr.hospitals.link import kept_instance
from tffcxr.hospitals.protocol import RefusedError, StudyEndedError

STUDY = b'{"recipe":"cheXviz"}'


@pytest.fixture(name="start")
def _start(caplog):
    """Starts hubs: at a port of the system's choice, or at a given one."""
    caplog.set_level(logging.WARNING)
    hubs = []

    def start(port=0, sites=("north", "south"), **settings):
        hubs.append(network.hub(port, sites, **settings))
        hubs[-1].start()
        return hubs[-1]

    yield start
    for hub in hubs:
        hub.stop()


@pytest.fixture(name="link_to")
def _link_to(tmp_path):
    with contextlib.ExitStack() as stack:

        def link_to(port, site="north", **settings):
            log = outgoing.OutgoingLog(tmp_path / f"{time.monotonic_ns()}.jsonl")
            stack.callback(log.close)
            link = network.link(port, log, site, **settings)
            stack.callback(link.close)
            return link.__enter__()

        yield link_to


@pytest.fixture(name="pool")
def _pool():
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        yield pool


def _work(link, answered=None):
    """Answers tasks with what they hold until the study ends."""
    with pytest.raises(StudyEndedError) as error:
        while True:
            task, message = link.next_task()
            link.answer(task, wire.Message("done", message.about, message.fields))
            if answered is not None:
                answered.append(message.about)
    return str(error.value)


def test_a_hospital_answers_tasks_until_the_study_ends(start, link_to, pool):
    hub = start()
    works = pool.submit(_work, link_to(hub.port))
    arrays = []
    for number in range(3):
        answer = hub.ask("north", network.numbers(1, "train", round=number)).result(10)
        assert answer.kind == "done" and answer.about == {"round": number}
        arrays.append(answer.fields[0].array)
    np.testing.assert_array_equal(arrays[2], np.arange(1 << 18))
    hub.end("the study is complete")
    assert works.result(10) == "the study is complete"


def test_what_a_hospital_does_is_known_at_once_and_while_it_works(start, link_to):
    hub = start()
    link = link_to(hub.port)
    link.connect()
    link.doing("training standard")
    link.failed("an image was broken")
    assert hub.wait_for(lambda members: members["north"].doing == "training standard", 5)
    assert hub.wait_for(lambda members: members["north"].error == "an image was broken", 5)
    time.sleep(1.2 * network.QUICK.gone)
    assert "north" in hub.members()
    link.close()
    assert hub.wait_for(lambda members: not members, 5)


def test_calls_wait_for_their_handler(start, link_to, pool):
    hub = start()
    call = pool.submit(link_to(hub.port).call, network.numbers(0.1, "sum"))
    time.sleep(1.2 * network.QUICK.wait)
    hub.handle("sum", lambda site, m: wire.Message(site, {"is": int(m.fields[0].array[:4].sum())}))
    assert call.result(10).about == {"is": 6} and call.result().kind == "north"


def test_an_answer_that_is_cut_is_sent_again_and_counts_once(start, link_to, pool, capfd, caplog):
    hub = start()
    with network.Relay(hub.port) as relay:
        link = link_to(relay.port)
        asked = hub.ask("north", wire.Message("train"))
        task, _ = link.next_task()
        relay.cut()
        relay.after(2 << 20, relay.cut)
        link.answer(task, network.numbers(8, loss=0.5))
        assert relay.connections >= 3
    assert (
        asked.result(0).about == {"loss": 0.5} and asked.result().fields[0].array.nbytes == 8 << 20
    )
    error = capfd.readouterr().err
    assert error.count("cannot be reached: ") == error.count("can be reached again after") > 0
    assert not caplog.messages


def test_connections_that_stall_are_made_again(start, link_to, pool):
    hub = start()
    with network.Relay(hub.port) as relay:
        works = pool.submit(_work, link_to(relay.port))
        hub.ask("north", network.numbers()).result(10)
        relay.stall()
        asked = hub.ask("north", network.numbers(round=2))
        assert asked.result(20).about == {"round": 2}
        hub.end("over")
        works.result(10)


def test_a_coordinator_that_starts_again_is_found_and_said_once(start, link_to, pool, capfd):
    hub = start()
    answered: list[dict] = []
    link = link_to(hub.port)
    works = pool.submit(_work, link, answered)
    hub.ask("north", network.numbers(round=1)).result(10)
    hub.stop()
    time.sleep(1)
    again = start(hub.port)
    assert again.wait_for(lambda members: "north" in members, 10)
    again.ask("north", network.numbers(round=2)).result(10)
    again.end("over")
    works.result(10)
    assert answered == [{"round": 1}, {"round": 2}]
    error = capfd.readouterr().err
    assert "cannot be reached" not in error
    assert error.count("the coordinator stopped; waiting until it is started again") == 1
    assert error.count("the coordinator can be reached again after ") == 1


def test_a_hospital_that_works_hears_at_once_that_the_coordinator_stops(start, link_to, capfd):
    timing = dataclasses.replace(network.QUICK, beat=0.5)
    hub = start(timing=timing)
    link = link_to(hub.port, timing=timing)
    hub.ask("north", network.numbers())
    link.next_task()  # From now on it computes.
    hub.stop()
    errors: list[str] = []

    def has_heard():
        errors.append(capfd.readouterr().err)
        return "".join(errors).endswith("\n")

    network.until(has_heard)
    assert "".join(errors) == "the coordinator stopped; waiting until it is started again\n"


def test_a_coordinator_that_dies_cannot_be_reached(start, link_to, capfd):
    hub = start()
    link_to(hub.port).connect()
    hub._server.stop()
    network.until(lambda: "cannot be reached: " in capfd.readouterr().err)


def test_a_hospital_that_works_is_known_to_a_coordinator_that_starts_again(start, link_to, caplog):
    hub = start()
    link = link_to(hub.port)
    hub.ask("north", network.numbers())
    task, _ = link.next_task()
    hub.stop()
    again = start(hub.port)
    assert again.wait_for(lambda members: "north" in members, 10)
    # The task was the first coordinator's.
    link.answer(task, network.numbers())
    assert f"expected an answer to an open task, found one to '{task}'" in caplog.text


def test_a_hospital_that_starts_again_gets_its_open_task(start, link_to):
    hub = start()
    asked = hub.ask("north", network.numbers(round=1))
    first = link_to(hub.port)
    task, _ = first.next_task()
    second = link_to(hub.port)
    assert second.next_task()[0] == task
    second.answer(task, network.numbers(loss=1))
    assert asked.result(0).about == {"loss": 1}
    with pytest.raises(RefusedError, match="the kit of north is used twice"):
        first.answer(task, network.numbers(loss=2))


def test_a_copy_of_a_kit_is_refused_while_the_first_one_is_there(start, link_to, caplog):
    hub = start()
    link_to(hub.port).connect()
    with pytest.raises(RefusedError, match="the kit of north is used twice") as error:
        link_to(hub.port, instance="copy").connect()
    assert caplog.messages == [f"refused north: {error.value}"]


def test_a_withdrawn_task_is_dropped_without_a_word(start, link_to, caplog, capfd):
    hub = start()
    link = link_to(hub.port)
    asked = hub.ask("north", network.numbers())
    task, _ = link.next_task()
    hub.withdraw(asked)
    capfd.readouterr()
    link.answer(task, network.numbers())
    assert not capfd.readouterr().err and len(caplog.messages) == 1
    hub.ask("north", wire.Message("another"))
    assert link.next_task()[1].kind == "another"


def test_a_study_is_approved_before_the_first_task_and_again_when_it_changed(start, link_to, pool):
    hub = start()
    asked: list[bytes] = []

    def approve(proposal):
        asked.append(proposal)
        return hashlib.sha256(proposal).hexdigest()

    link = link_to(hub.port, approve=approve)
    link.connect()
    next_task = pool.submit(link.next_task)
    hub.propose(STUDY)
    assert hub.wait_for(lambda members: "north" in members, 10)
    hub.ask("north", wire.Message("a"))
    task, _ = next_task.result(10)
    hub.propose(STUDY + b" ")
    link.answer(task, network.numbers())
    assert asked == [STUDY, STUDY + b" "]


def test_a_study_that_is_not_approved_ends_the_hospital(start, link_to):
    def refuse(proposal):
        raise RunError("least_noise of policy.toml: expected at least 1, found 0")

    hub = start()
    hub.propose(STUDY)
    with pytest.raises(RunError, match="^least_noise of policy.toml"):
        link_to(hub.port, approve=refuse).next_task()
    assert not hub.members()


def test_while_a_hospital_decides_the_status_says_so(start, link_to, pool):
    decides = threading.Event()

    def approve(proposal):
        decides.wait(10)
        return hashlib.sha256(proposal).hexdigest()

    hub = start()
    hub.propose(STUDY)
    connects = pool.submit(link_to(hub.port, approve=approve).connect)
    network.until(lambda: _north_of(hub)["doing"] == "asked to approve the study")
    assert not _north_of(hub)["is_connected"]
    decides.set()
    connects.result(10)
    assert _north_of(hub)["is_connected"] and not _north_of(hub)["doing"]


def _north_of(hub):
    return hub.status()["members"]["north"]


def test_other_versions_end_the_hospital(start, link_to, caplog):
    hub = start()
    with pytest.raises(RefusedError, match="tffcxr 0.1.0.*found at north.*tffcxr 0.0.9") as error:
        link_to(hub.port, versions={**network.VERSIONS, "tffcxr": "0.0.9"}).next_task()
    assert caplog.messages == [f"refused north: {error.value}"]


def test_a_certificate_that_is_revoked_while_the_hospital_waits(start, link_to, pool, caplog):
    revoked: set[int] = set()
    hub = start(revoked=lambda: revoked)
    link = link_to(hub.port)
    link.connect()
    waits = pool.submit(link.next_task)
    revoked.add(authority.serial(network.site("north").certificate))
    with pytest.raises(RefusedError, match="the certificate of north is revoked"):
        waits.result(10)
    assert caplog.messages == ["refused north: the certificate of north is revoked"]


@pytest.mark.parametrize(
    ("study", "period", "error", "line"),
    [
        ("other", (-1, 1), RunError, "is not of the authority of this kit"),
        ("own", (-9, -1), InputError, "found one that expired on"),
    ],
)
def test_kits_that_cannot_connect_end_the_hospital(start, link_to, study, period, error, line):
    kit = authority.issue_to_site(network.study(study), "north", network.days(*period))
    with pytest.raises(error, match=line):
        link_to(start().port, credentials=kit).next_task()


def test_a_message_that_the_coordinator_does_not_take_is_an_error(start, link_to):
    hub = start(largest=lambda kind: 1 << 20)
    hub.ask("north", wire.Message("a"))
    link = link_to(hub.port)
    task, _ = link.next_task()
    with pytest.raises(RefusedError, match="expected a 'answer' of at most 1048576 bytes, found"):
        link.answer(task, network.numbers(2))


def test_the_end_reaches_a_hospital_that_works(start, link_to, pool):
    hub = start()
    link = link_to(hub.port)
    hub.ask("north", wire.Message("a"))
    task, _ = link.next_task()
    hub.end("the study is complete")
    with pytest.raises(StudyEndedError, match="the study is complete"):
        link.answer(task, network.numbers())


def test_closing_ends_calls_that_wait(link_to, pool):
    with network.Relay(1) as relay:
        link = link_to(relay.port)
        waits = pool.submit(link.next_task)
        time.sleep(0.3)
        link.close()
        with pytest.raises(RunError, match="closed by this hospital"):
            waits.result(10)


def test_twenty_hospitals_poll_while_one_is_slow(start, link_to, pool):
    sites = tuple(f"site{n}" for n in range(20))
    hub = start(sites=sites)
    links = {site: link_to(hub.port, site) for site in sites}
    slow = links.pop("site0")
    works = [pool.submit(_work, link) for link in links.values()]
    assert hub.wait_for(lambda members: len(members) == 19, 20)
    late = hub.ask("site0", network.numbers())
    slow_task, _ = slow.next_task()
    for number in range(3):
        asked = [hub.ask(site, network.numbers(0.2, round=number)) for site in links]
        for each in asked:
            assert each.result(20).about == {"round": number}
    assert not late.done()
    slow.answer(slow_task, network.numbers())
    late.result(0)
    hub.end("over")
    for each in works:
        each.result(20)


def test_a_folder_keeps_its_name(tmp_path):
    name = kept_instance(tmp_path / "work")
    assert name == kept_instance(tmp_path / "work") != kept_instance(tmp_path / "copy")
