"""Every federated operation gives the same in the device executor as in TFF's native worker."""

from __future__ import annotations

import collections
import gc

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.runtime.executors import contexts, run, run_both
from tffcxr.runtime import device, graphs, placed

CLIENT_FLOATS = tff.FederatedType(np.float32, tff.CLIENTS)
SERVER_FLOAT = tff.FederatedType(np.float32, tff.SERVER)
PAIR = collections.OrderedDict(b=np.float32, a=np.int32)


@tff.tensorflow.computation(np.float32)
def double(x):
    return 2.0 * x


@tff.tensorflow.computation(np.float32, np.float32)
def add(x, y):
    return x + y


@tff.tensorflow.computation(np.float32)
def as_pair(x):
    return collections.OrderedDict(b=x, a=tf.cast(x, tf.int32))


def federated(*types):
    return lambda function: tff.federated_computation(function, *types)


def test_map_gives_one_value_per_client():
    mapped = federated(CLIENT_FLOATS)(lambda x: tff.federated_map(double, x))
    assert run_both(mapped, [1.0, 2.0, 3.5]) == [2.0, 4.0, 7.0]


def test_map_at_the_server():
    mapped = federated(SERVER_FLOAT)(lambda x: tff.federated_map(double, x))
    assert run_both(mapped, 21.0) == 42.0


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (tff.federated_sum, 6.5),
        (lambda x: tff.federated_mean(x), 6.5 / 3),
        (tff.federated_min, 1.0),
        (tff.federated_max, 3.5),
    ],
)
def test_aggregations(operator, expected):
    result = run_both(federated(CLIENT_FLOATS)(operator), [1.0, 2.0, 3.5])
    assert result == pytest.approx(expected)


def test_weighted_mean():
    mean = federated(CLIENT_FLOATS, CLIENT_FLOATS)(lambda x, weight: tff.federated_mean(x, weight))
    assert run_both(mean, [1.0, 5.0], [3.0, 1.0]) == 2.0


def test_aggregate_takes_the_clients_in_order():
    @tff.tensorflow.computation(np.str_, np.str_)
    def join(total, value):
        return tf.strings.join([total, value], ",")

    identity = tff.tensorflow.computation(lambda x: x, np.str_)
    ordered = federated(tff.FederatedType(np.str_, tff.CLIENTS))(
        lambda x: tff.federated_aggregate(x, "start", join, join, identity)
    )
    assert run_both(ordered, ["c", "a", "b"]) == b"start,c,a,b"


def test_broadcast_reaches_every_client():
    both = federated(SERVER_FLOAT, CLIENT_FLOATS)(
        lambda s, c: tff.federated_map(add, (tff.federated_broadcast(s), c))
    )
    assert run_both(both, 10.0, [1.0, 2.0]) == [11.0, 12.0]


def test_a_value_that_all_clients_have_in_common_is_returned_once():
    # The native worker returns it from the first client, and here there is none.
    common = federated(SERVER_FLOAT)(tff.federated_broadcast)
    assert run(contexts()["device"], common, 4.0) == 4.0
    with_clients = federated(SERVER_FLOAT, CLIENT_FLOATS)(
        lambda server, clients: (tff.federated_broadcast(server), clients)
    )
    assert run_both(with_clients, 4.0, [1.0, 2.0]) == (4.0, [1.0, 2.0])


def test_map_of_a_common_value():
    @tff.federated_computation(SERVER_FLOAT, CLIENT_FLOATS)
    def mapped(server, clients):
        common = tff.federated_map(double, tff.federated_broadcast(server))
        return tff.federated_sum(tff.federated_map(add, (common, clients)))

    assert run_both(mapped, 1.0, [1.0, 2.0, 3.0]) == 12.0


def test_values_and_evaluations():
    make = tff.tensorflow.computation(lambda: tf.constant(3.0))

    @tff.federated_computation(CLIENT_FLOATS)
    def everything(x):
        return (
            tff.federated_value(np.float32(1.0), tff.SERVER),
            tff.federated_eval(make, tff.SERVER),
            tff.federated_sum(tff.federated_value(np.float32(2.0), tff.CLIENTS)),
            tff.federated_sum(tff.federated_eval(make, tff.CLIENTS)),
            x,
        )

    assert run_both(everything, [0.0, 1.0]) == (1.0, 3.0, 4.0, 6.0, [0.0, 1.0])


def test_zip_keeps_names_and_order():
    @tff.federated_computation(CLIENT_FLOATS, SERVER_FLOAT)
    def zipped(clients, server):
        pairs = tff.federated_map(as_pair, clients)
        nested = collections.OrderedDict(z=pairs, y=(clients, tff.federated_broadcast(server)))
        return tff.federated_zip(nested), tff.federated_zip((server, server))

    at_clients, at_server = run_both(zipped, [1.0, 2.0], 7.0)
    assert at_clients[1] == collections.OrderedDict(
        z=collections.OrderedDict(b=2.0, a=2), y=(2.0, 7.0)
    )
    assert at_server == (7.0, 7.0)


def test_an_aggregation_may_depend_on_another():
    @tff.federated_computation(CLIENT_FLOATS)
    def centred_squares(x):
        mean = tff.federated_broadcast(tff.federated_mean(x))
        square = tff.tensorflow.computation(lambda a, b: (a - b) ** 2, (np.float32, np.float32))
        doubled = tff.federated_map(double, x)
        squares = tff.federated_map(square, (x, mean))
        return tff.federated_sum(squares), tff.federated_sum(doubled), squares

    total, doubled, squares = run_both(centred_squares, [1.0, 2.0, 6.0])
    assert (total, doubled, squares) == (14.0, 18.0, [4.0, 1.0, 9.0])


def test_no_client_at_all():
    summed = federated(CLIENT_FLOATS)(lambda x: (tff.federated_sum(x), tff.federated_mean(x)))
    total, mean = run(contexts()["device"], summed, [])
    assert total == 0.0
    assert np.isnan(mean)


def test_different_numbers_of_clients_are_refused():
    mapped = federated(CLIENT_FLOATS, CLIENT_FLOATS)(lambda x, y: (x, y))
    with pytest.raises(ValueError, match="Conflicting cardinalities"):
        run(contexts()["device"], mapped, [1.0], [1.0, 2.0])


def test_select_gives_each_client_the_rows_it_asks_for():
    @tff.tensorflow.computation((np.str_, [None]), np.int32)
    def choose(rows, key):
        return tf.gather(rows, key)

    concatenate = tff.tensorflow.computation(
        lambda rows: rows.reduce("", lambda a, b: tf.strings.join([a, b])),
        tff.SequenceType(np.str_),
    )

    @tff.federated_computation(
        tff.FederatedType(tff.TensorType(np.str_, [None]), tff.SERVER),
        tff.FederatedType(tff.TensorType(np.int32, [2]), tff.CLIENTS),
    )
    def selected(rows, keys):
        rows_at_clients = tff.federated_select(
            keys, tff.federated_value(3, tff.SERVER), rows, choose
        )
        return tff.federated_map(concatenate, rows_at_clients)

    keys = [np.array([0, 2], np.int32), np.array([1, 1], np.int32)]
    assert run_both(selected, ["x", "y", "z"], keys) == [b"xz", b"yy"]


@pytest.mark.parametrize("kind", ["sum", "bitwidth", "modular"])
def test_secure_sums_are_sums(kind):
    def secure(x):
        if kind == "sum":
            return tff.federated_secure_sum(x, 100)
        if kind == "bitwidth":
            return tff.federated_secure_sum_bitwidth(x, 8)
        return tff.backends.mapreduce.federated_secure_modular_sum(x, 7)

    summed = federated(tff.FederatedType(np.int32, tff.CLIENTS))(secure)
    expected = {"sum": 12, "bitwidth": 12, "modular": 5}[kind]
    assert run_both(summed, [3, 4, 5]) == expected


SEQUENCE = tff.SequenceType(np.float32)


@pytest.mark.parametrize("made_as", [list, tf.data.Dataset.from_tensor_slices])
def test_sequences_are_reduced_at_clients(made_as):
    @tff.federated_computation(tff.FederatedType(SEQUENCE, tff.CLIENTS))
    def reduced(data):
        local = tff.federated_computation(
            lambda sequence: tff.sequence_reduce(sequence, np.float32(0.5), add), SEQUENCE
        )
        return tff.federated_map(local, data)

    assert run_both(reduced, [made_as([1.0, 2.0]), made_as([4.0])]) == [3.5, 4.5]


def test_a_reduction_by_a_graph_keeps_its_total_flat(monkeypatch):
    folded = []
    fold = graphs.GraphFunction.fold

    def spy(self, total, elements):
        folded.append(total)
        return fold(self, total, elements)

    monkeypatch.setattr(graphs.GraphFunction, "fold", spy)
    reduced = federated(SEQUENCE)(lambda data: tff.sequence_reduce(data, np.float32(0.0), add))
    assert run(contexts()["device"], reduced, [1.0, 2.0]) == 3.0
    assert len(folded) == 1


def test_sequences_are_mapped_and_summed():
    # At clients; the native worker knows neither operation there.
    @tff.federated_computation(tff.FederatedType(SEQUENCE, tff.CLIENTS))
    def reduced(data):
        def local(sequence):
            doubled = tff.sequence_map(double, sequence)
            total = tff.tensorflow.computation(lambda values: values.reduce(0.0, tf.add), SEQUENCE)
            return tff.sequence_sum(sequence), tff.sequence_sum(doubled), total(doubled)

        return tff.federated_map(tff.federated_computation(local, SEQUENCE), data)

    device = contexts()["device"]
    assert run(device, reduced, [[1.0, 2.0], []]) == [(3.0, 6.0, 6.0), (0.0, 0.0, 0.0)]


def test_a_mapped_sequence_is_returned_as_a_dataset():
    mapped = federated(SEQUENCE)(lambda values: tff.sequence_map(double, values))
    result = run(contexts()["device"], mapped, [1.0, 2.0])
    assert list(result.as_numpy_iterator()) == [2.0, 4.0]


def test_reduction_of_structs():
    step_type = collections.OrderedDict(count=np.int32, total=np.float32)

    @tff.tensorflow.computation(step_type, PAIR)
    def step(state, element):
        return collections.OrderedDict(
            count=state["count"] + element["a"], total=state["total"] + element["b"]
        )

    zero = tff.tensorflow.computation(
        lambda: collections.OrderedDict(count=tf.constant(0), total=tf.constant(0.0))
    )
    reduced = federated(tff.SequenceType(tff.types.to_type(PAIR)))(
        lambda data: tff.sequence_reduce(data, zero(), step)
    )
    data = [collections.OrderedDict(b=0.5, a=1), collections.OrderedDict(b=2.0, a=10)]
    # The native worker hands the elements over in the order of their names.
    assert run(contexts()["device"], reduced, data) == collections.OrderedDict(count=11, total=2.5)


def test_datasets_made_in_a_graph_are_reduced():
    # The native worker cannot (sequences made in a graph are no input of its own reduction).
    make = tff.tensorflow.computation(
        lambda n: tf.data.Dataset.range(n).map(lambda x: tf.cast(x, tf.float32)), np.int64
    )

    @tff.federated_computation(tff.FederatedType(np.int64, tff.CLIENTS))
    def reduced(count):
        local = tff.federated_computation(
            lambda n: tff.sequence_reduce(make(n), np.float32(0.0), add), np.int64
        )
        return tff.federated_map(local, count)

    assert run(contexts()["device"], reduced, [3, 5]) == [3.0, 10.0]


def test_computations_without_clients():
    assert run_both(double, 4.0) == 8.0
    local = federated(np.float32)(lambda x: (x, double(double(x))))
    assert run_both(local, 1.5) == (1.5, 6.0)
    assert run_both(tff.tensorflow.computation(lambda: tf.constant([1, 2])))[1] == 2


def test_functions_are_unknown_that_tff_does_not_know():
    from tffcxr.runtime import interpreter, placed

    unknown = tff.framework.Intrinsic("cure_all", tff.FunctionType(np.int32, np.int32))
    run_of = interpreter.Interpreter(graphs.GraphFunctions(), placed.Federation(1, "/CPU:0"))
    with pytest.raises(NotImplementedError, match="cure_all"):
        run_of.evaluate(unknown, {})


def test_a_finished_round_is_let_go_at_once():
    """Without waiting for Python to look for values that keep each other alive."""

    @tff.federated_computation(CLIENT_FLOATS, SERVER_FLOAT)
    def centred(x, offset):
        moved = tff.federated_map(add, (x, tff.federated_broadcast(offset)))
        mean = tff.federated_broadcast(tff.federated_mean(moved))
        return tff.federated_sum(tff.federated_map(add, (moved, mean)))

    context = device.device_context(["CPU:0", "CPU:0"])
    gc.collect()
    gc.disable()
    try:
        assert run(context, centred, [1.0, 2.0], 3.0) == 18.0  # 4 + 4.5 and 5 + 4.5
        assert not [each for each in gc.get_objects() if isinstance(each, placed.ClientValue)]
    finally:
        gc.enable()
