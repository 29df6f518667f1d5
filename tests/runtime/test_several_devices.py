"""Results do not depend on how many devices there are; here the CPU is split into three."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

import tests.runtime
from tests.runtime import test_tff_algorithms as algorithms
from tests.runtime.executors import run
from tffcxr import errors
from tffcxr.runtime import device, placed, threads

pytestmark = pytest.mark.skipif(
    not tests.runtime.CPU_IS_SPLIT, reason="TensorFlow had started already; run this file alone"
)

DEVICES = ["CPU:0", "CPU:1", "CPU:2"]


def arrays(state):
    return [np.asarray(value) for value in tf.nest.flatten(state)]


def test_each_client_runs_on_its_device():
    @tff.tensorflow.computation(np.float32)
    def square(x):
        return x * x

    squares = tff.federated_computation(
        lambda x: tff.federated_map(square, x), tff.FederatedType(np.float32, tff.CLIENTS)
    )
    context = device.device_context(DEVICES)
    assert run(context, squares, [1.0, 2.0, 3.0, 4.0]) == [1.0, 4.0, 9.0, 16.0]
    assert context.workers == ("/CPU:0", "/CPU:1", "/CPU:2")
    places = placed.ClientValue(lambda _: (tf.constant(1.0) + 1.0).device)
    parts = threads.Threads(4, context.workers)
    federation = placed.Federation(4, context.workers[0], parts)
    found = federation.collect(places, lambda name: name).get()
    assert [name[-1] for name in found] == ["0", "1", "2", "0"]


def test_one_two_and_three_devices_train_the_same_model():
    process = algorithms.ALGORITHMS["weighted fed avg"]()
    data = [algorithms.client_data(client) for client in range(4)]
    states = []
    for count in (1, 2, 3):
        context = device.device_context(DEVICES[:count])
        state = run(context, process.initialize)
        states.append(arrays(run(context, process.next, state, data).state))
    for state in states[1:]:
        for one, other in zip(states[0], state):
            np.testing.assert_array_equal(one, other)


def test_reduction_driven_from_outside_the_graph():
    @tff.tensorflow.computation(
        collections.OrderedDict(w=np.float32, n=np.int32), tff.TensorType(np.float32, [None])
    )
    def step(state, batch):
        weight = tf.Variable(0.0)
        with tf.control_dependencies([weight.assign(state["w"])]):
            added = weight.assign_add(tf.reduce_sum(batch))
        with tf.control_dependencies([added]):
            moved = weight.read_value()
        return collections.OrderedDict(w=moved, n=state["n"] + 1)

    sequence = tff.SequenceType(tff.TensorType(np.float32, [None]))
    local_type = tff.StructType([np.float32, sequence])

    @tff.tensorflow.computation(np.float32)
    def start(w):
        return collections.OrderedDict(w=w, n=tf.constant(0))

    @tff.federated_computation(local_type)
    def local(argument):
        return tff.sequence_reduce(argument[1], start(argument[0]), step)

    @tff.federated_computation(
        tff.FederatedType(np.float32, tff.SERVER), tff.FederatedType(sequence, tff.CLIENTS)
    )
    def trained(weight, data):
        return tff.federated_map(local, tff.federated_zip((tff.federated_broadcast(weight), data)))

    datasets = [
        tf.data.Dataset.range(n).map(lambda x: tf.cast(x, tf.float32)).batch(2) for n in range(5)
    ]
    expected = [collections.OrderedDict(w=1.0 + sum(range(n)), n=(n + 1) // 2) for n in range(5)]
    for count in (1, 3):
        assert run(device.device_context(DEVICES[:count]), trained, 1.0, datasets) == expected


def test_datasets_made_at_the_server_reach_every_device():
    make = tff.tensorflow.computation(lambda: tf.data.Dataset.range(4))
    total = tff.tensorflow.computation(
        lambda values: values.reduce(np.int64(0), tf.add), tff.SequenceType(np.int64)
    )

    @tff.federated_computation(tff.FederatedType(np.int64, tff.CLIENTS))
    def summed(x):
        everywhere = tff.federated_broadcast(tff.federated_eval(make, tff.SERVER))
        return tff.federated_map(total, everywhere), x

    assert run(device.device_context(DEVICES), summed, [1, 2, 3]) == ([6, 6, 6], [1, 2, 3])


def test_a_device_that_does_not_exist():
    with pytest.raises(errors.InputError, match="'GPU:7'"):
        device.device_context(["GPU:7"])
    with pytest.raises(errors.InputError, match="at least one"):
        device.device_context([])
