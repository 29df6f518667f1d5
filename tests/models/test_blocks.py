"""Blocks: every weight belongs to one layer, and freezing does not reorder a block."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.models import blocks


@pytest.fixture
def model():
    layers = tf.keras.layers
    images = tf.keras.Input((4, 4, 1))
    x = layers.Conv2D(2, 1, name="conv")(images)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return tf.keras.Model(images, layers.Dense(3, name="task")(x))


def _block(model, representation=("conv", "norm"), task=("task",)):
    return blocks.CxrModel(model, representation, task, gradcam_layer="norm")


def test_sizes_and_blocks_are_read_from_the_model(model):
    block = _block(model)
    assert (block.outputs, block.image_size) == (3, 4)


@pytest.mark.parametrize(
    ("representation", "task", "odd"),
    [
        (("conv",), ("task",), "norm"),
        (("conv", "norm", "task"), ("task",), "task"),
        (("conv", "norm", "pool"), ("task",), "pool"),
    ],
)
def test_blocks_that_are_not_a_partition_are_refused(model, representation, task, odd):
    with pytest.raises(ValueError, match=odd):
        _block(model, representation, task)


def test_named_weights_follow_trainable_then_non_trainable(model):
    names = [(layer, weight.shape.as_list()) for layer, weight in blocks.named_weights(model)]
    assert names == [
        ("conv", [1, 1, 1, 2]),
        ("conv", [2]),
        ("norm", [2]),
        ("norm", [2]),
        ("task", [2, 3]),
        ("task", [3]),
        ("norm", [2]),
        ("norm", [2]),
    ]
    model.get_layer("conv").trainable = False
    named = blocks.named_weights(model)
    assert [layer for layer, _ in named] == ["norm"] * 2 + ["task"] * 2 + ["conv"] * 2 + [
        "norm"
    ] * 2
    expected = model.trainable_weights + model.non_trainable_weights
    assert [id(weight) for _, weight in named] == [id(weight) for weight in expected]


def test_order_within_a_block_does_not_change_when_layers_are_frozen(model):
    model.get_layer("norm").moving_mean.assign([5.0, 6.0])
    before = blocks.get_weights(model, ["conv", "norm"])
    model.get_layer("norm").trainable = False
    after = blocks.get_weights(model, ["conv", "norm"])
    assert len(before) == 6
    for a, b in zip(before, after):
        np.testing.assert_array_equal(a, b)


def test_set_weights_writes_what_get_weights_read(model):
    other = tf.keras.models.clone_model(model)
    blocks.set_weights(other, ["task"], blocks.get_weights(model, ["task"]))
    np.testing.assert_array_equal(
        other.get_layer("task").kernel.numpy(), model.get_layer("task").kernel.numpy()
    )
    assert not np.array_equal(
        other.get_layer("conv").kernel.numpy(), model.get_layer("conv").kernel.numpy()
    )


@pytest.mark.parametrize("arrays", [[np.ones((2, 3))], [np.ones((2, 3)), np.ones(4)]])
def test_set_weights_that_do_not_fit_change_nothing(model, arrays):
    before = blocks.get_weights(model, ["task"])
    with pytest.raises(ValueError, match="expected"):
        blocks.set_weights(model, ["task"], arrays)
    for a, b in zip(before, blocks.get_weights(model, ["task"])):
        np.testing.assert_array_equal(a, b)
