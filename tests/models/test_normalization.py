"""Group norm in place of batch norm, and batch norm held still."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.models import normalization


def _model():
    images = tf.keras.Input((2, 1, 4))
    x = tf.keras.layers.BatchNormalization(epsilon=1e-5, name="first")(images)
    x = tf.keras.layers.ReLU(name="relu")(x)
    return tf.keras.Model(images, tf.keras.layers.BatchNormalization(name="second")(x))


def _changed(policy):
    config = _model().get_config()
    found = normalization.apply(config, policy)
    return found, tf.keras.Model.from_config(config)


@pytest.mark.parametrize(
    ("channels", "groups"), [(64, 32), (96, 32), (48, 24), (40, 20), (37, 1), (7, 7), (1, 1)]
)
def test_groups_is_the_largest_divisor_up_to_32(channels, groups):
    assert normalization.groups(channels) == groups


def test_group_norm_takes_the_place_name_and_epsilon():
    found, model = _changed("group")
    assert found == 2
    layer = model.get_layer("first")
    assert isinstance(layer, tf.keras.layers.GroupNormalization)
    assert (layer.groups, layer.epsilon) == (4, 1e-5)
    assert not any("moving" in weight.name for weight in model.weights)


def test_group_norm_has_a_scale_only_where_batch_norm_had_one():
    images = tf.keras.Input((2, 1, 3))
    norm = tf.keras.layers.BatchNormalization(scale=False, name="images")
    config = tf.keras.Model(images, norm(images)).get_config()
    normalization.apply(config, "group")
    model = tf.keras.Model.from_config(config)
    assert [weight.name for weight in model.weights] == ["images/beta:0"]


def test_group_norm_depends_on_no_other_image():
    _, model = _changed("group")
    images = np.random.default_rng(0).normal(size=(3, 2, 1, 4)).astype(np.float32)
    together = model(images, training=True).numpy()
    alone = model(images[:1], training=True).numpy()
    np.testing.assert_allclose(together[:1], alone, atol=1e-6)
    # One channel a group, two pixels: each is one deviation from their mean; ReLU keeps the upper.
    first = model.get_layer("first")(images).numpy()
    np.testing.assert_allclose(np.abs(first), 1.0, atol=1e-2)


def test_frozen_norm_uses_and_keeps_its_moving_statistics():
    _, model = _changed("frozen")
    assert not model.trainable_weights
    images = np.full((3, 2, 1, 4), 7.0, np.float32)
    before = [weight.numpy() for weight in model.weights]
    training = model(images, training=True).numpy()
    np.testing.assert_array_equal(training, model(images, training=False).numpy())
    for weight, old in zip(model.weights, before):
        np.testing.assert_array_equal(weight.numpy(), old)


@pytest.mark.parametrize("policy", ["aggregate", "local"])
def test_other_policies_leave_the_configuration_as_it_is(policy):
    config = _model().get_config()
    before = repr(config)
    assert normalization.apply(config, policy) == 2
    assert repr(config) == before


def test_unknown_policy_is_named():
    with pytest.raises(InputError, match="batch_norm must be one of .* found 'sync'"):
        normalization.check_policy("sync")
