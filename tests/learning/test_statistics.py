"""Batch norm's statistics of averaged weights: answers by hand, and what must not change them."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from tests.learning import tiny
from tffcxr import runtime
from tffcxr.learning import client_turn, optimizers, process

SPEC = collections.OrderedDict(images=tf.TensorSpec([None, 1]), labels=tf.TensorSpec([None, 1]))


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


def _model(trainable=True):
    """w * image, then batch norm."""
    images = tf.keras.Input([1])
    scaled = tf.keras.layers.Dense(1, use_bias=False, name="dense")(images)
    norm = tf.keras.layers.BatchNormalization(name="norm", trainable=trainable)
    return tf.keras.Model(images, norm(scaled))


def _initial_weights(model, statistic):
    initial = {"kernel": [[3.0]], "gamma": [1.0], "beta": [0.0]}
    return [
        np.array(next((v for k, v in initial.items() if k in w.name), [statistic]), np.float32)
        for w in model.weights
    ]


def _process(private_layers=(), recompute=True, trainable=True, statistic=7.0):
    model = _model(trainable)
    return process.build_process(
        model,
        _initial_weights(model, statistic),
        private_layers=list(private_layers),
        batch_spec=SPEC,
        loss_fn=tiny.squared_error,
        client_optimizer=optimizers.client_optimizer("sgd", 0.1),
        server_optimizer=optimizers.server_optimizer("average"),
        learning_rate=0.1,
        recompute_statistics=recompute,
    )


def _images(*values, batch=2):
    pixels = np.array(values, np.float32)[:, None]
    elements = collections.OrderedDict(images=pixels, labels=pixels)
    return tf.data.Dataset.from_tensor_slices(elements).batch(batch)


def _statistics(*data):
    federated = _process()
    state = federated.initialize()
    clients = [tiny.client(federated.initialize_client(), images) for images in data]
    after = federated.with_recomputed_statistics(state, clients)
    for name in ("trainable", "constants"):
        for value, old in zip(after["weights"][name], state["weights"][name]):
            np.testing.assert_array_equal(value, old)
    return [float(value[0]) for value in after["weights"]["statistics"]]


def test_are_those_of_all_images_together():
    # Three times the images: 3, 9 and 6, 0, 12, 0. Mean 30 / 6 = 5; mean square 270 / 6 = 45.
    assert _statistics(_images(1, 3), _images(2, 0, 4, 0)) == pytest.approx([5.0, 45.0 - 25.0])


def test_keep_a_small_variance_of_large_values():
    # 3 * 1000 with a spread of 3 * 0.5: variance 2.25. float32 knows 9e6 to 1 at best, so that the
    # difference of mean square and squared mean would lose it.
    federated = _process(statistic=3000.0)
    client = tiny.client(federated.initialize_client(), _images(999.5, 1000.5, 999.5, 1000.5))
    state = federated.with_recomputed_statistics(federated.initialize(), [client])
    mean, variance = (float(value[0]) for value in state["weights"]["statistics"])
    assert mean == pytest.approx(3000.0)
    assert variance == pytest.approx(2.25, rel=1e-3)


def test_do_not_depend_on_who_holds_what():
    one = _statistics(_images(1, 3), _images(2, 0, 4, 0), _images(5, 6))
    other = _statistics(_images(5, 6), _images(4, 0), _images(1, 3, 2, 0))
    assert one == pytest.approx(other)


def test_a_client_that_is_not_finite_or_empty_does_not_count():
    expected = _statistics(_images(1, 3))
    assert expected == pytest.approx([6.0, 9.0])
    assert _statistics(_images(1, 3), _images(np.nan, 1), _images()) == expected
    assert _statistics(_images(np.inf, 1), _images()) == [7.0, 7.0]


@pytest.mark.parametrize(
    "options", [{"private_layers": ["norm"]}, {"trainable": False}, {"recompute": False}]
)
def test_there_is_nothing_to_do_where_no_statistic_is_shared(options):
    federated = _process(**options)
    assert federated.recompute is None
    state = federated.initialize()
    assert federated.with_recomputed_statistics(state, []) is state


def test_a_network_then_gives_in_use_what_it_gives_in_training():
    # One client, all of its images in one batch: the statistics are that batch's, but for Keras'
    # n / (n - 1) in the variance of fused batch norm, n = 12 * 6 * 6.
    federated = tiny.image_process(private_layers=[], recompute_statistics=True)
    data = tiny.pictures(seed=5, batch=12)
    client = tiny.client(federated.initialize_client(), data)
    state, _, _, _ = federated.next(federated.initialize(), [client])
    images = next(iter(data))["images"]
    model = tiny.image_model()

    def gap(server_state):
        model.set_weights(federated.model_weights(server_state, federated.initialize_client()))
        in_use = model(images, training=False).numpy()
        return np.abs(in_use - model(images, training=True).numpy()).max()

    assert gap(state) > 0.05
    assert gap(federated.with_recomputed_statistics(state, [client])) < 2e-3


def test_in_one_place_they_are_the_same():
    model = _model()
    weights = _initial_weights(model, 7.0)
    found = client_turn.LoneRecomputation(model, SPEC)(weights, _images(1, 3, 2, 0, 4, 0))
    named = dict(zip((weight.name.split("/")[-1] for weight in model.weights), found))
    assert named["moving_mean:0"] == pytest.approx([5.0])
    assert named["moving_variance:0"] == pytest.approx([20.0])
    assert (named["kernel:0"], named["gamma:0"], named["beta:0"]) == (3.0, 1.0, 0.0)


def test_tff_s_learning_process_has_no_place_for_them():
    with pytest.raises(ValueError, match="recompute"):
        process.as_learning_process(_process())
