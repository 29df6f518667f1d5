"""The standard CNN: its size, and that it learns."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.models import losses
from tffcxr.models.networks import standard
from tffcxr.models.spec import ModelSpec


@pytest.mark.parametrize("size", [64, 128])
def test_parameters_are_those_of_three_convolutions_and_a_dense_layer(size):
    model = standard.trunk(size)
    conv = (9 * 1 + 1) * 16 + (9 * 16 + 1) * 32 + (9 * 32 + 1) * 64
    norm = 2 * (16 + 32 + 64)
    assert model.count_params() == conv + norm + (8 * 8 * 64 + 1) * 128 == 547_936


@pytest.mark.parametrize(
    ("size", "cells"),
    [(16, 2), (28, 3), (64, 8), (96, 12), (104, 6), (128, 8), (224, 7), (256, 8), (512, 8)],
)
def test_the_last_maps_have_about_as_many_cells_at_any_size(size, cells):
    maps = standard.trunk(size).get_layer(standard.GRADCAM_LAYER)
    assert maps.output_shape == (None, cells, cells, 64)


def test_learns_a_small_bright_patch_on_either_side():
    """The patch is told from an equal one on the other side: place matters, not brightness."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 96).astype(np.float32)
    images = rng.uniform(0.3, 0.5, (96, 32, 32, 1)).astype(np.float32)
    for image, label in zip(images, labels):
        row, column = rng.integers(4, 24), rng.integers(2, 10)
        image[row : row + 5, 17 * int(label) + column : 17 * int(label) + column + 5] += 0.3
    model = ModelSpec("standard", 32, 1, seed=1).build().keras
    optimizer = tf.keras.optimizers.Adam(1e-3)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = losses.masked_binary_crossentropy(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply_gradients(zip(gradients, model.trainable_weights))

    for _ in range(10):
        for start in range(0, 64, 16):
            step(images[start : start + 16], labels[start : start + 16, None])
    held_out = model(images[64:]).numpy()[:, 0] > 0
    assert np.mean(held_out == labels[64:]) > 0.9
