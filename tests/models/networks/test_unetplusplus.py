"""U-Net++ is the network of segmentation_models_pytorch, but for what it never uses."""

import dataclasses
import json
import types
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from tests.models import counts
from tffcxr.errors import InputError
from tffcxr.models import blocks
from tffcxr.models.files import pretrained
from tffcxr.models.networks import segmentation_encoders, unetplusplus
from tffcxr.models.networks.architecture import TASK_LAYER
from tffcxr.models.spec import ModelSpec


@pytest.fixture(scope="module")
def built_of():
    """The model, and the configuration that Keras made it of."""
    with mock.patch.object(tf.keras.Model, "from_config", wraps=tf.keras.Model.from_config) as make:
        built = ModelSpec("unetplusplus", 32, seed=3).build()
    (config,) = make.call_args.args
    return built, config


@pytest.fixture(scope="module")
def built(built_of):
    return built_of[0]


@pytest.fixture(scope="module")
def model(built):
    return built.keras


def _is_decoder(name):
    return name.startswith(unetplusplus.DECODER_PREFIX)


def _of(model, decoder):
    return [
        weight
        for layer in model.layers
        for weight in layer.trainable_weights
        if _is_decoder(layer.name) == decoder and layer.name != TASK_LAYER
    ]


# The decoder of UnetPlusPlus("efficientnet-b4"): its encoder's maps have (48, 32, 56, 160, 448)
# channels from S/2 to S/32. Block x_d_l: channels of the map that is upsampled, of the skips
# together, and of the block.
_BLOCKS = {
    "x_0_0": (448, 160, 256),
    "x_0_1": (256, 56 + 56, 128),
    "x_1_1": (160, 56, 56),
    "x_0_2": (128, 32 + 32 + 32, 64),
    "x_1_2": (56, 32 + 32, 32),
    "x_2_2": (56, 32, 32),
    "x_0_3": (64, 48 + 48 + 48 + 48, 32),
    "x_1_3": (32, 48 + 48 + 48, 48),
    "x_2_3": (32, 48 + 48, 48),
    "x_3_3": (32, 48, 48),
    "x_0_4": (32, 0, 16),
}


def test_decoder_has_the_parameters_of_the_pytorch_implementation(model):
    # Two 3x3 convolutions without bias and two batch norms with scale and offset.
    by_hand = {
        name: 9 * (below + skips) * width + 9 * width * width + 4 * width
        for name, (below, skips, width) in _BLOCKS.items()
    }
    for name, expected in by_hand.items():
        block = [w for w in _of(model, True) if w.name.startswith(f"decoder_{name}_")]
        assert counts.parameters(block) == expected, name
    assert counts.parameters(_of(model, True)) == sum(by_hand.values()) == 3_264_352


# Of EfficientNet-B4: all parameters without moving statistics, as torchvision publishes them; its
# classifier of 1,792 features; and its last convolution with the batch norm.
_B4, _CLASSIFIER, _LAST = 19_341_616, 1792 * 1000 + 1000, 448 * 1792 + 2 * 1792


def test_encoder_has_the_parameters_of_efficientnet_b4(model):
    assert counts.parameters(_of(model, False)) == _B4 - _CLASSIFIER - _LAST == 16_742_216


def test_whole_model_is_the_pytorch_one_without_the_convolution_it_never_uses(model):
    # Derived from the layers of UnetPlusPlus("efficientnet-b4", classes=1) with three input
    # channels: it drops the encoder's classifier, keeps its last convolution, and ends with a 3x3
    # convolution of 16 channels.
    pytorch = (_B4 - _CLASSIFIER) + 3_264_352 + (9 * 16 + 1)
    assert pytorch == 20_813_113
    assert counts.parameters(model.trainable_weights) == pytorch - _LAST == 20_006_713


def test_resolutions_of_the_blocks(model):
    sides = {0: 2, 1: 4, 2: 8, 3: 16, 4: 32}
    for name, (_, _, width) in _BLOCKS.items():
        side = sides[int(name[-1])]
        shape = model.get_layer(f"decoder_{name}_relu2").output_shape
        assert shape == (None, side, side, width), name


def test_skips_are_nested(model):
    def joined(name):
        return [t.node.layer.name for t in model.get_layer(f"decoder_{name}_concat").input]

    assert joined("x_0_3") == [
        "decoder_x_0_3_upsample_maps",
        *(f"decoder_x_{row}_3_relu2" for row in (1, 2, 3)),
        "stem_activation",
    ]
    assert joined("x_2_2") == ["decoder_x_2_2_upsample_maps", "block2d_add"]
    across = model.get_layer("decoder_x_0_3_upsample_across").input
    assert across[0].node.layer.name == "decoder_x_0_2_relu2"


def test_nothing_is_random_in_training(model):
    kinds = {type(layer).__name__ for layer in model.layers}
    assert not any("Drop" in kind or "Random" in kind or "Noise" in kind for kind in kinds)
    images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    first = model(images, training=True).numpy()
    np.testing.assert_array_equal(first, model(images, training=True))


def test_the_encoder_sees_three_normalised_channels(model):
    normalise = tf.keras.Model(model.input, model.get_layer("normalise").output)
    pixel = normalise(np.full((1, 32, 32, 1), 0.5, np.float32))[0, 7, 9]
    expected = [(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225]
    np.testing.assert_allclose(pixel, expected, rtol=1e-5)


def test_maps_images_to_one_logit_a_pixel(built):
    images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    logits = built.keras(images)
    assert (logits.dtype, logits.shape) == (tf.float32, (2, 32, 32, 1))
    assert np.all(np.isfinite(logits))
    assert np.ptp(logits) > 1e-4
    assert (built.outputs, built.image_size, built.task) == (1, 32, ("task",))
    assert built.keras.get_layer(built.gradcam_layer).output_shape == (None, 32, 32, 16)
    assert not any(isinstance(layer, tf.keras.Model) for layer in built.keras.layers)


def test_its_configuration_makes_the_same_network(built_of):
    """What an exported file holds; `test_export` writes files of smaller networks.

    The model was made of a configuration. Its own is that one, so it makes the same again.
    """
    built, config = built_of
    assert json.loads(json.dumps(built.keras.get_config())) == json.loads(json.dumps(config))


def test_every_random_weight_has_its_own_seed(model):
    seeds = [
        value["config"]["seed"]
        for layer in model.get_config()["layers"]
        for value in layer["config"].values()
        if isinstance(value, dict) and "seed" in value.get("config", {})
    ]
    assert None not in seeds
    assert len(set(seeds)) == len(seeds) == sum(len(w.shape) == 4 for w in model.weights)


class _Weight:
    """A weight of a downloaded model: its name and other values than ours."""

    def __init__(self, weight):
        self.name = weight.name
        self.values = weight.numpy() + 1

    def numpy(self):
        return self.values


def _replace_trunk(monkeypatch, trunk):
    architecture = dataclasses.replace(unetplusplus.ARCHITECTURES["unetplusplus"], trunk=trunk)
    monkeypatch.setitem(unetplusplus.ARCHITECTURES, "unetplusplus", architecture)


def test_imagenet_weights_fill_the_encoder_alone(monkeypatch, built):
    encoder = [n for n in built.representation if not _is_decoder(n)]
    rest = [n for n in (*built.representation, *built.task) if n not in encoder]
    published = types.SimpleNamespace(
        layers=[
            types.SimpleNamespace(name=name, weights=[_Weight(w) for w in layer.weights])
            for name, layer in ((name, built.keras.get_layer(name)) for name in encoder)
        ]
    )
    asked = []

    def download(image_size, weights):
        asked.append(weights)
        return published

    _replace_trunk(monkeypatch, download)
    before, kept = (blocks.get_weights(built.keras, names) for names in (encoder, rest))
    pretrained.read("unetplusplus", "imagenet").fill(built)
    after = blocks.get_weights(built.keras, encoder)
    blocks.set_weights(built.keras, encoder, before)
    assert asked == ["imagenet"]
    for old, new in zip(before, after):
        np.testing.assert_array_equal(new, old + 1)
    for old, new in zip(kept, blocks.get_weights(built.keras, rest)):
        np.testing.assert_array_equal(new, old)


def test_imagenet_weights_without_a_network_name_the_way_out(monkeypatch, built):
    def download(image_size, weights):
        raise Exception("URL fetch failure on https://example.org/weights: None -- no route")

    _replace_trunk(monkeypatch, download)
    with pytest.raises(InputError, match=r"no route\): use --weights=FILE"):
        pretrained.read("unetplusplus", "imagenet").fill(built)


# By hand, of ResNet18: maps of (64, 64, 128, 256, 512) channels from S/2 to S/32; see `_BLOCKS`.
_RESNET18_BLOCKS = {
    "x_0_0": (512, 256, 256),
    "x_0_1": (256, 128 + 128, 128),
    "x_1_1": (256, 128, 128),
    "x_0_2": (128, 64 + 64 + 64, 64),
    "x_1_2": (128, 64 + 64, 64),
    "x_2_2": (128, 64, 64),
    "x_0_3": (64, 64 + 64 + 64 + 64, 32),
    "x_1_3": (64, 64 + 64 + 64, 64),
    "x_2_3": (64, 64 + 64, 64),
    "x_3_3": (64, 64, 64),
    "x_0_4": (32, 0, 16),
}


def test_another_encoder():
    keras = unetplusplus.trunk_of("resnet18", 32)
    encoder = segmentation_encoders.encoder("resnet18", 32)
    decoder = sum(
        9 * (below + skips) * width + 9 * width * width + 4 * width
        for below, skips, width in _RESNET18_BLOCKS.values()
    )
    assert counts.parameters(_of(keras, True)) == decoder
    assert counts.parameters(_of(keras, False)) == counts.parameters(encoder.trainable_weights)
    assert keras.output_shape == (None, 32, 32, 16)
