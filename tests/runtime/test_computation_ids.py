"""Ids of computations: the same whenever these are built, and others where anything differs."""

from __future__ import annotations

import collections
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr import runtime
from tffcxr.learning import optimizers, process
from tffcxr.runtime.computation_ids import computation_id

BATCH = {
    "images": tf.TensorSpec([None, 8, 8, 1], tf.float32),
    "labels": tf.TensorSpec([None, 2], tf.float32),
}


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


def tensors(name="f", *, number=1.0, power=2, dtype=tf.float32, op=tf.add, axis=0, gated=False):
    """A graph with a constant, an op, an attribute, a function that it calls, and a condition."""

    @tf.function
    def squared(x):
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x**power, lambda: -x)

    def body(x):
        with tf.name_scope(name):
            if gated:
                with tf.control_dependencies([tf.debugging.assert_positive(x)]):
                    x = tf.identity(x)
            return tf.concat([op(squared(x), tf.constant(number, dtype))] * 2, axis)

    body.__name__ = name
    return tff.tensorflow.computation(body, tff.TensorType(dtype.as_numpy_dtype, [2, 2]))


def test_names_do_not_count():
    first = computation_id(tensors())
    tf.keras.layers.Dense(3).build((None, 2))  # What else a program builds numbers its names.
    assert computation_id(tensors("another")) == first


CHANGES: list[dict[str, Any]] = [
    {"number": 1.0000001}, {"power": 3}, {"dtype": tf.float64}, {"op": tf.multiply}, {"axis": 1},
    {"gated": True},
]  # fmt: skip


def test_everything_that_is_computed_counts():
    found = {computation_id(tensors(**change)) for change in [{}, *CHANGES]}
    assert len(found) == 1 + len(CHANGES)


def test_the_order_of_inputs_and_of_outputs_counts():
    types = [np.float32, np.float32]
    found = [
        computation_id(tff.tensorflow.computation(body, types))
        for body in (
            lambda a, b: (a - b, a + b),
            lambda a, b: (b - a, a + b),
            lambda a, b: (a + b, a - b),
            lambda a, b: (a, b),
            lambda a, b: (b, a),
        )
    ]
    assert len(set(found)) == len(found)


def test_functions_in_graphs_count_by_what_they_do():
    def reduce(step):
        return tff.tensorflow.computation(
            lambda rows: rows.reduce(np.float32(0), step), tff.SequenceType(np.float32)
        )

    plus = computation_id(reduce(lambda total, row: total + row))
    assert computation_id(reduce(lambda total, row: total + row)) == plus
    assert computation_id(reduce(lambda total, row: total - row)) != plus
    assert computation_id(reduce(lambda total, row: total + 2 * row)) != plus


def test_what_happens_at_clients_counts():
    floats = tff.FederatedType(np.float32, tff.CLIENTS)

    def total(intrinsic):
        return tff.federated_computation(intrinsic, floats)

    means = [computation_id(total(lambda x: tff.federated_mean(x))) for _ in range(2)]
    assert means[0] == means[1]
    assert computation_id(total(lambda x: tff.federated_sum(x))) != means[0]


def built(*, norm="batch", units=2, activation="relu", loss="sum", start=1.0, rate=1e-3, **changes):
    """The process of a small network with its kinds of layers."""
    layers = tf.keras.layers
    images = x = tf.keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 3, padding="same", use_bias=False)(x)
    if norm == "batch":
        x = layers.BatchNormalization()(x)
    else:
        x = layers.GroupNormalization(2)(x)
    x = layers.Activation(activation)(x)
    x = layers.DepthwiseConv2D(3)(layers.Dropout(0.25, seed=1)(x))
    x = layers.GlobalAveragePooling2D()(tf.nn.silu(layers.UpSampling2D()(x)))
    model = tf.keras.Model(images, layers.Dense(units)(x))

    def loss_fn(batch, outputs):
        each = tf.nn.sigmoid_cross_entropy_with_logits(batch["labels"], outputs[:, :2])
        if loss == "masked":
            each = tf.where(batch["labels"] > 0, each, 2 * each)
        return tf.reduce_sum(each), tf.cast(tf.size(each), tf.float32)

    settings = {
        "client_optimizer": optimizers.client_optimizer("adam", rate),
        "server_optimizer": optimizers.server_optimizer("average", None),
        "private_layers": [model.layers[-1].name],
        "recompute_statistics": norm == "batch",
        **changes,
    }
    weights = [np.full(weight.shape, start, np.float32) for weight in model.weights]
    return process.build_process(
        model, weights, batch_spec=BATCH, loss_fn=loss_fn, learning_rate=rate, **settings
    )


def ids(made):
    return {
        name: computation_id(comp)
        for name in ("initialize", "initialize_client", "next", "recompute")
        if (comp := getattr(made, name)) is not None
    }


def test_a_process_that_is_built_again_is_the_same():
    first = ids(built())
    assert len(set(first.values())) == 4
    assert ids(built()) == first
    # The start counts where it is made, and not in a round, for which the server sends it.
    other = ids(built(start=2.0))
    assert other["initialize"] != first["initialize"]
    assert other["initialize_client"] != first["initialize_client"]
    assert (other["next"], other["recompute"]) == (first["next"], first["recompute"])


def of_process():
    """Changes of a process, each of which makes another round."""
    adam = optimizers.client_optimizer
    return {
        "normalisation": {"norm": "group"},
        "width": {"units": 3},
        "activation": {"activation": "elu"},
        "loss": {"loss": "masked"},
        "optimizer": {"client_optimizer": adam("adamw", 1e-3)},
        "epsilon": {"client_optimizer": adam("adam", 1e-3, adam_epsilon=1e-3)},
        "clipping": {"client_optimizer": adam("adam", 1e-3, clip_norm=1.0)},
        "weight decay": {"client_optimizer": adam("adam", 1e-3, weight_decay=0.1)},
        "server": {"server_optimizer": optimizers.server_optimizer("adam", None)},
        "proximal": {"proximal": 0.1},
        "kept": {"keeps_optimizer": True},
        "private": {"private_layers": []},
        "weighting": {"weighting": "uniform"},
        "aggregator": {"aggregator": tff.learning.robust_aggregator()},
    }


def test_every_setting_of_a_round_counts():
    found = {name: computation_id(built(**change).next) for name, change in of_process().items()}
    found["none"] = computation_id(built().next)
    repeated = [name for name, n in collections.Counter(found.values()).items() if n > 1]
    assert not repeated, found


OTHER_PROGRAM = """
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)  # Graphs may say how they are run.
for _ in range(3):
    tf.keras.layers.Conv2D(1, 1).build((None, 2, 2, 1))
    tf.function(lambda x: tf.gradients(x ** 2, x))(tf.constant(1.0))
from tests.runtime import test_computation_ids as tests
from tffcxr import runtime
runtime.use("device")
tests.built(loss="masked")
for name, found in tests.ids(tests.built()).items():
    print("ID", name, found)
"""


def test_another_program_finds_the_same():
    found = subprocess.run(
        [sys.executable, "-c", OTHER_PROGRAM], capture_output=True, text=True, timeout=120
    )
    lines = [line.split()[1:] for line in found.stdout.splitlines() if line.startswith("ID")]
    assert dict(lines) == ids(built()), found.stderr
