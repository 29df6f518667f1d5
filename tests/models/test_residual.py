"""Sums of a network that begin as their shortcuts."""

import copy

import numpy as np
import pytest
import tensorflow as tf

from tests.models import built
from tffcxr.models import network_configs, normalization, residual
from tffcxr.models.spec import ModelSpec


def _sums_and_branches(model):
    """`(sum, shortcut, branch)` of every sum; all of these networks name the shortcut first."""
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.Add):
            first, second = layer.input
            yield layer.output, first, second


def test_every_sum_begins_as_one_of_its_inputs():
    model = built.model("resnet18", 32, 3).keras
    sums = list(_sums_and_branches(model))
    assert len(sums) == 2 + 2 + 2 + 2  # The published numbers of residual blocks.
    probe = tf.keras.Model(model.input, sums)
    images = tf.random.stateless_uniform([2, 32, 32, 1], [1, 2])
    for total, shortcut, branch in probe(images, training=True):
        np.testing.assert_array_equal(branch.numpy(), 0.0)
        np.testing.assert_array_equal(total.numpy(), shortcut.numpy())
        assert np.abs(shortcut.numpy()).max() > 0


# MobileNetV2's bottlenecks (Sandler et al., table 2) that are the second or later of their kind:
# 1 + 2 + 3 + 2 + 2 of 17. A unit of COVID-Net is added to the sum of those before it.
_ENDS = {
    "mobilenetv2": [f"block_{n}_project_BN" for n in (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)],
    "covidnet": [
        f"stage{stage}_unit{unit}_extend_norm"
        for stage, units in enumerate((3, 4, 6, 3), start=1)
        for unit in range(1, units + 1)
    ],
}


@pytest.mark.parametrize("batch_norm", ["aggregate", "group"])
@pytest.mark.parametrize("name", _ENDS)
def test_the_norms_that_end_the_branches_of_a_network_are_scaled(name, batch_norm):
    # A quarter of the channels, of which Keras has made the network once: so its sums fit.
    config = copy.deepcopy(network_configs.describe(name, 32, 3, "float32", 1, 0.25, True))
    normalization.apply(config, batch_norm)
    assert residual.start_as_shortcuts(config) == _ENDS[name]


def _model(ends_with_norm):
    layers = tf.keras.layers
    images = tf.keras.Input((1, 1, 2))
    shortcut = layers.BatchNormalization(name="shortcut")(images)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="within")(images))
    if ends_with_norm:
        x = layers.BatchNormalization(name="end")(x)
    return tf.keras.Model(images, layers.Add(name="sum")([x, shortcut]))


@pytest.mark.parametrize(("ends_with_norm", "changed"), [(True, ["end"]), (False, [])])
def test_only_a_norm_at_the_end_of_the_deeper_input_is_scaled(ends_with_norm, changed):
    config = _model(ends_with_norm).get_config()
    assert residual.start_as_shortcuts(config) == changed
    model = tf.keras.Model.from_config(config)
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            expected = 0.0 if layer.name in changed else 1.0
            np.testing.assert_array_equal(layer.gamma.numpy(), expected)


def test_the_first_step_moves_the_scale_and_the_second_the_branch():
    config = _model(ends_with_norm=True).get_config()
    residual.start_as_shortcuts(config)
    model = tf.keras.Model.from_config(config)
    end, within = model.get_layer("end").gamma, model.get_layer("within").gamma
    images = tf.constant([[0.5, -1.0], [2.0, 1.0], [-1.0, 0.5]])[:, None, None]
    for step in (0, 1):
        before = within.numpy()
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True) ** 3)
        for weight, slope in zip(
            model.trainable_weights, tape.gradient(loss, model.trainable_weights)
        ):
            weight.assign_sub(0.01 * slope)
        assert np.abs(end.numpy()).min() > 0
        assert np.array_equal(within.numpy(), before) == (step == 0)


@pytest.mark.parametrize(
    ("batch_norm", "frozen"), [("frozen", None), ("aggregate", "representation")]
)
def test_a_scale_that_is_never_trained_is_not_zero(batch_norm, frozen):
    model = ModelSpec("resnet18", 32, 3, batch_norm=batch_norm).build(frozen).keras
    scales = [w for w in model.weights if "gamma" in w.name]
    assert scales
    for scale in scales:
        np.testing.assert_array_equal(scale.numpy(), 1.0)


def test_group_norm_begins_so_too():
    model = ModelSpec("resnet18", 32, 3, batch_norm="group").build().keras
    zeros = [
        layer.name
        for layer in model.layers
        if isinstance(layer, tf.keras.layers.GroupNormalization) and not layer.gamma.numpy().any()
    ]
    assert zeros == [f"v2_stack_{stack}_block{n}_2_bn" for stack in range(4) for n in (1, 2)]
