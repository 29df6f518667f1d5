"""Workers that get nothing but bytes compute what this process computes, to the last bit."""

from __future__ import annotations

import time

import attrs
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.learning import tiny
from tests.runtime import loopback
from tests.runtime.executors import run
from tests.runtime.test_tff_algorithms import AGGREGATORS, aggregation
from tffcxr.learning import aggregators, optimizers
from tffcxr.runtime import device, engine, parts, placed

LOCAL = device.device_context(["CPU:0"])
FLOATS = tff.FederatedType(np.float32, tff.CLIENTS)
SERVER_FLOAT = tff.FederatedType(np.float32, tff.SERVER)


@tff.tensorflow.computation(np.float32, np.float32)
def add(x, y):
    return x + y


@tff.federated_computation(FLOATS, SERVER_FLOAT)
def centred(x, offset):
    """Walks three times: each sum needs the mean before it at the clients."""
    moved = tff.federated_map(add, (x, tff.federated_broadcast(offset)))
    mean = tff.federated_broadcast(tff.federated_mean(moved))
    again = tff.federated_map(add, (moved, mean))
    total = tff.federated_broadcast(tff.federated_sum(again))
    return tff.federated_sum(tff.federated_map(add, (again, total))), again


def bits(value):
    """All arrays of a result, as bytes with their types."""
    if isinstance(value, tff.structure.Struct):
        value = list(value)
    return [(np.asarray(v).dtype, np.shape(v), np.asarray(v).tobytes()) for v in _leaves(value)]


def _leaves(value):
    if hasattr(type(value), "__attrs_attrs__"):
        value = attrs.asdict(value, recurse=False)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]


def rounds(context, process, clients, number=2):
    """Some rounds of a `FederatedProcess`, client states carried over."""
    server = run(context, process.initialize)
    states = [run(context, process.initialize_client) for _ in clients]
    for _ in range(number):
        given = [tiny.client(state, data) for state, data in zip(states, clients)]
        server, states, metrics, of_clients = run(context, process.next, server, given)
        if process.recompute is not None:
            given = [tiny.client(state, data) for state, data in zip(states, clients)]
            with tff.framework.get_context_stack().install(context):
                server = process.with_recomputed_statistics(server, given)
    return bits([server, states, metrics, of_clients])


def test_a_private_layer_and_an_optimizer_stay_with_the_client():
    process = tiny.image_process(
        client_optimizer=optimizers.client_optimizer("adam", 0.01), keeps_optimizer=True
    )
    clients = [tiny.pictures(seed, images=4 + 4 * seed) for seed in range(4)]
    expected = rounds(LOCAL, process, clients)
    for workers in (1, 2, 5):
        context, worker = loopback.context(workers)
        assert rounds(context, process, clients) == expected
        assert len(worker.tasks) == 2 * 4
        assert len(set(worker.forgotten)) == 2


def test_statistics_are_recomputed():
    process = tiny.image_process(private_layers=[], recompute_statistics=True)
    clients = [tiny.pictures(seed) for seed in range(3)]
    context, worker = loopback.context(2)
    assert rounds(context, process, clients) == rounds(LOCAL, process, clients)
    assert len({task.computation for task in worker.tasks}) == 2  # `next` and `recompute`.


@pytest.mark.parametrize("name", sorted(set(AGGREGATORS) - {"secure"}))
def test_aggregators(name):
    process, arguments = aggregation(name)
    random = np.random.default_rng(0)
    values = [[random.normal(size=n).astype(np.float32) for n in (20, 3)] for _ in range(4)]

    def two_rounds(context):
        state = run(context, process.initialize)
        state = run(context, process.next, state, values, *arguments).state
        output = run(context, process.next, state, values, *arguments)
        return bits([output.state, output.result, output.measurements])

    context, _ = loopback.context(3)
    assert two_rounds(context) == two_rounds(LOCAL)


def test_the_seed_of_the_noise_leaves_the_server_in_no_message():
    seed = np.array([0x1122334455667788, 0x5A5B5C5D5E5F6061])
    process = tiny.image_process(aggregator=aggregators.differentially_private(1.0, 2.0))
    clients = [tiny.pictures(seed) for seed in range(2)]
    context, worker = loopback.context(2)
    found = []
    for where in (LOCAL, context):
        server = process.with_noise_seed(run(where, process.initialize), lambda: seed)
        states = [run(where, process.initialize_client) for _ in clients]
        given = [tiny.client(state, data) for state, data in zip(states, clients)]
        found.append(bits(list(run(where, process.next, server, given))))
    assert found[0] == found[1]
    packed = [*worker.shared, *(task.argument for task in worker.tasks)]
    sent = [each.head + b"".join(array.tobytes() for array in each.arrays) for each in packed]
    sent.extend(computation.content for computation in worker.computations)
    assert len(sent) == 1 + 2 + 2
    assert np.float32(0.1).tobytes() in sent[0]  # The clipping norm, which clients do get.
    for half in seed.tolist():
        for order in ("little", "big"):
            assert not any(half.to_bytes(8, order) in content for content in sent)


def test_compression_keeps_within_its_step():
    factory = tff.aggregators.EncodedSumFactory.quantize_above_threshold(
        quantization_bits=8, threshold=10
    )
    process = factory.create(tff.types.to_type((np.float32, [500])))
    values = [np.linspace(low, low + 2.0, 500, dtype=np.float32) for low in (-1.0, 0.0)]
    context, worker = loopback.context(2)
    result = run(context, process.next, run(context, process.initialize), values).result
    assert np.max(np.abs(result - sum(values))) <= 2 * (2.0 / 255) * 1.01
    # Only the numbers of the levels travel, as integers of eight bits packed into larger ones.
    assert all(answer.content.size < 1500 for answer in worker.answers)


LOSSES = {
    "none": lambda _: False,
    "before the second walk": lambda number: number == 3,
    "one at every question": lambda _: True,
}


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("loses", LOSSES.values(), ids=LOSSES)
def test_a_worker_that_is_lost_between_walks_changes_nothing(workers, loses):
    context, worker = loopback.context(workers, loses=loses)
    # Moved 4, 5, 6 with mean 5: 9, 10, 11 with sum 30: 39 + 40 + 41.
    total, again = run(context, centred, [1.0, 2.0, 3.0], 3.0)
    assert (total, again) == (120.0, [9.0, 10.0, 11.0])
    assert [len(task.walks) for task in worker.tasks] == [1] * 3 + [2] * 3 + [3] * 3


def test_server_values_are_shared_once_and_only_what_clients_take_comes_back():
    @tff.tensorflow.computation((np.float32, [1000]), np.float32)
    def scaled(weights, x):
        return tf.reduce_sum(weights) * x

    @tff.federated_computation(tff.FederatedType((np.float32, [1000]), tff.SERVER), FLOATS)
    def total(weights, x):
        return tff.federated_sum(tff.federated_map(scaled, (tff.federated_broadcast(weights), x)))

    context, worker = loopback.context(2)
    assert run(context, total, np.ones(1000, np.float32), [1.0, 2.0, 4.0]) == 7000.0
    assert [content.size > 4000 for content in worker.shared] == [True]
    assert all(task.argument.size < 100 for task in worker.tasks)
    assert all(answer.content.size < 100 for answer in worker.answers)


def test_everything_that_a_client_may_get_or_give():
    @attrs.define
    class Point:
        y: float
        x: float

    @tff.tensorflow.computation(tff.SequenceType(np.int32), np.int32)
    def product(rows, factor):
        return rows.reduce(factor, lambda total, row: total * row)

    @tff.tensorflow.computation(np.int32, np.str_)
    def named(value, name):
        return tf.strings.join([name, tf.strings.as_string(value)])

    @tff.tensorflow.computation(
        tff.SequenceType(tff.StructWithPythonType([("y", np.float32), ("x", np.float32)], Point))
    )
    def differences(points):
        return points.map(lambda point: point.y - point.x)

    points_type = tff.FederatedType(differences.type_signature.parameter, tff.CLIENTS)

    @tff.federated_computation(
        np.int32,
        tff.FederatedType(tff.SequenceType(np.int32), tff.CLIENTS),
        tff.FederatedType(np.str_, tff.SERVER),
        points_type,
    )
    def all_kinds(factor, rows, name, points):
        products = tff.federated_map(product, (rows, tff.federated_value(factor, tff.CLIENTS)))
        names = tff.federated_map(named, (products, tff.federated_broadcast(name)))
        return names, tff.federated_sum(products), tff.federated_map(differences, points)

    def pairs(*values):
        columns = Point(*(np.array(column, np.float32) for column in zip(*values)))
        return tf.data.Dataset.from_tensor_slices(columns)

    rows = [[2, 3], [], [5]]
    points = [pairs((1, 2), (3, 1)), pairs((0, 7)), pairs((9, 9))]
    found = {}
    for where, context in (("here", LOCAL), ("there", loopback.context(2)[0])):
        names, total, changes = run(context, all_kinds, 10, rows, "n", points)
        changes = [list(each.as_numpy_iterator()) for each in changes]
        found[where] = ([bytes(name) for name in names], int(total), changes)
    assert found["here"] == found["there"]
    expected = ([b"n60", b"n10", b"n50"], 120, [[-1.0, 2.0], [-7.0], [0.0]])
    assert found["there"] == expected


def test_clients_select_from_the_server():
    @tff.tensorflow.computation((np.float32, [4]), np.int32)
    def pick(table, key):
        return tf.gather(table, key)

    @tff.tensorflow.computation(tff.SequenceType(np.float32))
    def total(rows):
        return rows.reduce(0.0, lambda a, b: a + b)

    @tff.federated_computation(
        tff.FederatedType((np.float32, [4]), tff.SERVER),
        tff.FederatedType((np.int32, [2]), tff.CLIENTS),
    )
    def chosen(table, keys):
        most = tff.federated_value(4, tff.SERVER)
        rows = tff.federated_select(keys, most, table, pick)
        return tff.federated_sum(tff.federated_map(total, rows))

    table, keys = np.array([1, 10, 100, 1000], np.float32), [[0, 1], [1, 3]]
    context, _ = loopback.context(2)
    assert run(context, chosen, table, [np.array(key, np.int32) for key in keys]) == 1021.0


@tff.tensorflow.computation(np.float32)
def checked(x):
    with tf.control_dependencies([tf.debugging.assert_positive(x, "labels out of range")]):
        return tf.sqrt(x)


@tff.federated_computation(FLOATS)
def sum_of_roots(x):
    return tff.federated_sum(tff.federated_map(checked, x))


def test_a_client_that_fails_is_named_as_it_is_here():
    said = {}
    for where, context in (("here", LOCAL), ("there", loopback.context(2)[0])):
        with pytest.raises(
            placed.ClientError, match="(?s)client 1: .*labels out of range"
        ) as caught:
            run(context, sum_of_roots, [1.0, -1.0, 4.0])
        said[where] = str(caught.value)
        assert run(context, sum_of_roots, [1.0, 4.0]) == 3.0  # It goes on afterwards.
    assert said["here"] == said["there"]


def test_what_a_client_brings_is_checked_before_it_is_sent():
    context, worker = loopback.context(1)
    rows = tff.FederatedType(tff.SequenceType(np.int32), tff.CLIENTS)
    count = tff.federated_computation(
        lambda x: tff.federated_map(tff.tensorflow.computation(lambda r: r.cardinality(),
                                                               rows.member), x), rows
    )  # fmt: skip
    with pytest.raises(placed.ClientError, match="client 0: expected a sequence"):
        run(context, count, [tf.data.Dataset.from_tensors("text")])
    assert not worker.tasks


def test_others_are_ended_when_a_client_fails():
    @tff.tensorflow.computation(np.int64, np.int64)
    def checked_last(total, row):
        with tf.control_dependencies([tf.debugging.assert_less(row, np.int64(10**6), "too late")]):
            return total + row

    rows = tff.FederatedType(tff.SequenceType(np.int64), tff.CLIENTS)

    @tff.federated_computation(rows)
    def totals(x):
        of_client = tff.federated_computation(
            lambda r: tff.sequence_reduce(r, np.int64(0), checked_last), rows.member
        )
        return tff.federated_sum(tff.federated_map(of_client, x))

    context, worker = loopback.context(2)
    endless = tf.data.Dataset.from_tensors(np.int64(0)).repeat()
    failing = tf.data.Dataset.from_tensors(np.int64(10**6))
    begin = time.monotonic()
    with pytest.raises(placed.ClientError, match="(?s)client 0: .*too late"):
        run(context, totals, [failing, endless])
    assert time.monotonic() - begin < 30
    for thread in worker._threads:
        thread.submit(int).result(timeout=10)  # No worker computes any more.


def test_the_largest_clients_are_dealt_first():
    # 9 to the first, 7 to the second, 5 to the second (12), 1 to the first.
    assert engine.deal([5, 9, 1, 7], 2) == [1, 0, 0, 1]
    assert engine.deal([4, 4, 4, 4], 3) == [0, 1, 2, 0]
    assert engine.deal([0, 0], 2) == [0, 1]
    assert engine.deal([], 2) == []


def test_sizes_reach_the_engine():
    asked = []

    class Noting(loopback.Loopback):
        def lanes(self, sizes):
            asked.append(sizes)
            return super().lanes(sizes)

    context = device.DeviceContext(["/CPU:0"], elsewhere=loopback.remote(Noting(2)))
    with parts.sized([3, 1, 2]):
        assert run(context, sum_of_roots, [1.0, 4.0, 9.0]) == 6.0
    assert run(context, sum_of_roots, [1.0, 4.0]) == 3.0
    assert asked == [(3, 1, 2), (1, 1)]
