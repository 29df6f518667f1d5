"""DenseNet121 is the published network, with and without batch norm."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.models import build


@pytest.fixture(scope="module")
def model():
    return build.build("densenet121", build.minimum_image_size("densenet121"), 2)


def _count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_parameters_are_those_of_keras_applications(model):
    published = tf.keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    task = 2 * 1024 + 2
    assert published.count_params() == 7_037_504
    assert model.keras.count_params() - task == published.count_params()
    assert _count(model.keras.trainable_weights) - task == _count(published.trainable_weights)
    assert _count(model.keras.non_trainable_weights) == 83_648


def test_has_121_layers_with_the_task_block(model):
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.Dense)
    assert sum(isinstance(layer, kinds) for layer in model.keras.layers) == 121
    assert not any(isinstance(layer, tf.keras.Model) for layer in model.keras.layers)


def test_the_smallest_image_goes_through(model):
    assert np.all(np.isfinite(model.keras(np.zeros((2, 32, 32, 1), np.float32))))


def test_gradcam_layer_is_the_last_feature_map(model):
    assert model.keras.get_layer(model.gradcam_layer).output_shape == (None, 1, 1, 1024)


def test_group_norm_replaces_every_batch_norm(model):
    grouped = build.build("densenet121", 32, 2, batch_norm="group")
    kinds = [type(layer).__name__ for layer in grouped.keras.layers]
    assert kinds.count("GroupNormalization") == 121
    assert kinds.count("BatchNormalization") == 0
    assert grouped.representation == model.representation
    assert grouped.keras.count_params() == model.keras.count_params() - 83_648
    images = np.random.default_rng(0).random((3, 32, 32, 1), np.float32)
    together = grouped.keras(images, training=True).numpy()
    np.testing.assert_allclose(together[:1], grouped.keras(images[:1]).numpy(), atol=1e-5)
