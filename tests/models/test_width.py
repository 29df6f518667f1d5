"""A part of a network's channels, layer by layer."""

import copy

import numpy as np
import pytest
import tensorflow as tf

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.models import network_configs, width
from tffcxr.models.networks.architecture import TASK_LAYER
from tffcxr.models.spec import ModelSpec

# Group norm; depthwise layers, and a dense one behind maps that are flattened; a segmenter.
# `test_residual` has a network of Keras at a quarter of its width.
HALVED = ("standard", "covidnet", "unet")


def _configuration(name):
    """A copy of a whole network's configuration, as `ModelSpec.build` makes a model of it."""
    outputs = 1 if name in options.SEGMENTERS else 3
    return copy.deepcopy(network_configs.describe(name, 32, outputs, "float32", 1, 1.0))


def _shapes(config):
    model = tf.keras.Model.from_config(config)
    return {
        f"{layer.name}/{weight.name}": tuple(weight.shape)
        for layer in model.layers
        for weight in layer.weights
    }


@pytest.mark.parametrize("name", HALVED)
def test_every_layer_has_half_of_its_channels(name):
    narrow = _configuration(name)
    width.scale(narrow, 0.5, kept=TASK_LAYER)
    whole, half = _shapes(_configuration(name)), _shapes(narrow)
    assert list(half) == list(whole)
    for weight, shape in whole.items():
        # Kernels [..., inputs, outputs]; the images' channels and the outputs stay.
        kept = (1, 3)
        spatial = len(shape) - 2 if len(shape) == 4 else 0
        expected = shape[:spatial] + tuple(c if c in kept else c // 2 for c in shape[spatial:])
        assert half[weight] == expected, weight


def test_a_reshape_keeps_its_places():
    """Squeeze and excitation, as in the encoder of U-Net++: a weight per channel."""
    layers = tf.keras.layers
    images = tf.keras.Input((4, 4, 1))
    maps = layers.Conv2D(8, 1)(images)
    weights = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(maps))
    logits = layers.Conv2D(1, 1, name="task")(layers.Multiply()([maps, weights]))
    config = tf.keras.Model(images, logits).get_config()
    width.scale(config, 0.25, kept="task")
    narrow = tf.keras.Model.from_config(config)
    assert [tuple(layer.output_shape) for layer in narrow.layers[2:5]] == [
        (None, 2),
        (None, 1, 1, 2),
        (None, 4, 4, 2),
    ]


def test_groups_stay_as_many():
    # Stages of 64, 128, … in 32 groups of 2, 4, … channels instead of 128, 256, … of 4, 8, ….
    config = _configuration("resnext18")
    width.scale(config, 0.5, kept=TASK_LAYER)
    kernels = {name: shape for name, shape in _shapes(config).items() if "conv2/" in name}
    assert kernels == {
        f"stage{stage}_block{block}_conv2/stage{stage}_block{block}_conv2/kernel:0": (
            3,
            3,
            2**stage,
            32 * 2**stage,
        )
        for stage in (1, 2, 3, 4)
        for block in (1, 2)
    }
    # A thirty-second of 64 is 2, but there are 32 groups.
    config = _configuration("resnext18")
    width.scale(config, 1 / 32, kept=TASK_LAYER)
    assert {x["config"]["name"]: x for x in config["layers"]}["conv1"]["config"]["filters"] == 32


def test_a_narrow_network_runs_and_is_a_function_of_its_seed():
    first, again = (ModelSpec("standard", 32, 3, seed=4, width=0.3).build().keras for _ in range(2))
    for one, other in zip(first.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(one, other)
    images = tf.random.stateless_uniform([2, 32, 32, 1], [1, 2])
    assert np.isfinite(first(images, training=True)).all()
    assert first.get_layer("conv3").filters == round(64 * 0.3)


def test_a_narrow_network_runs_with_group_norm_in_place_of_batch_norm():
    keras = ModelSpec("unet", 32, 1, "group", width=0.3).build().keras
    norms = [x for x in keras.layers if isinstance(x, tf.keras.layers.GroupNormalization)]
    # Of 16, 32, … 512 channels: 5, 10, 19, 38, 77 and 154, the largest divisors of these up to 32.
    groups = [5, 10, 19, 19, 11]
    expected = [n for n in (*groups, 22, *groups[::-1]) for _ in (1, 2)]
    assert [norm.groups for norm in norms] == expected
    images = tf.random.stateless_uniform([2, 32, 32, 1], [1, 2])
    assert np.isfinite(keras(images, training=True)).all()


@pytest.mark.parametrize("width", [0.0, -1.0, 1.5, float("nan")])
def test_widths_out_of_range(width):
    with pytest.raises(InputError, match="width must be above 0 and at most 1, found"):
        ModelSpec("standard", 32, 3, width=width).build()


def test_imagenet_is_for_whole_networks():
    with pytest.raises(InputError, match="weights are of the whole resnet50, found a width of 0.5"):
        ModelSpec("resnet50", 32, 3, weights="imagenet", width=0.5).build()
