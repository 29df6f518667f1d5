"""A part of a network's channels, layer by layer."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.models import width
from tffcxr.models.spec import ModelSpec

HALVED = ("standard", "resnet18", "mobilenetv2", "covidnet", "unet")


def _shapes(name, **changes):
    outputs = 1 if name in options.SEGMENTERS else 3
    model = ModelSpec(name, 32, outputs, **changes).build().keras
    return {
        f"{layer.name}/{weight.name}": tuple(weight.shape)
        for layer in model.layers
        for weight in layer.weights
    }


@pytest.mark.parametrize("name", HALVED)
def test_every_layer_has_half_of_its_channels(name):
    whole, half = _shapes(name), _shapes(name, width=0.5)
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
    kernels = {
        name: shape for name, shape in _shapes("resnext18", width=0.5).items() if "conv2/" in name
    }
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
    assert _shapes("resnext18", width=1 / 32)["conv1/conv1/kernel:0"][-1] == 32


@pytest.mark.parametrize(("name", "batch_norm"), [("standard", "aggregate"), ("covidnet", "group")])
def test_a_narrow_network_runs_and_is_a_function_of_its_seed(name, batch_norm):
    first, again = (
        ModelSpec(name, 32, 3, batch_norm, seed=4, width=0.3).build().keras for _ in range(2)
    )
    for one, other in zip(first.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(one, other)
    images = tf.random.stateless_uniform([2, 32, 32, 1], [1, 2])
    assert np.isfinite(first(images, training=True)).all()


@pytest.mark.parametrize("width", [0.0, -1.0, 1.5, float("nan")])
def test_widths_out_of_range(width):
    with pytest.raises(InputError, match="width must be above 0 and at most 1, found"):
        ModelSpec("standard", 32, 3, width=width).build()


def test_imagenet_is_for_whole_networks():
    with pytest.raises(InputError, match="weights are of the whole resnet50, found a width of 0.5"):
        ModelSpec("resnet50", 32, 3, weights="imagenet", width=0.5).build()
