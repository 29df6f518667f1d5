"""Events of calls come once, in order, and not from a cluster that is lost."""

from __future__ import annotations

import concurrent.futures
import functools
import threading
import time

from tffcxr.runtime.ray_calls import Calls


class Reference:
    """What a call of an actor returns."""

    def __init__(self):
        self.done: concurrent.futures.Future = concurrent.futures.Future()

    def future(self):
        return self.done


def test_the_end_of_a_call_is_an_event_with_its_reference():
    calls, reference, seen = Calls(), Reference(), []
    calls.notify(reference, lambda *found: seen.append(found), "slot", 3)
    assert calls.next(0.0) is None
    reference.done.set_result("value")
    event = calls.next(0.0)
    assert event is not None
    event()
    assert seen == [("slot", 3, reference, reference.done)]
    assert calls.next(0.0) is None


def test_what_is_posted_comes_in_order():
    calls, seen = Calls(), list[int]()
    for number in range(3):
        calls.post(functools.partial(seen.append, number))
    calls.post(None)
    while (event := calls.next(0.0)) is not None:
        event()
    assert seen == [0, 1, 2]


def test_calls_of_a_lost_cluster_make_no_events_and_are_not_let_go():
    calls, ended, open_call = Calls(), Reference(), Reference()
    for reference in (ended, open_call):
        calls.notify(reference, lambda *_: None)
    ended.done.set_result(None)
    calls.abandon()
    open_call.done.set_result(None)
    calls.post(ended.future)
    found = [event for event in (calls.next(0.0) for _ in range(3)) if event]
    assert found == [ended.future]
    assert sum(callable(each) for each in calls.kept) == 2  # Both events, with their references.


def test_the_end_waits_for_calls_and_drops_their_events():
    calls, reference = Calls(), Reference()
    calls.notify(reference, lambda *_: None)
    threading.Timer(0.1, reference.done.set_result, [None]).start()
    begin = time.monotonic()
    calls.end(timeout=30.0)
    assert 0.05 < time.monotonic() - begin < 20
    assert calls.next(0.0) is None
    calls.notify(Reference(), lambda *_: None)
    calls.end(timeout=0.05)  # No longer than that.
