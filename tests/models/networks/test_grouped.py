"""The grouped convolution is Keras' own, and its gradients are too."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.models.networks import grouped


def _one_by_one(layer, images):
    """Each group convolved alone, then put side by side: the definition."""
    parts = [
        tf.nn.conv2d(x, kernel, layer.strides, layer.padding.upper())
        for x, kernel in zip(
            tf.split(images, layer.groups, axis=-1), tf.split(layer.kernel, layer.groups, axis=-1)
        )
    ]
    return tf.concat(parts, axis=-1)


def _images(channels, size=5):
    rng = np.random.default_rng(0)
    return tf.constant(rng.normal(size=(2, size, size, channels)).astype(np.float32))


@pytest.mark.parametrize(
    ("channels", "filters", "groups", "strides"),
    [
        (128, 128, 32, 1),  # 16 groups joined, twice
        (64, 64, 16, 2),  # all joined
        (256, 128, 2, 1),  # 128 channels a group: none joined
        (24, 48, 6, 2),  # more filters than channels
        (6, 4, 1, 1),
    ],
)
def test_values_and_gradients_are_those_of_the_groups_alone(channels, filters, groups, strides):
    layer = grouped.GroupedConv2D(
        filters, 3, strides, padding="same", groups=groups, use_bias=False
    )
    images = _images(channels)
    assert layer(images).shape[-1] == filters
    assert layer.kernel.shape == (3, 3, channels // groups, filters)
    rng = np.random.default_rng(1)
    weights = rng.normal(size=layer(images).shape).astype(np.float32)

    def gradients(convolve):
        with tf.GradientTape() as tape:
            tape.watch(images)
            maps = convolve(images)
            score = tf.reduce_sum(weights * maps)
        return (maps, *tape.gradient(score, [images, layer.kernel]))

    expected = gradients(lambda x: _one_by_one(layer, x))
    for found in (gradients(layer), tf.function(lambda: gradients(layer))()):
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_values_are_those_of_keras():
    ours = grouped.GroupedConv2D(8, 3, groups=4, activation="relu", bias_initializer="ones")
    theirs = tf.keras.layers.Conv2D(8, 3, groups=4, activation="relu")
    images = _images(8)
    ours(images), theirs(images)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(images), theirs(images), atol=1e-5)
    assert ours.count_params() == theirs.count_params() == 3 * 3 * 2 * 8 + 8


@pytest.mark.parametrize(
    ("groups", "channels", "joined"),
    [(32, 4, 16), (32, 32, 2), (32, 128, 1), (6, 16, 3), (4, 1, 4)],
)
def test_joins_the_most_groups_of_no_more_than_64_channels(groups, channels, joined):
    assert grouped._joined(groups, channels) == joined


def test_computes_in_the_precision_that_it_is_given():
    layer = grouped.GroupedConv2D(8, 3, groups=4, dtype="mixed_bfloat16")
    assert layer(_images(8)).dtype == tf.bfloat16
    assert layer.kernel.dtype == tf.float32


def test_a_saved_model_loads(tmp_path):
    images = tf.keras.Input((5, 5, 8))
    model = tf.keras.Model(images, grouped.GroupedConv2D(8, 3, groups=4, name="maps")(images))
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.get_layer("maps"), grouped.GroupedConv2D)
    np.testing.assert_array_equal(loaded(_images(8)), model(_images(8)))


def test_a_graph_holds_the_same_name_and_weights():
    def make():
        images = tf.keras.Input((5, 5, 8))
        initializer = tf.keras.initializers.HeNormal(seed=3)
        layer = grouped.GroupedConv2D(8, 3, groups=4, kernel_initializer=initializer, name="maps")
        return tf.keras.Model(images, layer(images))

    eager, config = make(), make().get_config()
    with tf.Graph().as_default():
        model = tf.keras.Model.from_config(config)
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            values = session.run(model.weights)
    assert [w.name for w in model.weights] == [w.name for w in eager.weights]
    for value, weight in zip(values, eager.weights):
        np.testing.assert_array_equal(value, weight.numpy())
