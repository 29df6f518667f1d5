"""ResNeXt50 is torchvision's, and ResNeXt18 has its blocks where ResNet18 has its own."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.models import built, counts
from tffcxr.models import blocks
from tffcxr.models.files import pretrained
from tffcxr.models.networks import grouped, resnext

_CLASSES = 1000
_LOADER = "tffcxr.models.files.model_file"  # In full, so that it is found as a dependency.


def _parameters(repeats):
    """Arithmetic of Xie et al., table 1: 32 groups of 4, 8, 16 and 32 channels."""
    total = 7 * 7 * 3 * 64 + 2 * 64
    channels = 64
    for stage, count in enumerate(repeats):
        width = 128 * 2**stage
        for block in range(count):
            kernels = channels * width + 9 * width * width // 32 + width * 2 * width
            norms = 2 * (width + width + 2 * width)
            shortcut = (channels + 2) * 2 * width if block == 0 else 0
            total += kernels + norms + shortcut
            channels = 2 * width
    return total


def _model(name):
    """As torchvision counts it."""
    return built.model(name, 224, _CLASSES)


@pytest.fixture(params=["resnext18", "resnext50"])
def model(request):
    return _model(request.param)


def test_parameters_are_the_reference_s(model):
    torchvision = {"resnext50": 25_028_904 - _CLASSES * (2048 + 1)}
    repeats = {"resnext18": resnext.RESNEXT18_BLOCKS, "resnext50": resnext.RESNEXT50_BLOCKS}
    trainable = counts.parameters(model.keras.trainable_weights) - _CLASSES * (2048 + 1)
    assert trainable == _parameters(repeats[model.keras.name])
    assert trainable == torchvision.get(model.keras.name, 13_340_480)
    moving = {"resnext18": 38_528, "resnext50": 68_224}
    assert counts.parameters(model.keras.non_trainable_weights) == moving[model.keras.name]


def test_multiply_adds_are_the_reference_s():
    # torchvision says 4.23 billion, with its last layer of 1000 classes.
    found = counts.multiply_adds(_model("resnext50").keras)
    assert round(found / 1e9, 2) == 4.23


def test_every_block_has_32_groups(model):
    layers = [x for x in model.keras.layers if isinstance(x, grouped.GroupedConv2D)]
    assert len(layers) == {"resnext18": 8, "resnext50": 16}[model.keras.name]
    assert {layer.groups for layer in layers} == {32}
    assert [layers[0].filters, layers[-1].filters] == [128, 1024]


def test_gradcam_layer_is_the_last_feature_map(model):
    assert model.keras.get_layer(model.gradcam_layer).output_shape == (None, 7, 7, 2048)
    assert model.keras.get_layer("features").input.name.startswith(model.gradcam_layer)


def test_a_saved_model_gives_its_weights(tmp_path):
    def tiny():
        images = tf.keras.Input((4, 4, 8))
        x = grouped.GroupedConv2D(8, 3, groups=4, name="conv")(images)
        x = tf.keras.layers.GlobalAveragePooling2D()(x)
        model = tf.keras.Model(images, tf.keras.layers.Dense(1, name="task")(x))
        return blocks.CxrModel(model, ("conv",), ("task",), "conv")

    source, model = tiny(), tiny()
    source.keras.save(tmp_path / "model.keras")
    kernels = [one.keras.get_layer("conv").kernel.numpy() for one in (source, model)]
    assert not np.array_equal(*kernels)
    pretrained.read("tiny", str(tmp_path / "model.keras")).fill(model)
    np.testing.assert_array_equal(model.keras.get_layer("conv").kernel, kernels[0])
    copy = tf.keras.models.clone_model(source.keras)
    assert isinstance(copy.get_layer("conv"), grouped.GroupedConv2D)


def test_another_program_loads_a_saved_model(tmp_path):
    # It knows the grouped layer only by what it imports to load a model.
    images = tf.keras.Input((4, 4, 2))
    model = tf.keras.Model(images, grouped.GroupedConv2D(2, 3, groups=2, name="conv")(images))
    model.save(tmp_path / "model.keras")
    code = (
        f"import pathlib, sys; import {_LOADER} as model_file; "
        "print(model_file.load_model(pathlib.Path(sys.argv[1])).output_shape)"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.keras")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.strip() == "(None, 2, 2, 2)", ended.stderr
