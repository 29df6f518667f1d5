"""The federated process: answers by hand, and what must never move or matter."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.learning import tiny
from tffcxr import runtime
from tffcxr.learning import failure, optimizers, process
from tffcxr.learning.weight_groups import Group, batch_norm_layers


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


def _flat(state):
    return np.concatenate([np.ravel(leaf) for leaf in tf.nest.flatten(state)])


def _scalar_round(targets_by_client, rounds=1, **options):
    federated = tiny.scalar_process(**options)
    state, clients = (
        federated.initialize(),
        [federated.initialize_client()] * len(targets_by_client),
    )
    history = []
    for _ in range(rounds):
        state, _, metrics, _ = federated.next(
            state, [tiny.client(c, tiny.scalars(t)) for c, t in zip(clients, targets_by_client)]
        )
        history.append(float(state["weights"]["trainable"][0][0, 0]))
    return history, metrics


# One step of w on (w - y)^2 at rate 0.5 from w = 0 lands on w = y.
class TestByHand:
    def test_clients_count_by_their_images(self):
        weights, metrics = _scalar_round([[1, 1, 1], [5]])
        assert weights == [pytest.approx((3 * 1 + 1 * 5) / 4)]
        assert metrics["round"]["images"] == 4
        assert metrics["round"]["clients"] == 2
        assert metrics["round"]["loss"] == pytest.approx((3 * 1 + 25) / 4)

    def test_uniform_weighting(self):
        weights, _ = _scalar_round([[1, 1, 1], [5]], weighting="uniform")
        assert weights == [pytest.approx((1 + 5) / 2)]

    def test_server_momentum(self):
        # Updates are y - w = 4 - w. Round 1: v = 4, w = 4. Round 2: v = 0.9 * 4 + 0, w = 7.6.
        weights, _ = _scalar_round(
            [[4]], rounds=2, server_optimizer=optimizers.server_optimizer("momentum")
        )
        assert weights == [pytest.approx(4.0), pytest.approx(7.6)]

    def test_server_learning_rate(self):
        weights, _ = _scalar_round(
            [[4]], server_optimizer=optimizers.server_optimizer("average", 0.25)
        )
        assert weights == [pytest.approx(1.0)]

    def test_proximal_term_pulls_back_to_the_server(self):
        # Rate 0.25, y = 4: step 1 has no pull, w = 2. Step 2: gradient 2 (2 - 4) + mu 2 = -3 for
        # mu = 0.5, w = 2.75 (3 without the pull).
        federated = tiny.scalar_process(
            client_optimizer=optimizers.client_optimizer("sgd", 0.25),
            learning_rate=0.25,
            proximal=0.5,
        )
        state, *_ = federated.next(
            federated.initialize(),
            [tiny.client(federated.initialize_client(), tiny.scalars([4, 4], batch=1))],
        )
        assert state["weights"]["trainable"][0][0, 0] == pytest.approx(2.75)

    def test_weight_decay_is_an_l2_penalty(self):
        # Rate 0.25, decay 0.5: step 1 from 0 gives 2; step 2: gradient -4 + 0.5 * 2, w = 2.75.
        federated = tiny.scalar_process(
            client_optimizer=optimizers.client_optimizer("sgd", 0.25, weight_decay=0.5),
            learning_rate=0.25,
        )
        state, *_ = federated.next(
            federated.initialize(),
            [tiny.client(federated.initialize_client(), tiny.scalars([4, 4], batch=1))],
        )
        assert state["weights"]["trainable"][0][0, 0] == pytest.approx(2.75)

    def test_learning_rate_of_the_round(self):
        federated = tiny.scalar_process()
        state = federated.with_learning_rate(federated.initialize(), 0.125)
        state, *_ = federated.next(
            state, [tiny.client(federated.initialize_client(), tiny.scalars([4]))]
        )
        assert state["weights"]["trainable"][0][0, 0] == pytest.approx(0.125 * 2 * 4)

    def test_a_client_without_images_changes_nothing(self):
        weights, metrics = _scalar_round([[3], []])
        assert weights == [pytest.approx(3.0)]
        assert metrics["round"]["images"] == 1


@pytest.mark.parametrize(
    "name,keras_optimizer",
    [
        ("sgd", tf.keras.optimizers.SGD(0.05, momentum=0.9)),
        ("adam", tf.keras.optimizers.Adam(0.01)),
        # As in PyTorch, which starts at 0 and adds 1e-10 to the root.
        ("adagrad", tf.keras.optimizers.Adagrad(0.05, 0.0, epsilon=1e-20)),
    ],
)
def test_one_client_that_shares_everything_trains_like_keras(name, keras_optimizer):
    data = tiny.pictures(seed=3)
    rate = float(keras_optimizer.learning_rate.numpy())
    momentum = 0.9 if name == "sgd" else 0.0
    federated = tiny.image_process(
        private_layers=[],
        client_optimizer=optimizers.client_optimizer(name, rate, momentum=momentum),
        learning_rate=rate,
    )
    state, clients, *_ = federated.next(
        federated.initialize(), [tiny.client(federated.initialize_client(), data)]
    )

    model = tiny.image_model()
    model.set_weights(tiny.initial_image_weights())
    model.compile(keras_optimizer, tf.keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(data.map(lambda batch: (batch["images"], batch["labels"])), shuffle=False, verbose=0)
    trained = federated.model_weights(state, clients[0])
    start = tiny.initial_image_weights()
    for ours, keras, before in zip(trained, model.get_weights(), start):
        np.testing.assert_allclose(ours, keras, rtol=1e-4, atol=2e-6)
        assert not np.allclose(ours, before)


class TestKeepsOptimizer:
    """w = 0 at the start, y = 4, rate 0.125, momentum 0.5: a step of one image."""

    def _train(self, rounds, **options):
        federated = tiny.scalar_process(
            client_optimizer=optimizers.client_optimizer("sgd", 0.125, momentum=0.5),
            learning_rate=0.125,
            **options,
        )
        state, client = federated.initialize(), federated.initialize_client()
        weights = []
        for targets in rounds:
            state, (client,), *_ = federated.next(
                state, [tiny.client(client, tiny.scalars(targets))]
            )
            weights.append(float(state["weights"]["trainable"][0][0, 0]))
        return weights

    def test_the_next_round_goes_on_from_it(self):
        # Gradients 2 (w - 4): -8, then -6. The velocity of round 2 is 0.5 * -8 - 6 = -10.
        assert self._train([[4], [4]], keeps_optimizer=True) == pytest.approx([1.0, 2.25])

    def test_otherwise_each_round_starts_fresh(self):
        assert self._train([[4], [4]]) == pytest.approx([1.0, 1.75])

    def test_it_stays_as_it_was_where_the_update_is_not_finite(self):
        weights = self._train([[4], [np.inf], [4]], keeps_optimizer=True)
        assert weights == pytest.approx([1.0, 1.0, 2.25])

    def test_the_learning_rate_is_still_that_of_the_round(self):
        federated = tiny.scalar_process(keeps_optimizer=True)
        state, client = federated.initialize(), federated.initialize_client()
        _, (client,), *_ = federated.next(state, [tiny.client(client, tiny.scalars([4]))])
        state = federated.with_learning_rate(state, 0.125)
        state, *_ = federated.next(state, [tiny.client(client, tiny.scalars([4]))])
        assert state["weights"]["trainable"][0][0, 0] == pytest.approx(0.125 * 2 * 4)

    def test_new_weights_come_with_a_fresh_one(self):
        federated = tiny.image_process(
            client_optimizer=optimizers.client_optimizer("adam", 0.1), keeps_optimizer=True
        )
        weights = [np.full_like(w, 2.0) for w in tiny.initial_image_weights()]
        _, private = federated.with_model_weights(federated.initialize(), weights)
        fresh = federated.initialize_client()["optimizer"]
        np.testing.assert_array_equal(_flat(private["optimizer"]), _flat(fresh))
        assert _flat(private["trainable"]) == pytest.approx(2.0)


def test_the_order_of_clients_changes_nothing():
    federated = tiny.image_process()
    private = federated.initialize_client()
    clients = [
        tiny.client(private, tiny.pictures(seed, images=4 * (seed + 1))) for seed in range(3)
    ]
    forward = federated.next(federated.initialize(), clients)
    backward = federated.next(federated.initialize(), clients[::-1])
    np.testing.assert_allclose(_flat(forward[0]), _flat(backward[0]), rtol=1e-6, atol=1e-7)
    for ours, theirs in zip(forward[1], backward[1][::-1]):
        np.testing.assert_array_equal(_flat(ours), _flat(theirs))


def test_private_weights_never_reach_another_client_or_the_server():
    federated = tiny.image_process()
    start = federated.initialize_client()
    ours = tiny.client(start, tiny.pictures(0))
    strange = collections.OrderedDict(
        trainable=tuple(np.full_like(w, 1000.0) for w in start["trainable"]), other=()
    )
    alone = federated.next(federated.initialize(), [ours])
    together = federated.next(
        federated.initialize(), [ours, tiny.client(strange, tiny.pictures(1))]
    )
    np.testing.assert_array_equal(_flat(alone[1][0]), _flat(together[1][0]))
    assert not np.allclose(_flat(alone[1][0]), _flat(start))
    shapes = {leaf.shape for leaf in tf.nest.flatten(together[0])}
    assert not shapes & {w.shape for w in start["trainable"]}


def test_local_batch_norm_stays_at_the_client():
    layers = ["head", *batch_norm_layers(tiny.image_model())]
    federated = tiny.image_process(private_layers=layers)
    state, clients, *_ = federated.next(
        federated.initialize(),
        [tiny.client(federated.initialize_client(), tiny.pictures(seed)) for seed in (0, 1)],
    )
    assert state["weights"]["statistics"] == ()
    assert len(clients[0]["other"]) == 2
    assert not np.allclose(clients[0]["other"][0], clients[1]["other"][0])


class TestNotFinite:
    def _round(self, bad_pixels):
        federated = tiny.image_process()
        private = federated.initialize_client()
        good = tiny.client(private, tiny.pictures(0))
        bad = tiny.client(
            private,
            tiny.pictures(1).map(
                lambda batch: collections.OrderedDict(batch, images=batch["images"] * bad_pixels)
            ),
        )
        return federated, private, federated.next(federated.initialize(), [good, bad]), good

    def test_the_client_is_left_out_and_its_layer_named(self):
        federated, private, (state, clients, metrics, per_client), good = self._round(np.nan)
        alone, *_ = federated.next(federated.initialize(), [good])
        np.testing.assert_array_equal(_flat(state), _flat(alone))
        assert failure.decode(per_client[0]["failed"]) is None
        failed = failure.decode(per_client[1]["failed"])
        assert failed is not None
        assert failed.describe(federated.partition) == "layer conv is not finite"
        np.testing.assert_array_equal(_flat(clients[1]), _flat(private))
        assert metrics["round"]["clients"] == 1
        assert np.isfinite(metrics["round"]["loss"])

    def test_all_failed_leaves_the_weights_and_no_loss(self):
        federated = tiny.image_process()
        start = federated.initialize()
        bad = tiny.client(
            federated.initialize_client(),
            tiny.pictures(1).map(
                lambda batch: collections.OrderedDict(batch, images=batch["images"] / 0.0)
            ),
        )
        state, _, metrics, _ = federated.next(start, [bad])
        np.testing.assert_array_equal(_flat(state["weights"]), _flat(start["weights"]))
        assert metrics["round"]["clients"] == 0
        assert np.isnan(metrics["round"]["loss"])


class TestBatchNorm:
    """Aggregated moving statistics make the model as good in inference as in training mode."""

    def _train(self):
        federated = tiny.image_process(private_layers=[], learning_rate=0.5)
        state, private = federated.initialize(), federated.initialize_client()
        data = [tiny.pictures(seed, images=32, batch=8) for seed in (0, 1)]
        for _ in range(30):
            state, *_ = federated.next(state, [tiny.client(private, d) for d in data])
        return federated.model_weights(state, private), data[0]

    def _loss(self, weights, data, training):
        model = tiny.image_model()
        model.set_weights(weights)
        batch = next(iter(data.unbatch().batch(64)))
        outputs = model(batch["images"], training=training)
        brightness = {"labels": batch["labels"][:, :1]}  # the other label is noise
        total, labels = tiny.cross_entropy(brightness, outputs[:, :1])
        return float(total / labels)

    def test_inference_is_as_good_as_training_mode_only_with_the_statistics(self):
        weights, data = self._train()
        inference = self._loss(weights, data, training=False)
        training = self._loss(weights, data, training=True)
        without = list(weights)
        names = [w.name for w in tiny.image_model().weights]
        for index, initial in enumerate(tiny.initial_image_weights()):
            if "moving" in names[index]:
                without[index] = initial
        assert inference == pytest.approx(training, abs=0.03)
        assert self._loss(without, data, training=False) > inference + 0.1


def test_a_frozen_base_stays_and_nothing_is_aggregated():
    frozen = tiny.image_model()
    for layer in frozen.layers:
        layer.trainable = layer.name == "head"
    federated = tiny.image_process(frozen)
    start = federated.initialize()
    assert {w.group for w in federated.partition.weights} == {
        Group.SHARED_CONSTANTS,
        Group.PRIVATE_TRAINABLE,
    }
    state, clients, *_ = federated.next(
        start, [tiny.client(federated.initialize_client(), tiny.pictures(0))]
    )
    np.testing.assert_array_equal(_flat(state), _flat(start))
    assert not np.allclose(_flat(clients[0]), _flat(federated.initialize_client()))


@pytest.mark.parametrize(
    "factory",
    [
        tff.learning.robust_aggregator(),
        tff.aggregators.UnweightedMeanFactory(),
        tff.learning.dp_aggregator(0.0001, 2.0),
        tff.learning.compression_aggregator(),
    ],
    ids=["robust", "unweighted", "dp", "compression"],
)
def test_any_aggregation_factory(factory):
    federated = tiny.image_process(aggregator=factory)
    private = federated.initialize_client()
    start = federated.initialize()
    state, _, metrics, _ = federated.next(
        start, [tiny.client(private, tiny.pictures(seed)) for seed in (0, 1)]
    )
    assert metrics["round"]["clients"] == 2
    moved = _flat(state["weights"]["trainable"]) - _flat(start["weights"]["trainable"])
    assert 0 < np.abs(moved).max() < 1


def test_weights_go_into_states_and_come_out_again():
    federated = tiny.image_process()
    weights = [np.full_like(w, i) for i, w in enumerate(tiny.initial_image_weights())]
    state, private = federated.with_model_weights(federated.initialize(), weights)
    for ours, expected in zip(federated.model_weights(state, private), weights):
        np.testing.assert_array_equal(ours, expected)


class TestLearningProcess:
    def test_it_is_fedavg_with_tffs_interface(self):
        federated = tiny.scalar_process()
        learning = process.as_learning_process(federated)
        assert isinstance(learning, tff.learning.templates.LearningProcess)
        output = learning.next(learning.initialize(), [tiny.scalars([2, 2]), tiny.scalars([5])])
        weights = learning.get_model_weights(output.state)
        assert weights.trainable[0][0, 0] == pytest.approx(3.0)
        again = learning.set_model_weights(learning.initialize(), weights)
        assert again["weights"]["trainable"][0][0, 0] == pytest.approx(3.0)

    def test_private_weights_have_no_place_in_it(self):
        with pytest.raises(ValueError, match="head/kernel"):
            process.as_learning_process(tiny.image_process())

    def test_nor_have_optimizers_that_clients_keep(self):
        with pytest.raises(ValueError, match="keeps_optimizer"):
            process.as_learning_process(tiny.scalar_process(keeps_optimizer=True))


def test_wrong_weights_or_layers_are_refused():
    with pytest.raises(ValueError, match="found 'hed'.*did you mean head"):
        tiny.image_process(private_layers=["hed"])
    with pytest.raises(ValueError, match="weighting"):
        tiny.image_process(weighting="size")
