"""Random weights as PyTorch's libraries draw them."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.models import built
from tffcxr.models import initialization
from tffcxr.models.networks import grouped
from tffcxr.models.spec import ModelSpec

# Of a kernel in Keras' order, the standard deviation of its namesake in PyTorch: torchvision's
# resnet.py and mobilenetv2.py have kaiming_normal_(mode="fan_out"), densenet.py kaiming_normal_,
# torch.nn.Conv2d kaiming_uniform_(a=√5), which is uniform in ±1 / √fan_in.
_KERNEL = (3, 3, 48, 64)
_EXPECTED = {
    "resnet18": math.sqrt(2 / (9 * 64)),
    "resnext18": math.sqrt(2 / (9 * 64)),
    "mobilenetv2": math.sqrt(2 / (9 * 64)),
    "densenet121": math.sqrt(2 / (9 * 48)),
    "covidnet": math.sqrt(1 / (3 * 9 * 48)),
    "unet": math.sqrt(1 / (3 * 9 * 48)),
}
# Of [h, w, channels, 1]; PyTorch's is [channels, 1, h, w], with channels * h * w outputs.
_DEPTHWISE = (3, 3, 1024, 1)
_EXPECTED_DEPTHWISE = {
    "mobilenetv2": math.sqrt(2 / (9 * 1024)),
    "covidnet": math.sqrt(1 / (3 * 9)),
}


def _std(settings, shape):
    settings = {**settings, "config": {**settings["config"], "seed": 1}}
    return np.std(tf.keras.initializers.deserialize(settings)(shape).numpy())


@pytest.mark.parametrize("name", _EXPECTED)
def test_kernels_vary_as_those_of_the_library(name):
    layers = tf.keras.layers
    images = tf.keras.Input((4, 4, 64))
    x = grouped.GroupedConv2D(64, 1, groups=32, name="grouped")(layers.Conv2D(64, 1)(images))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    config = tf.keras.Model(images, layers.Conv2DTranspose(1, 1)(x)).get_config()
    initialization.as_library(config, name)
    of = {layer["class_name"].rpartition(">")[2]: layer["config"] for layer in config["layers"]}
    for kind in ("Conv2D", "GroupedConv2D", "Conv2DTranspose"):
        assert _std(of[kind]["kernel_initializer"], _KERNEL) == pytest.approx(
            _EXPECTED[name], rel=0.05
        )
    if name in _EXPECTED_DEPTHWISE:
        found = _std(of["DepthwiseConv2D"]["depthwise_initializer"], _DEPTHWISE)
        assert found == pytest.approx(_EXPECTED_DEPTHWISE[name], rel=0.05)


def test_a_network_of_a_library_begins_with_all_its_branches():
    library = ModelSpec("resnet18", 32, 3, initialization="library").build().keras
    scales = [w.numpy() for w in library.weights if "gamma" in w.name]
    assert all((scale == 1).all() for scale in scales)
    task = library.get_layer("task").kernel.numpy()
    assert np.abs(task).max() <= 1 / math.sqrt(512)  # torch.nn.Linear
    assert np.std(task) == pytest.approx(1 / math.sqrt(3 * 512), rel=0.05)
    shortcut = built.model("resnet18", 32, 3).keras
    scales = [w.numpy() for w in shortcut.weights if "gamma" in w.name]
    assert sum((scale == 0).all() for scale in scales) == 8
