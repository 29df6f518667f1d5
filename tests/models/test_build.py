"""Builds are a function of their arguments, eagerly and inside a graph."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.models import built, weights
from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.models import blocks, network_configs
from tffcxr.models.networks import architecture
from tffcxr.models.networks.architecture import TASK_LAYER
from tffcxr.models.spec import ModelSpec

# The others are libraries' networks, or made by the same functions with more layers.
OURS = ("standard", "resnext18", "covidnet")


def _in_graph(*args, **kwargs):
    """Builds in a bare graph; returns layer names, weight names and initial values."""
    with tf.Graph().as_default():
        model = ModelSpec(*args, **kwargs).build()
        assert model.keras.output_shape[0] is None
        named = [(layer, weight.name) for layer, weight in blocks.named_weights(model.keras)]
        variables = [weight for _, weight in blocks.named_weights(model.keras)]
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            return named, session.run(variables)


def test_same_seed_same_weights_whatever_the_global_seed():
    tf.random.set_seed(1)
    first = ModelSpec("standard", 32, 2, seed=5).build()
    tf.random.set_seed(2)
    assert weights.are_same(first, ModelSpec("standard", 32, 2, seed=5).build())
    assert not weights.are_same(first, ModelSpec("standard", 32, 2, seed=6).build())


# ResNet18 is one of keras-cv, which no plain graph can hold; `test_grouped` has our own layer.
@pytest.mark.parametrize("name", ["standard", "resnet18"])
def test_a_graph_holds_the_same_names_and_weights(name):
    network_configs.describe.cache_clear()  # The first build of all is in the graph.
    found, values = _in_graph(name, 32, 2, seed=3)
    model = ModelSpec(name, 32, 2, seed=3).build()
    named = blocks.named_weights(model.keras)
    assert found == [(layer, weight.name) for layer, weight in named]
    for value, (_, weight) in zip(values, named):
        np.testing.assert_array_equal(value, weight.numpy())
    kernels = {value.tobytes() for (layer, _), value in zip(found, values) if value.ndim == 4}
    assert len(kernels) == sum(value.ndim == 4 for value in values)  # no two layers start alike


def test_the_lists_that_need_no_tensorflow_name_every_model():
    for name in (*options.CLASSIFIERS, *options.SEGMENTERS):
        assert network_configs.get(name).minimum_image_size >= 16
    code = "import sys; from tffcxr import options; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **_python_path()})


def _python_path():
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.mark.parametrize("name", OURS)
def test_every_weight_learns(name):
    # Without `residual`'s scales of 0, behind which a branch learns from the second step on.
    tf.keras.utils.set_random_seed(0)
    trunk = network_configs.get(name).trunk(64)
    keras = tf.keras.Model(trunk.input, architecture.findings(3)(trunk.output))
    images = np.random.default_rng(0).random((4, 64, 64, 1), np.float32)
    with tf.GradientTape() as tape:
        score = tf.reduce_sum(keras(images, training=True) * [1.0, -2.0, 3.0])
    for weight, gradient in zip(
        keras.trainable_weights, tape.gradient(score, keras.trainable_weights)
    ):
        assert np.all(np.isfinite(gradient)), weight.name
        assert np.any(gradient), weight.name


def test_batch_norm_policies_apply_to_every_norm():
    model = built.model("resnet18", 32, 2)
    norms = [x.name for x in model.keras.layers if "BatchNorm" in type(x).__name__]
    assert len(norms) == 20
    frozen = ModelSpec("resnet18", 32, 2, batch_norm="frozen").build().keras
    assert not any(frozen.get_layer(norm).trainable for norm in norms)
    grouped = ModelSpec("resnet18", 32, 2, batch_norm="group", precision="bfloat16").build()
    assert grouped.representation == model.representation
    kinds = {type(grouped.keras.get_layer(norm)).__name__ for norm in norms}
    assert kinds == {"GroupNormalization"}
    assert len(grouped.keras.trainable_weights) == len(grouped.keras.weights)
    moving = 2 * sum(w.shape[0] for w in model.keras.weights if "gamma" in w.name)
    assert grouped.keras.count_params() == model.keras.count_params() - moving
    images = np.random.default_rng(0).random((3, 32, 32, 1), np.float32)
    together = grouped.keras(images, training=True)
    assert together.dtype == tf.float32
    assert np.all(np.isfinite(together))
    np.testing.assert_allclose(together[:1], grouped.keras(images[:1]), atol=1e-5)


def test_two_models_in_one_graph_keep_their_layer_names():
    with tf.Graph().as_default():
        first = ModelSpec("standard", 32, 1).build()
        second = ModelSpec("standard", 32, 1).build()
        assert first.representation == second.representation
        layers = [[n for n, _ in blocks.named_weights(m.keras)] for m in (first, second)]
        assert layers[0] == layers[1]


def test_maps_images_to_logits():
    model = ModelSpec("standard", 32, 3).build()
    logits = model.keras(np.zeros((5, 32, 32, 1), np.float32))
    assert logits.dtype == tf.float32
    assert logits.shape == (5, 3)
    assert (model.task, model.outputs) == (("task",), 3)
    assert model.representation == (
        *("conv1", "norm1", "conv2", "norm2", "conv3", "norm3"),
        "features",
    )


@pytest.mark.parametrize(("name", "precision"), [("standard", "float16"), ("resnet18", "bfloat16")])
def test_the_base_computes_in_the_precision_and_the_rest_in_float32(name, precision):
    model = ModelSpec(name, 32, 2, precision=precision).build()
    layers = [layer for layer in model.keras.layers if layer.name != TASK_LAYER]
    assert {layer.compute_dtype for layer in layers if layer.weights} == {precision}
    assert {weight.dtype for weight in model.keras.weights} == {tf.float32}
    assert model.keras(np.zeros((1, 32, 32, 1), np.float32)).dtype == tf.float32
    exact = built.model(name, 32, 2)
    assert {layer.compute_dtype for layer in exact.keras.layers} == {"float32"}
    assert weights.are_same(model, exact)


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="found 'float8'"):
        ModelSpec("standard", 16, 1, precision="float8").build()  # type: ignore[arg-type]


def test_frozen_representation_trains_the_task_block_alone():
    model = ModelSpec("resnet18", 32, 2).build(frozen="representation")
    assert [layer for layer, _ in blocks.named_weights(model.keras)][:2] == ["task", "task"]
    assert len(model.keras.trainable_weights) == 2
    images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    before = model.keras.get_weights()
    training = model.keras(images, training=True).numpy()
    np.testing.assert_allclose(training, model.keras(images, training=False).numpy(), atol=1e-6)
    for old, new in zip(before, model.keras.get_weights()):
        np.testing.assert_array_equal(old, new)  # the moving statistics have not moved


def test_stages_exchange_weights_by_block():
    head_first = ModelSpec("standard", 32, 1, seed=1).build(frozen="representation")
    fine_tuned = ModelSpec("standard", 32, 1, seed=2).build()
    for block in ("representation", "task"):
        layers = getattr(head_first, block)
        blocks.set_weights(fine_tuned.keras, layers, blocks.get_weights(head_first.keras, layers))
    images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    np.testing.assert_array_equal(head_first.keras(images), fine_tuned.keras(images))
    assert len(fine_tuned.keras.trainable_weights) == len(fine_tuned.keras.weights)


def test_a_model_without_batch_norm_says_that_the_policy_changes_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        plain = ModelSpec("standard", 32, 1).build()
        grouped = ModelSpec("standard", 32, 1, batch_norm="group").build()
        assert not caplog.records  # it has group norm already
        frozen = ModelSpec("standard", 32, 1, batch_norm="frozen").build()
    assert "standard has no batch norm: frozen changes nothing" in caplog.text
    assert weights.are_same(plain, grouped)
    assert weights.are_same(plain, frozen)
    assert len(plain.keras.trainable_weights) == len(frozen.keras.trainable_weights)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"network": "resnet"},
            "model must be one of standard, resnet18, .*, nnunet, found 'resnet'",
        ),
        ({"network": "densenet121", "image_size": 31}, "at least 32, found 31"),
        ({"image_size": 15}, "at least 16, found 15"),
        ({"outputs": 0}, "at least one output, found 0"),
        ({"batch_norm": "none"}, "batch_norm must be one of"),
        (
            {"weights": "imagenet"},
            "no ImageNet weights for model standard, only for densenet121, resnet50, mobilenetv2, ",
        ),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    arguments = {"network": "standard", "image_size": 32, "outputs": 1, **kwargs}
    with pytest.raises(InputError, match=message):
        ModelSpec(**arguments).build()


def test_no_other_block_can_be_frozen():
    with pytest.raises(InputError, match="found 'task'"):
        ModelSpec("standard", 32).build(frozen="task")  # type: ignore[arg-type]


def test_the_smallest_image_goes_through():
    size = network_configs.get("standard").minimum_image_size
    logits = ModelSpec("standard", size, 1).build().keras(np.zeros((2, size, size, 1), np.float32))
    assert np.all(np.isfinite(logits))
