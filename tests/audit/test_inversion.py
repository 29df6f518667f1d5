"""Images are found again from an update that shows them, and not from one that hides them."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.audit import inversion
from tffcxr.models import losses

SIZE = 16


def _pictures(count, seed):
    """Smooth pictures: two bright spots each, at random places."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    spots = [
        sum(
            np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 12)
            for y, x in random.uniform(2, SIZE - 2, (2, 2))
        )
        for _ in range(count)
    ]
    return np.clip(spots, 0, 1).astype(np.float32)[..., np.newaxis]


@pytest.fixture(name="model", scope="module")
def _model():
    tf.keras.utils.set_random_seed(3)
    return tf.keras.Sequential(
        [
            tf.keras.Input((SIZE, SIZE, 1)),
            tf.keras.layers.Conv2D(8, 3, strides=2, activation="softplus"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(16, activation="softplus"),
            tf.keras.layers.Dense(1),
        ]
    )


def _update(model, pictures, labels, rate):
    with tf.GradientTape() as tape:
        loss, known = losses.batch_loss({"labels": labels}, model(pictures))
        objective = loss / known
    return [-rate * each.numpy() for each in tape.gradient(objective, model.weights)]


def _attack(model, optimizer="sgd", rate=0.1):
    return inversion.Inversion(
        model,
        range(len(model.weights)),
        losses.batch_loss,
        optimizer,
        rate,
        inversion.Prior.of(_pictures(60, seed=1)),
        iterations=240,
        restarts=1,
        seed=0,
    )


def test_a_picture_is_found_in_its_update_and_not_under_noise(model):
    labels = np.ones((1, 1), np.float32)
    picture, others = _pictures(1, seed=2), _pictures(99, seed=4)
    attack = _attack(model)
    update = _update(model, picture, labels, 0.1)
    found = attack.invert(update, labels)
    guess = inversion.compare(attack.guess(1), picture)
    likeness = inversion.compare(found, picture)
    assert likeness.psnr > guess.psnr + 5
    assert inversion.ranks(found, picture, others).tolist() == [1]
    random = np.random.default_rng(0)
    noised = [
        part + random.normal(scale=3 * np.abs(part).max(), size=part.shape) for part in update
    ]
    hidden = inversion.compare(attack.invert(noised, labels), picture)
    assert hidden.psnr < guess.psnr + 1 < likeness.psnr


def test_signs_alone_tell_a_picture(model):
    labels = np.zeros((1, 1), np.float32)
    picture = _pictures(1, seed=5)
    signs = [np.sign(part) for part in _update(model, picture, labels, 1.0)]
    found = _attack(model, "adam").invert(signs, labels)
    assert inversion.ranks(found, picture, _pictures(99, seed=6)).tolist() == [1]


def test_a_dense_layer_that_sees_the_image_shows_it_in_its_gradient():
    # d loss / d kernel = image * d loss / d bias, so the direction is that of the image.
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential(
        [tf.keras.Input((SIZE, SIZE, 1)), tf.keras.layers.Flatten(), tf.keras.layers.Dense(1)]
    )
    labels, picture = np.ones((1, 1), np.float32), _pictures(1, seed=7)
    kernel, bias = _update(model, picture, labels, 0.1)
    np.testing.assert_allclose((kernel[:, 0] / bias).reshape(picture.shape), picture, atol=1e-5)
    told: list[tuple[int, int]] = []
    found = _attack(model).invert([kernel, bias], labels, lambda *done: told.append(done))
    assert told[-1][0] == told[-1][1] > 0  # Whatever the iterations are divided into.
    assert inversion.compare(found, picture).psnr > 20
    assert inversion.ranks(found, picture, _pictures(99, seed=8)).tolist() == [1]


def test_each_found_image_has_an_original_of_its_own():
    a, b = np.full((1, SIZE, SIZE, 1), 0.25, np.float32), np.full((1, SIZE, SIZE, 1), 0.75)
    originals = np.concatenate([b, a]).astype(np.float32)
    # Both are nearer to b; one has to take a.
    found = np.concatenate([b - 0.1, b]).astype(np.float32)
    likeness = inversion.compare(found, originals)
    assert likeness.originals.tolist() == [1, 0]
    # Mean square errors of 0.4² and 0: 7.96 dB, and equal images count as 100.
    assert likeness.psnr == pytest.approx((-10 * np.log10(0.16) + 100) / 2, abs=1e-3)


def test_a_rank_does_not_depend_on_brightness_and_contrast():
    pictures = _pictures(10, seed=9)
    ranks = inversion.ranks(0.2 + pictures[:3] / 4, pictures[:3], pictures[3:])
    assert ranks.tolist() == [1, 1, 1]
    # Found is the first other: that one is before the original.
    assert inversion.ranks(pictures[3:4], pictures[:1], pictures[3:]).tolist() >= [2]
