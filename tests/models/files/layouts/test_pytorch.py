"""Networks of PyTorch packages: every layer finds its weights, and the stem is that of the package.

By hand, with the packages themselves (torchxrayvision 1.5.7, torchvision 0.29.1, PyTorch 2.14) and
random weights: on two images of 224 pixels the features differ from theirs by at most 4e-7 of the
largest, from pickled models in both formats of `torch.save` and from `state_dict`.
"""

import functools
import re
from typing import Any

import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from tests.models.files import torch_files
from tests.models.files.torch_files import Layer
from tffcxr.errors import InputError
from tffcxr.models import blocks
from tffcxr.models.files import pretrained
from tffcxr.models.files.layouts import matching
from tffcxr.models.networks.stem import IMAGENET, XRAYVISION

_REPEATS = (6, 12, 24, 16)


def _densenet(channels=1):
    """Random tensors of DenseNet121 with PyTorch's names and shapes."""
    rng = np.random.default_rng(0)
    tensors = {}

    def add(name, *shape):
        tensors[f"features.{name}.weight"] = rng.normal(size=shape).astype(np.float32)
        if len(shape) == 1:
            tensors[f"features.{name}.bias"] = rng.normal(size=shape).astype(np.float32)
            tensors[f"features.{name}.running_mean"] = rng.normal(size=shape).astype(np.float32)
            tensors[f"features.{name}.running_var"] = rng.random(shape, np.float32) + 0.5
            tensors[f"features.{name}.num_batches_tracked"] = np.array(3)

    add("conv0", 64, channels, 7, 7)
    add("norm0", 64)
    width = 64
    for block, repeats in enumerate(_REPEATS, start=1):
        for layer in range(1, repeats + 1):
            add(f"denseblock{block}.denselayer{layer}.norm1", width)
            add(f"denseblock{block}.denselayer{layer}.conv1", 128, width, 1, 1)
            add(f"denseblock{block}.denselayer{layer}.norm2", 128)
            add(f"denseblock{block}.denselayer{layer}.conv2", 32, 128, 3, 3)
            width += 32
        if block < len(_REPEATS):
            add(f"transition{block}.norm", width)
            add(f"transition{block}.conv", width // 2, width, 1, 1)
            width //= 2
    add("norm5", width)
    tensors["classifier.weight"] = np.zeros((18, width), np.float32)
    tensors["op_threshs"] = np.full(18, np.nan, np.float32)
    return tensors


def _model(tensors):
    """The same as a pickled model of torchxrayvision."""
    tree: dict[str, Any] = {}
    for name, tensor in torch_files.state(tensors).items():
        *layers, last = name.split(".")
        place = tree
        for each in layers:
            place = place.setdefault(each, {})
        place[last] = tensor

    def layer(parts, kind):
        own = {name: value for name, value in parts.items() if not isinstance(value, dict)}
        inner = {
            name: layer(value, "torch.nn.modules.container.Sequential")
            for name, value in parts.items()
            if isinstance(value, dict)
        }
        return Layer(kind, own, {}, inner)

    return layer(tree, "torchxrayvision.models.DenseNet")


@functools.cache
def _representation():
    """The layers of DenseNet121 that have weights, without a task block."""
    net = keras_cv.models.DenseNetBackbone(
        stackwise_num_repeats=list(_REPEATS), include_rescaling=False, input_shape=(32, 32, 3)
    )
    layers = tuple(layer.name for layer in net.layers if layer.weights)
    return blocks.CxrModel(net, representation=layers, task=(), gradcam_layer="relu")


def _match(path):
    weights = pretrained.read("densenet121", str(path))
    model = _representation()
    match = matching.match(model, weights.stored, weights.by_order)
    assert set(match.layers) == set(model.representation)
    found = {weight.name.split(":")[0]: values for weight, values in match.pairs}
    return weights, found


@pytest.fixture(scope="module")
def xrayvision():
    return _densenet()


@pytest.mark.parametrize("legacy", [False, True])
def test_every_layer_of_torchxrayvision_finds_its_weights(tmp_path, xrayvision, legacy):
    torch_files.write(tmp_path / "all.pt", _model(xrayvision), legacy)
    weights, found = _match(tmp_path / "all.pt")
    assert weights.library == "torchxrayvision.models.DenseNet"
    assert weights.stem == XRAYVISION
    for ours, theirs in (
        ("conv1_bn/gamma", "features.norm0.weight"),
        ("conv2_block_0_0_bn/beta", "features.denseblock1.denselayer1.norm1.bias"),
        ("conv3_block_11_1_bn/moving_mean", "features.denseblock2.denselayer12.norm2.running_mean"),
        ("pool4_bn/gamma", "features.transition3.norm.weight"),
        ("bn/beta", "features.norm5.bias"),
    ):
        np.testing.assert_array_equal(found[ours], xrayvision[theirs])
    for ours, theirs in (
        ("conv5_block_15_2_conv/kernel", "features.denseblock4.denselayer16.conv2.weight"),
        ("conv4_block_2_1_conv/kernel", "features.denseblock3.denselayer3.conv1.weight"),
        ("pool2_conv/kernel", "features.transition1.conv.weight"),
    ):  # From [out, in, height, width] to [height, width, in, out].
        expected = np.moveaxis(xrayvision[theirs], (0, 1), (3, 2))
        np.testing.assert_array_equal(found[ours], expected)
    # PyTorch's batch norm adds 1e-5 to the variance, keras-cv's 1.001e-5.
    variance = xrayvision["features.norm5.running_var"].astype(np.float64)
    np.testing.assert_allclose(found["bn/moving_variance"] + 1.001e-5, variance + 1e-5, rtol=1e-7)


def test_the_first_layers_see_what_one_channel_of_torchxrayvision_does(tmp_path, xrayvision):
    """Its images are in -1024..1024, and its convolution pads with 0, which is a mean grey."""
    torch_files.write(tmp_path / "all.pt", torch_files.state(xrayvision))
    _, found = _match(tmp_path / "all.pt")
    grey = np.random.default_rng(1).random((1, 8, 8, 1), np.float32)
    rgb = tf.keras.Input((8, 8, 3))
    convolution = tf.keras.layers.Conv2D(
        64, 7, 2, padding="same", use_bias=False, name="conv1_conv"
    )
    ours = tf.keras.Model(rgb, XRAYVISION.call(convolution, XRAYVISION.normalise(rgb)))
    ours.layers[-1].set_weights([found["conv1_conv/kernel"]])
    padded = np.pad(2048 * grey[0, :, :, 0].astype(np.float64) - 1024, 3)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7))[::2, ::2]
    expected = np.einsum("yxhw,ohw->yxo", windows, xrayvision["features.conv0.weight"][:, 0])
    actual = ours(np.repeat(grey, 3, axis=-1)).numpy()[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_torchvision_has_three_channels_and_a_dot_before_the_last_digit(tmp_path):
    tensors = {
        "module.densenet121." + re.sub(r"(denselayer\d+\.(?:norm|conv))", r"\1.", name): values
        for name, values in _densenet(channels=3).items()
    }
    torch_files.write(tmp_path / "model.pth", {"state_dict": torch_files.state(tensors)})
    weights, found = _match(tmp_path / "model.pth")
    assert weights.library == "torchvision.models.densenet121"
    assert weights.stem == IMAGENET
    kernel = tensors["module.densenet121.features.conv0.weight"]
    np.testing.assert_array_equal(found["conv1_conv/kernel"], np.moveaxis(kernel, (0, 1), (3, 2)))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("features.norm5.bias", None, "expected layer bn with beta of shape .1024,., not found"),
        (
            "features.norm0.weight",
            np.zeros(3, np.float32),
            "expected shape .64,. for conv1_bn/gamma, found .3,.",
        ),
        (
            "features.transition1.conv.weight",
            np.full((128, 256, 1, 1), np.inf, np.float32),
            "expected finite values of pool2_conv/kernel",
        ),
    ],
)
def test_the_first_thing_that_does_not_fit_is_named(tmp_path, xrayvision, name, values, message):
    changed = {**xrayvision, name: values}
    tensors = {key: value for key, value in changed.items() if value is not None}
    torch_files.write(tmp_path / "all.pt", torch_files.state(tensors))
    with pytest.raises(InputError, match=message) as raised:
        _match(tmp_path / "all.pt")
    assert "\n" not in str(raised.value)
