"""ResNets and MobileNetV2 are the published networks."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models import built, counts
from tffcxr.models import network_configs
from tffcxr.models.files import pretrained
from tffcxr.models.spec import ModelSpec


def _model(name):
    return built.model(name, network_configs.get(name).minimum_image_size, 2)


# Parameters with a layer of 1000 classes, from torchvision's documentation, features, and moving
# statistics. torchvision's ResNet50 has no biases in its convolutions, other than Keras'.
@pytest.mark.parametrize(
    ("name", "published", "features", "moving"),
    [
        ("resnet18", 11_689_512, 512, 9_600),
        ("resnet34", 21_797_672, 512, 17_024),
        ("resnet50", 25_557_032, 2048, 53_120),
        ("mobilenetv2", 3_504_872, 1280, 34_112),
    ],
)
def test_parameters_are_those_of_torchvision(name, published, features, moving):
    model = _model(name)
    keras, base = model.keras, published - 1000 * (features + 1)
    assert counts.parameters(keras.trainable_weights) - 2 * (features + 1) == base
    assert counts.parameters(keras.non_trainable_weights) == moving
    assert keras.get_layer(model.gradcam_layer).output_shape == (None, 1, 1, features)
    assert keras.get_layer("features").input.name.startswith(model.gradcam_layer)
    assert np.all(np.isfinite(keras(np.zeros((2, 32, 32, 1), np.float32))))


@pytest.mark.parametrize(
    ("name", "layers", "shortcuts"), [("resnet18", 18, 3), ("resnet34", 34, 3), ("resnet50", 50, 4)]
)
def test_resnets_have_their_layers(name, layers, shortcuts):
    """With the task block; the paper does not count the convolutions of shortcuts."""
    convolutions = [w for w in _model(name).keras.weights if len(w.shape) == 4]
    assert len(convolutions) - shortcuts + 1 == layers


@pytest.mark.parametrize(("name", "norms"), [("resnet18", 20), ("mobilenetv2", 52)])
def test_moving_statistics_follow_within_a_few_steps(name, norms):
    """With 0.99 a network that has learnt for 200 steps names one class outside of training."""
    kind = tf.keras.layers.BatchNormalization
    momenta = [x.momentum for x in _model(name).keras.layers if isinstance(x, kind)]
    assert momenta == [0.9] * norms


class TestMobileNetV2:
    def test_grey_values_become_minus_one_to_one(self):
        images = np.array([0.0, 0.5, 1.0], np.float32)[:, None, None, None] * np.ones(
            (1, 32, 32, 1)
        )
        keras = _model("mobilenetv2").keras
        normalised = tf.keras.Model(keras.input, keras.get_layer("normalise").output)(images)
        assert normalised.shape == (3, 32, 32, 3)
        np.testing.assert_array_equal(normalised[:, 0, 0, 0], [-1.0, 0.0, 1.0])

    def test_imagenet_weights_make_it_the_network_of_keras_applications(self, monkeypatch):
        tf.keras.utils.set_random_seed(1)
        published = tf.keras.applications.MobileNetV2(
            (32, 32, 3), include_top=False, weights=None, pooling="avg"
        )

        def download(shape, include_top, weights="imagenet"):
            assert (include_top, weights) == (False, "imagenet")
            return published

        model = ModelSpec("mobilenetv2", 32, 2).build()
        monkeypatch.setattr(tf.keras.applications, "MobileNetV2", download)
        pretrained.read("mobilenetv2", "imagenet").fill(model)
        for name in model.representation:
            for a, b in zip(
                model.keras.get_layer(name).get_weights(), published.get_layer(name).get_weights()
            ):
                np.testing.assert_array_equal(a, b)
        images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
        rgb = tf.keras.applications.mobilenet_v2.preprocess_input(np.repeat(images * 255.0, 3, -1))
        keras = model.keras
        features = tf.keras.Model(keras.input, keras.get_layer("features").output)
        np.testing.assert_allclose(features(images), published(rgb), atol=1e-4)
