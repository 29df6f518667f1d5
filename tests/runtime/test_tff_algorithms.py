"""TFF's own algorithms and aggregators give the same under both executors.

Three clients with 5 to 9 examples of 4 numbers and a model of two dense layers (or one): small
enough for many algorithms, and every one of them trains, aggregates and carries state.
"""

from __future__ import annotations

import collections
import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.runtime.executors import assert_same, contexts, run, run_both
from tffcxr.runtime import placed

CLIENTS = 3


def client_data(client: int) -> tf.data.Dataset:
    random = np.random.default_rng(client)
    examples = 5 + 2 * client
    features = random.normal(size=(examples, 4)).astype(np.float32)
    labels = (features.sum(axis=1, keepdims=True) > 0).astype(np.float32)
    data = collections.OrderedDict(x=features, y=labels)
    return tf.data.Dataset.from_tensor_slices(data).batch(3)


def all_data() -> list[tf.data.Dataset]:
    return [client_data(client) for client in range(CLIENTS)]


def keras_model() -> tf.keras.Model:
    def dense(units, seed, **kwargs):
        initializer = tf.keras.initializers.GlorotUniform(seed)
        return tf.keras.layers.Dense(units, kernel_initializer=initializer, **kwargs)

    return tf.keras.Sequential([tf.keras.Input(4), dense(3, 1, activation="relu"), dense(1, 2)])


def model_fn() -> tff.learning.models.VariableModel:
    return tff.learning.models.from_keras_model(
        keras_model(),
        loss=tf.keras.losses.BinaryCrossentropy(from_logits=True),
        input_spec=client_data(0).element_spec,
        metrics=[tf.keras.metrics.BinaryAccuracy(threshold=0.0)],
    )


def sgd(learning_rate: float = 0.1) -> tff.learning.optimizers.Optimizer:
    return tff.learning.optimizers.build_sgdm(learning_rate)


def train(process, rounds: int = 2):
    """Checks every round of a learning process; returns the last state and metrics."""
    state, metrics = run_both(process.initialize), None
    for _ in range(rounds):
        output = run_both(process.next, state, all_data())
        state, metrics = output.state, output.metrics
    return state, metrics


ALGORITHMS = {
    "weighted fed avg": lambda: tff.learning.algorithms.build_weighted_fed_avg(
        model_fn, tff.learning.optimizers.build_adam(0.01), sgd(1.0)
    ),
    "unweighted fed avg": lambda: tff.learning.algorithms.build_unweighted_fed_avg(
        model_fn, sgd(), tff.learning.optimizers.build_yogi(0.1)
    ),
    "fed sgd": lambda: tff.learning.algorithms.build_fed_sgd(model_fn, sgd()),
    "fed prox": lambda: tff.learning.algorithms.build_weighted_fed_prox(
        model_fn, 0.5, sgd(), sgd(1.0)
    ),
    "mime lite": lambda: tff.learning.algorithms.build_weighted_mime_lite(
        model_fn, tff.learning.optimizers.build_sgdm(0.1, momentum=0.9)
    ),
}


@functools.cache
def algorithm(name: str):
    """Traced once for all tests; it has no state."""
    return ALGORITHMS[name]()


@pytest.mark.parametrize("name", ["weighted fed avg", "unweighted fed avg", "fed sgd", "fed prox"])
def test_training(name):
    process = algorithm(name)
    state, metrics = train(process)
    assert metrics["client_work"]["train"]["num_examples"] == 5 + 7 + 9
    start = run(contexts()["device"], process.initialize)
    moved = zip(
        process.get_model_weights(state).trainable, process.get_model_weights(start).trainable
    )
    assert all(np.any(new != old) for new, old in moved)


@pytest.mark.parametrize("name", ["weighted fed avg", "mime lite"])
def test_a_round_walks_over_the_clients_once(monkeypatch, name):
    process = algorithm(name)
    train(process, rounds=1)
    device = contexts()["device"]
    state = run(device, process.initialize)
    walks = []
    walk = placed.Federation._walk

    def counted(self, *arguments):
        walks.append(self)
        return walk(self, *arguments)

    monkeypatch.setattr(placed.Federation, "_walk", counted)
    run(device, process.next, state, all_data())
    assert len(walks) == 1


def test_k_means():
    process = tff.learning.algorithms.build_fed_kmeans(2, (4,), random_seed=(1, 2))
    data = [client_data(client).unbatch().map(lambda e: e["x"]) for client in range(CLIENTS)]
    state = run_both(process.initialize)
    for _ in range(2):
        state = run_both(process.next, state, data).state


def test_federated_evaluation():
    process = tff.learning.algorithms.build_fed_eval(model_fn)
    _, metrics = train(process, rounds=1)
    assert 0.0 <= metrics["client_work"]["eval"]["current_round_metrics"]["binary_accuracy"] <= 1.0


def test_federated_reconstruction():
    def reconstruction_model():
        model = keras_model()
        return tff.learning.models.ReconstructionModel.from_keras_model_and_layers(
            keras_model=model,
            global_layers=model.layers[:1],
            local_layers=model.layers[1:],
            input_spec=client_data(0).element_spec,
        )

    process = tff.learning.algorithms.build_fed_recon(
        reconstruction_model,
        loss_fn=lambda: tf.keras.losses.BinaryCrossentropy(from_logits=True),
        metrics_fn=lambda: [tf.keras.metrics.BinaryAccuracy(threshold=0.0)],
        server_optimizer_fn=sgd(1.0),
        client_optimizer_fn=sgd(),
        reconstruction_optimizer_fn=sgd(),
    )
    train(process)


VECTORS = tff.types.to_type([(np.float32, [20]), (np.float32, [3])])

AGGREGATORS = {
    "clipping and zeroing": lambda: tff.learning.robust_aggregator(),
    "fixed clipping": lambda: tff.aggregators.clipping_factory(0.5, tff.aggregators.MeanFactory()),
    "differential privacy, no noise": lambda: (
        tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(0.0, 3.0, 0.5)
    ),
    "differential privacy, adaptive, no noise": lambda: (
        tff.aggregators.DifferentiallyPrivateFactory.gaussian_adaptive(
            0.0, 3.0, clipped_count_stddev=0.0
        )
    ),
    "secure": lambda: tff.learning.secure_aggregator(weighted=False),
    "secure, fixed bounds": lambda: tff.aggregators.SecureSumFactory(4.0, -4.0),
}


def aggregation(name):
    """One of `AGGREGATORS` for `VECTORS`, and the weights that it takes of four clients."""
    factory = AGGREGATORS[name]()
    if isinstance(factory, tff.aggregators.WeightedAggregationFactory):
        return factory.create(VECTORS, tff.types.to_type(np.float32)), ([1.0, 2.0, 3.0, 4.0],)
    return factory.create(VECTORS), ()


@pytest.mark.parametrize("name", AGGREGATORS)
def test_aggregators(name):
    process, arguments = aggregation(name)
    random = np.random.default_rng(0)
    state = run_both(process.initialize)
    for _ in range(3):
        values = [
            [random.normal(size=size).astype(np.float32) for size in (20, 3)] for _ in range(4)
        ]
        output = run_both(process.next, state, values, *arguments)
        state = output.state


def test_compression_rounds_at_random_within_one_step():
    factory = tff.aggregators.EncodedSumFactory.quantize_above_threshold(
        quantization_bits=8, threshold=10
    )
    process = factory.create(tff.types.to_type((np.float32, [500])))
    values = [np.linspace(low, low + 2.0, 500, dtype=np.float32) for low in (-1.0, 0.0)]
    for context in contexts().values():
        state = run(context, process.initialize)
        result = run(context, process.next, state, values).result
        # Each client's value moves by less than its range over the number of levels.
        assert np.max(np.abs(result - sum(values))) <= 2 * (2.0 / 255) * 1.01
        assert np.any(result != sum(values))


def test_noise_of_differential_privacy_has_its_standard_deviation():
    factory = tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(2.0, 2.0, 1.0)
    process = factory.create(tff.types.to_type((np.float32, [20_000])))
    zeros = [np.zeros(20_000, np.float32)] * 2
    state = run(contexts()["device"], process.initialize)
    first = run(contexts()["device"], process.next, state, zeros)
    second = run(contexts()["device"], process.next, state, zeros)
    # Multiplier 2 times clip 1, divided by 2 clients; the error of the estimate is 1 / sqrt(2 n).
    assert np.std(first.result) == pytest.approx(1.0, rel=5 / np.sqrt(2 * 20_000))
    assert not np.array_equal(first.result, second.result)


def test_state_of_one_executor_goes_on_in_the_other():
    process = algorithm("weighted fed avg")
    states = {}
    for name, order in (("a", ["native", "device"]), ("b", ["device", "native"])):
        state = run(contexts()[order[0]], process.initialize)
        for executor in order:
            state = run(contexts()[executor], process.next, state, all_data()).state
        states[name] = state
    assert_same(states["a"], states["b"])
