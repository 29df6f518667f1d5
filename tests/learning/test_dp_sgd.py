"""Clipped and noised gradients of single images, against sums that are made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.learning import tiny
from tffcxr.errors import InputError
from tffcxr.learning import dp_sgd, failure, optimizers, process
from tffcxr.learning.dp_sgd import DpSgd

SEED = tf.constant([3, 4], tf.int64)
WEIGHT = tf.Variable([0.0, 0.0])


def of_batch(batch):
    """The gradients of w . x for one image x: x itself. Its loss is 2, with 1 label."""
    assert batch.shape[0] == 1
    return [batch[0]], tf.constant(2.0), tf.constant(1.0)


def gradients(batch, noise=0.0, clip=1.0, batch_size=4, seed=SEED, step=0):
    found, loss, labels = dp_sgd.gradients(
        DpSgd(noise, clip, batch_size),
        of_batch,
        tf.constant(batch),
        [WEIGHT],
        tf.constant(seed, tf.int64),
        tf.constant(step, tf.int64),
    )
    return found[0].numpy(), float(loss), float(labels)


def test_each_gradient_is_clipped_before_the_sum():
    # Norms 5, 0.5 and 0: the first is shortened to 1. The sum is divided by the batch size.
    found, loss, labels = gradients([[3.0, 4.0], [0.0, 0.5], [0.0, 0.0]])
    np.testing.assert_allclose(found, [0.6 / 4, 1.3 / 4], rtol=1e-6)
    assert (loss, labels) == (6.0, 3.0)


def test_one_image_moves_the_sum_by_twice_the_norm_at_most():
    rest = [[1.0, 2.0], [0.1, 0.0]]
    for one, other in (([9.0, 0.0], [-9.0, 0.0]), ([np.nan, 1.0], [0.0, 7.0])):
        first, second = (gradients([*rest, image], clip=0.5)[0] for image in (one, other))
        assert 4 * np.linalg.norm(first - second) <= 2 * 0.5 + 1e-6


def test_the_noise_has_its_deviation_and_is_never_the_same_for_two_sums():
    images = np.zeros([2, 20_000], np.float32)
    large = tf.Variable(images[0])

    def noise(batch, seed=SEED, step=0):
        settings = DpSgd(1.5, 0.2, 8)
        return dp_sgd.gradients(
            settings, of_batch, tf.constant(batch), [large], seed, tf.constant(step, tf.int64)
        )[0][0].numpy()

    first = noise(images)
    assert np.std(first) == pytest.approx(1.5 * 0.2 / 8, rel=0.02)
    np.testing.assert_array_equal(first, noise(images))
    images[0, 0] = 0.1
    for other in (noise(images), noise(0 * images, step=1), noise(0 * images, SEED + 1)):
        assert abs(np.corrcoef(first[1:], other[1:])[0, 1]) < 0.03
    assert np.isnan(noise(images, tf.zeros([2], tf.int64))).all()


def model(*layers):
    """The layers after a convolution with group norm, and a task block of two outputs."""
    tf.keras.utils.set_random_seed(1)
    return tf.keras.Sequential(
        [
            tf.keras.Input([8, 8, 1]),
            tf.keras.layers.Conv2D(4, 3, name="conv"),
            tf.keras.layers.GroupNormalization(2),
            *layers,
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(2, name="head"),
        ]
    )


def build(keras=None, **options):
    keras = keras or model()
    return process.build_process(
        keras,
        [weight.numpy() for weight in keras.weights],
        private_layers=["head"],
        batch_spec=tiny.IMAGE_SPEC,
        loss_fn=tiny.cross_entropy,
        client_optimizer=optimizers.client_optimizer("sgd", 0.1),
        server_optimizer=optimizers.server_optimizer("average"),
        learning_rate=0.1,
        **options,
    )


def turn(built, seed):
    """The weights after a round of one client, its state, and its metrics."""
    state = built.with_client_noise_seed(built.initialize_client(), lambda: np.array([seed, 5]))
    sent = [tiny.client(state, tiny.pictures(1))]
    server, clients, _, metrics = built.next(built.initialize(), sent)
    return built.model_weights(server, clients[0]), clients[0], metrics[0]


def test_without_noise_and_clipping_a_turn_is_that_of_plain_gradients():
    expected, _, of_plain = turn(build(), 1)
    found, state, metrics = turn(build(dp_sgd=DpSgd(0.0, 1e6, 4)), 1)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    for name in ("loss", "labels", "images"):
        assert float(metrics[name]) == pytest.approx(float(of_plain[name]), rel=1e-5)
    np.testing.assert_array_equal(state["noise_seed"], [0, 0])


def test_a_turn_repeats_its_noise_and_fails_without_a_seed():
    built = build(dp_sgd=DpSgd(1.0, 0.5, 4))
    assert built.has_noise_at_clients and not build().has_noise_at_clients
    first, again, other = (turn(built, seed)[0] for seed in (1, 1, 2))
    for one, same, different in zip(first, again, other):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, different)  # Shared weights and private ones.
    unset = [tiny.client(built.initialize_client(), tiny.pictures(1))]
    _, _, _, (metrics,) = built.next(built.initialize(), unset)
    assert failure.decode(int(metrics["failed"])) is not None


def test_layers_by_which_images_change_each_other_are_refused():
    settings = DpSgd(1.0, 1.0, 4)
    with pytest.raises(ValueError, match="dp_sgd: expected no batch norm"):
        tiny.image_process(dp_sgd=settings)
    with pytest.raises(InputError, match="--dp_sgd_noise: expected a network without random"):
        build(model(tf.keras.layers.Dropout(0.5)), dp_sgd=settings)
