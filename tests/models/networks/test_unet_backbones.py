"""U-Nets with a classifier as encoder are those of `segmentation-models`."""

import itertools
import re

import numpy as np
import pytest
import tensorflow as tf

from tests.models import counts
from tffcxr.errors import InputError
from tffcxr.models import blocks, segmentation_losses
from tffcxr.models.files import pretrained
from tffcxr.models.networks import segmentation_encoders
from tffcxr.models.spec import ModelSpec

_SIZE = 32


def _of_package(backbone):
    return segmentation_encoders.package().Unet(
        backbone, (_SIZE, _SIZE, 3), activation="linear", encoder_weights=None
    )


def _weighted(model):
    return [layer for layer in model.layers if layer.weights]


def _other(weight, generator):
    """Random values of a weight; kernels are random already."""
    if len(weight.shape) == 4:
        return weight.numpy()
    return weight.numpy() + generator.uniform(0.0, 0.2, weight.shape)


@pytest.fixture(scope="module")
def pairs():
    """By encoder: our model and the package's, with the same weights, none as it was made."""
    made = {}
    for backbone in ("resnet34", "seresnet18"):
        ours = ModelSpec(f"unet_{backbone}", _SIZE, seed=3).build()
        published = _of_package(backbone)
        generator = np.random.default_rng(0)
        for layer, other in itertools.zip_longest(_weighted(ours.keras), _weighted(published)):
            values = [_other(weight, generator) for weight in other.weights]
            other.set_weights(values)
            layer.set_weights(values)
        made[backbone] = ours, published
    return made


@pytest.fixture
def squeezing(pairs):
    """Our model with squeeze and excitation."""
    return pairs["seresnet18"][0]


@pytest.mark.parametrize("backbone", ["resnet34", "seresnet18"])
class TestPackage:
    def test_outputs_are_those_of_the_package(self, pairs, backbone):
        ours, published = pairs[backbone]
        images = np.random.default_rng(1).random((3, _SIZE, _SIZE, 1), np.float32)
        preprocess = segmentation_encoders.package().get_preprocessing(backbone)
        expected = published(preprocess(255.0 * images.repeat(3, axis=-1))).numpy()
        assert expected.std() > 1e-3
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours.keras(images) / scale, expected / scale, atol=1e-5)

    def test_parameters_are_those_of_the_package(self, pairs, backbone):
        ours, published = (model for model in pairs[backbone])
        assert ours.keras.count_params() == published.count_params()
        assert counts.parameters(ours.keras.trainable_weights) == counts.parameters(
            published.trainable_weights
        )

    def test_moving_statistics_follow_within_a_few_steps(self, pairs, backbone):
        layers = pairs[backbone][0].keras.layers
        kind = tf.keras.layers.BatchNormalization
        assert {layer.momentum for layer in layers if isinstance(layer, kind)} == {0.9}


def test_no_layer_holds_code_or_is_random(squeezing):
    kinds = {type(layer).__name__ for layer in squeezing.keras.layers}
    assert not kinds & {"Lambda", "UpSampling2D", "Functional"}
    assert not any("Drop" in kind for kind in kinds)


def test_layers_that_the_package_leaves_unnamed_are_numbered(squeezing):
    names = [layer.name for layer in squeezing.keras.layers]
    # Two convolutions of squeeze and excitation in each of the 2 + 2 + 2 + 2 blocks.
    numbered = [name for name in names if re.fullmatch(r"conv2d(_\d+)?", name)]
    assert numbered == [f"conv2d_{number}" for number in range(1, 17)]


def test_imagenet_weights_fill_the_encoder_alone(squeezing, monkeypatch, tmp_path):
    """Of a file in the package's own format, in place of the download."""
    published = segmentation_encoders.encoder("seresnet18", _SIZE)
    published.save_weights(tmp_path / "published.h5")
    monkeypatch.setattr(tf.keras.utils, "get_file", lambda *_, **__: str(tmp_path / "published.h5"))
    names = (*squeezing.representation, *squeezing.task)
    decoder = [name for name in names if name.startswith(("decoder_", "task"))]
    before, kept = (blocks.get_weights(squeezing.keras, n) for n in (names, decoder))
    pretrained.read("unet_seresnet18", "imagenet").fill(squeezing)
    after = {layer.name: layer.get_weights() for layer in _weighted(squeezing.keras)}
    blocks.set_weights(squeezing.keras, names, before)
    for old, new in zip(kept, (values for name in decoder for values in after.pop(name))):
        np.testing.assert_array_equal(old, new)
    for ours, layer in itertools.zip_longest(after.values(), _weighted(published)):
        for values, expected in itertools.zip_longest(ours, layer.get_weights()):
            np.testing.assert_array_equal(values, expected)


def test_imagenet_weights_without_a_network_name_the_way_out(squeezing, monkeypatch):
    def download(*_, **__):
        raise Exception("URL fetch failure on https://example.org/weights: None -- no route")

    monkeypatch.setattr(tf.keras.utils, "get_file", download)
    with pytest.raises(InputError, match=r"unet_vgg16 could .* no route\): use --weights=FILE"):
        pretrained.read("unet_vgg16", "imagenet").fill(squeezing)


def test_every_weight_learns(pairs):
    """None is cut off from the loss, as by a gradient that the package's layers would stop."""
    model = pairs["resnet34"][0].keras
    generator = np.random.default_rng(4)
    batch = {
        "images": generator.random((2, _SIZE, _SIZE, 1), np.float32),
        "masks": (generator.random((2, _SIZE, _SIZE, 1)) < 0.5).astype(np.float32),
    }
    with tf.GradientTape() as tape:
        loss, _ = segmentation_losses.batch_loss(batch, model(batch["images"], training=True))
    gradients = tape.gradient(loss, model.trainable_weights)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)
