"""Segmentation models are a function of their arguments, eagerly and inside a graph.

Shown on U-Net, which is quicker to build; what is U-Net++'s own is in its own test.
"""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.models import blocks, network_configs
from tffcxr.models.networks.architecture import TASK_LAYER
from tffcxr.models.spec import ModelSpec


@pytest.fixture(scope="module")
def model():
    return ModelSpec("unet", 32, seed=3).build()


def test_maps_images_to_one_logit_a_pixel(model):
    images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    logits = model.keras(images)
    assert (logits.dtype, logits.shape) == (tf.float32, (2, 32, 32, 1))
    assert np.all(np.isfinite(logits))
    assert (model.outputs, model.image_size, model.task) == (1, 32, ("task",))
    assert model.keras.get_layer(model.gradcam_layer).output_shape == (None, 32, 32, 16)
    assert not any(isinstance(layer, tf.keras.Model) for layer in model.keras.layers)


def test_a_graph_holds_the_same_names_and_weights(model):
    """The seed decides alone: it is that of the fixture, whatever the global one."""
    tf.random.set_seed(9)
    network_configs.describe.cache_clear()  # The first build of all is in the graph.
    with tf.Graph().as_default():
        named = blocks.named_weights(ModelSpec("unet", 32, seed=3).build().keras)
        names = [(layer, weight.name) for layer, weight in named]
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            values = session.run([weight for _, weight in named])
    eager = blocks.named_weights(model.keras)
    assert names == [(layer, weight.name) for layer, weight in eager]
    for value, (_, weight) in zip(values, eager):
        np.testing.assert_array_equal(value, weight.numpy())
    kernels = [value.tobytes() for value in values if value.ndim == 4]
    assert len(set(kernels)) == len(kernels)  # no two layers start alike


def test_group_norm_in_lower_precision(model):
    spec = ModelSpec("unet", 32, seed=3, batch_norm="group", precision="bfloat16")
    grouped = spec.build().keras
    kinds = [type(layer).__name__ for layer in grouped.layers]
    plain = [type(layer).__name__ for layer in model.keras.layers]
    assert kinds.count("GroupNormalization") == plain.count("BatchNormalization") > 0
    assert "BatchNormalization" not in kinds
    assert not grouped.non_trainable_weights
    layers = [layer for layer in grouped.layers if layer.name != TASK_LAYER]
    assert {layer.compute_dtype for layer in layers if layer.weights} == {"bfloat16"}
    logits = grouped(np.zeros((1, 32, 32, 1), np.float32))
    assert logits.dtype == tf.float32
    assert np.all(np.isfinite(logits))
    assert {weight.dtype for weight in grouped.weights} == {tf.float32}
    for a, b in zip(grouped.trainable_weights, model.keras.trainable_weights):
        np.testing.assert_array_equal(a, b)  # Of norms, too: scales of 1 and offsets of 0.


def test_weights_of_a_file_fill_the_representation_block(model, tmp_path):
    path = tmp_path / "model.keras"
    model.keras.save(path)
    read = ModelSpec("unet", 32, weights=str(path), seed=8).build()
    for a, b in zip(*(blocks.get_weights(m.keras, m.representation) for m in (model, read))):
        np.testing.assert_array_equal(a, b)
    new = blocks.get_weights(read.keras, read.task)[0]
    assert not np.array_equal(new, blocks.get_weights(model.keras, model.task)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unet", 48), "model unet needs an image size that is a multiple of 32, found 48"),
        (("unetplusplus", 0), "multiple of 32, found 0"),
        (("unet", 32, 2), "model unet needs one output, found 2"),
        (("unet", 32, 1, "none"), "batch_norm must be one of"),
        (("unet", 32, 1, "group", "float8"), "found 'float8'"),
        (
            ("unet", 32, 1, "aggregate", "float32", 1.0, "imagenet"),
            "no ImageNet weights for model unet",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        ModelSpec(*arguments).build()


def test_images_of_several_channels(model):
    colour = ModelSpec("unet", 32, seed=3, channels=3).build()
    assert colour.keras.count_params() - model.keras.count_params() == 2 * 9 * 16
    assert colour.keras(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 32, 32, 1)


@pytest.mark.parametrize(("name", "channels"), [("unetplusplus", 3), ("unet", 0)])
def test_channels_that_a_model_does_not_take(name, channels):
    with pytest.raises(InputError, match=f"{name} needs images of one channel, found {channels}"):
        ModelSpec(name, 32, channels=channels).build()
