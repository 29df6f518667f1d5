"""Values at clients are computed once, in order, and dropped as soon as nobody needs them."""

from __future__ import annotations

import threading
import time
import weakref

import pytest
import tensorflow as tf

from tffcxr.runtime import placed, threads

CPU = "/CPU:0"


class Payload:
    """A value whose life can be watched."""

    alive = 0
    most = 0

    def __init__(self, number):
        self.number = number
        Payload.alive += 1
        Payload.most = max(Payload.most, Payload.alive)
        weakref.finalize(self, Payload._ended)

    @classmethod
    def _ended(cls):
        cls.alive -= 1


@pytest.fixture(autouse=True)
def _no_payloads():
    Payload.alive = Payload.most = 0


def federation_of(clients, workers):
    return placed.Federation(clients, workers[0], threads.Threads(clients, workers))


def numbers(calls=None):
    def compute(client):
        if calls is not None:
            calls.append(client)
        return client

    return placed.ClientValue(compute)


def total(federation, source, add=lambda a, b: a + b):
    return federation.aggregate(source, lambda: 0, add, lambda x: x)


def test_nothing_is_computed_before_it_is_needed():
    calls: list[int] = []
    federation = federation_of(3, [CPU])
    result = total(federation, numbers(calls))
    assert not calls
    assert result.get() == 0 + 1 + 2
    assert result.get() == 3
    assert calls == [0, 1, 2]


def test_aggregations_share_one_walk_and_its_values():
    calls: list[int] = []
    source = numbers(calls)
    squares = placed.ClientValue(lambda _, x: x * x, [source])
    federation = federation_of(4, [CPU])
    first, second = total(federation, source), total(federation, squares)
    collected = federation.collect(source, str)
    assert second.get() == 0 + 1 + 4 + 9
    assert (first.get(), collected.get()) == (6, ["0", "1", "2", "3"])
    assert calls == [0, 1, 2, 3]


def test_a_second_walk_takes_up_what_the_first_has_computed():
    calls: list[int] = []
    source = numbers(calls)
    doubled = placed.ClientValue(lambda _, x: 2 * x, [source])
    federation = federation_of(3, [CPU])
    mean = placed.ServerValue(lambda x: x / 3, [total(federation, doubled)])
    centred = placed.ClientValue(lambda _, x, m: x - m, [doubled, mean])
    result = total(federation, centred)
    again = total(federation, source)
    assert result.get() == 0.0
    assert again.get() == 3
    assert calls == [0, 1, 2]


def test_three_walks_in_a_row():
    federation = federation_of(2, [CPU])
    value: placed.ServerValue = placed.known(1)
    for _ in range(3):
        value = total(federation, placed.ClientValue(lambda client, v: client + v, [value]))
    assert value.get() == 1 + 2 * (1 + 2 * (1 + 2 * 1))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_memory_does_not_grow_with_the_number_of_clients(workers):
    source = placed.ClientValue(lambda client: Payload(client))
    federation = federation_of(40, [CPU] * workers)
    result = total(federation, source, lambda a, b: a + b.number)
    assert result.get() == sum(range(40))
    assert Payload.most <= 1 + threads._AHEAD * workers


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_order_of_accumulation_is_that_of_the_clients(workers):
    def slow_for_some(client):
        time.sleep(0.01 * (client % 3 == 0))
        return client

    federation = federation_of(12, [CPU] * workers)
    result = federation.aggregate(
        placed.ClientValue(slow_for_some), list, lambda a, b: [*a, b], tuple
    )
    assert result.get() == tuple(range(12))


def test_clients_are_dealt_to_workers_in_turn():
    identities = placed.ClientValue(lambda _: threading.get_ident())
    federation = federation_of(6, [CPU, CPU])
    names = federation.collect(identities, lambda x: x).get()
    assert names[0] == names[2] == names[4]
    assert names[1] == names[3] == names[5]
    assert names[0] != names[1]


def test_threads_last_from_one_walk_to_the_next():
    def names():
        federation = federation_of(2, [CPU, CPU])
        return federation.collect(placed.ClientValue(lambda _: threading.get_ident()), int).get()

    before = threading.active_count()
    found = [names() for _ in range(5)]
    assert all(each == found[0] for each in found)
    assert threading.active_count() <= before + 2


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_names_the_client_and_keeps_the_message(workers):
    def compute(client):
        if client == 3:
            raise OSError("shard is truncated")
        return client

    federation = federation_of(8, [CPU] * workers)
    with pytest.raises(placed.ClientError, match="client 3: shard is truncated") as caught:
        total(federation, placed.ClientValue(compute)).get()
    assert isinstance(caught.value.__cause__, OSError)


def test_the_message_of_a_graph_is_kept():
    def compute(client):
        with tf.control_dependencies([tf.debugging.assert_less(client, 1, "labels out of range")]):
            return tf.constant(client)

    federation = federation_of(2, [CPU])
    with pytest.raises(placed.ClientError, match="client 1: .*labels out of range"):
        total(federation, placed.ClientValue(compute)).get()


def test_after_an_error_other_clients_are_given_up():
    started = threading.Event()

    def compute(client):
        if client == 0:
            started.wait(10)
            raise ValueError("no images")
        started.set()
        for _ in federation.until_stopped(range(1000)):
            time.sleep(0.01)
        return client

    federation = federation_of(2, [CPU, CPU])
    begin = time.monotonic()
    with pytest.raises(placed.ClientError, match="client 0: no images"):
        total(federation, placed.ClientValue(compute)).get()
    assert time.monotonic() - begin < 5


def test_common_values_are_copied_to_a_device_once():
    value = placed.known((tf.constant(1.0), (tf.constant("name"),)))
    copied = value.on(CPU)
    assert copied is value.on(CPU)
    assert copied[0].numpy() == 1.0
    assert copied[1][0].numpy() == b"name"
