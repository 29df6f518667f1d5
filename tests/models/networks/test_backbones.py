"""DenseNet121, ResNets and MobileNetV2 are the published networks, with and without batch norm."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.models import counts
from tffcxr.models import network_configs
from tffcxr.models.spec import ModelSpec


@functools.cache
def _built(name):
    """No test changes it."""
    return ModelSpec(name, network_configs.get(name).minimum_image_size, 2).build()


@pytest.fixture(scope="module")
def model():
    return _built("densenet121")


def test_parameters_are_those_of_keras_applications(model):
    published = tf.keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    task = 2 * 1024 + 2
    assert published.count_params() == 7_037_504
    assert model.keras.count_params() - task == published.count_params()
    trainable = counts.parameters(published.trainable_weights)
    assert counts.parameters(model.keras.trainable_weights) - task == trainable
    assert counts.parameters(model.keras.non_trainable_weights) == 83_648


def test_has_121_layers_with_the_task_block(model):
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.Dense)
    assert sum(isinstance(layer, kinds) for layer in model.keras.layers) == 121
    assert not any(isinstance(layer, tf.keras.Model) for layer in model.keras.layers)


def test_the_smallest_image_goes_through(model):
    assert np.all(np.isfinite(model.keras(np.zeros((2, 32, 32, 1), np.float32))))


def test_gradcam_layer_is_the_last_feature_map(model):
    assert model.keras.get_layer(model.gradcam_layer).output_shape == (None, 1, 1, 1024)


def test_group_norm_replaces_every_batch_norm(model):
    grouped = ModelSpec("densenet121", 32, 2, batch_norm="group").build()
    kinds = [type(layer).__name__ for layer in grouped.keras.layers]
    assert kinds.count("GroupNormalization") == 121
    assert kinds.count("BatchNormalization") == 0
    assert grouped.representation == model.representation
    assert grouped.keras.count_params() == model.keras.count_params() - 83_648
    images = np.random.default_rng(0).random((3, 32, 32, 1), np.float32)
    together = grouped.keras(images, training=True).numpy()
    np.testing.assert_allclose(together[:1], grouped.keras(images[:1]).numpy(), atol=1e-5)


class TestResNet50:
    @pytest.fixture(scope="class")
    def resnet(self):
        return ModelSpec("resnet50", 32, 2).build()

    def test_parameters_are_those_of_the_paper(self, resnet):
        # torchvision's resnet50 without its last layer. keras.applications adds biases to the
        # convolutions, which the batch norm behind each takes away again.
        published = tf.keras.applications.ResNet50(
            include_top=False, weights=None, input_shape=(32, 32, 3)
        )
        biases = [w for w in published.trainable_weights if w.name.endswith("conv/bias:0")]
        task = 2 * 2048 + 2
        assert counts.parameters(resnet.keras.trainable_weights) - task == 23_508_032
        trainable = counts.parameters(published.trainable_weights)
        assert trainable - counts.parameters(biases) == 23_508_032
        assert counts.parameters(resnet.keras.non_trainable_weights) == 53_120

    def test_has_50_layers_with_the_task_block(self, resnet):
        convolutions = [w for w in resnet.keras.weights if len(w.shape) == 4]
        shortcuts = 4  # One per stage, which the paper does not count.
        assert len(convolutions) - shortcuts + 1 == 50

    def test_the_smallest_image_goes_through(self, resnet):
        assert np.all(np.isfinite(resnet.keras(np.zeros((2, 32, 32, 1), np.float32))))
        assert resnet.keras.get_layer(resnet.gradcam_layer).output_shape == (None, 1, 1, 2048)


# Parameters with a layer of 1000 classes, from torchvision's documentation, and features.
@pytest.mark.parametrize(
    ("name", "published", "features", "moving"),
    [
        ("resnet18", 11_689_512, 512, 9_600),
        ("resnet34", 21_797_672, 512, 17_024),
        ("mobilenetv2", 3_504_872, 1280, 34_112),
    ],
)
def test_parameters_are_those_of_torchvision(name, published, features, moving):
    model = _built(name)
    base = published - 1000 * (features + 1)
    assert counts.parameters(model.keras.trainable_weights) - 2 * (features + 1) == base
    assert counts.parameters(model.keras.non_trainable_weights) == moving
    assert model.keras.get_layer(model.gradcam_layer).output_shape == (None, 1, 1, features)
    assert model.keras.get_layer("features").input.name.startswith(model.gradcam_layer)
    assert np.all(np.isfinite(model.keras(np.zeros((2, 32, 32, 1), np.float32))))


@pytest.mark.parametrize(("name", "layers"), [("resnet18", 18), ("resnet34", 34)])
def test_basic_resnets_have_their_layers(name, layers):
    convolutions = [w for w in _built(name).keras.weights if len(w.shape) == 4]
    assert len(convolutions) - 3 + 1 == layers  # three shortcuts, which the paper does not count


class TestMobileNetV2:
    @pytest.fixture(scope="class")
    def mobilenet(self):
        return _built("mobilenetv2")

    def test_grey_values_become_minus_one_to_one(self, mobilenet):
        images = np.array([0.0, 0.5, 1.0], np.float32)[:, None, None, None] * np.ones(
            (1, 32, 32, 1)
        )
        keras = mobilenet.keras
        normalised = tf.keras.Model(keras.input, keras.get_layer("normalise").output)(images)
        assert normalised.shape == (3, 32, 32, 3)
        np.testing.assert_array_equal(normalised[:, 0, 0, 0], [-1.0, 0.0, 1.0])

    def test_is_the_network_of_keras_applications(self, mobilenet):
        published = tf.keras.applications.MobileNetV2(
            (32, 32, 3), include_top=False, weights=None, pooling="avg"
        )
        for name in mobilenet.representation:
            published.get_layer(name).set_weights(mobilenet.keras.get_layer(name).get_weights())
        images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
        rgb = tf.keras.applications.mobilenet_v2.preprocess_input(np.repeat(images * 255.0, 3, -1))
        keras = mobilenet.keras
        features = tf.keras.Model(keras.input, keras.get_layer("features").output)
        np.testing.assert_allclose(features(images), published(rgb), atol=1e-4)


@pytest.mark.parametrize("name", ["densenet121", "resnet18", "mobilenetv2"])
def test_moving_statistics_follow_within_a_few_steps(name):
    """With 0.99 a network that has learnt for 200 steps names one class outside of training."""
    keras = _built(name).keras
    kind = tf.keras.layers.BatchNormalization
    momenta = [layer.momentum for layer in keras.layers if isinstance(layer, kind)]
    assert momenta == [0.9] * {"densenet121": 121, "resnet18": 20, "mobilenetv2": 52}[name]
