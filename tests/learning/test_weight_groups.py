"""Every weight of a model has exactly one role."""

import pytest
import tensorflow as tf

from tests.learning import tiny
from tffcxr.errors import InputError
from tffcxr.learning.weight_groups import Group, Statistic, WeightPartition, batch_norm_layers


def _groups(model, private):
    return {w.name: w.group for w in WeightPartition.of(model, private).weights}


def test_the_task_block_is_private_and_statistics_are_no_parameters():
    assert _groups(tiny.image_model(), ["head"]) == {
        "conv/kernel:0": Group.SHARED_TRAINABLE,
        "bn/gamma:0": Group.SHARED_TRAINABLE,
        "bn/beta:0": Group.SHARED_TRAINABLE,
        "bn/moving_mean:0": Group.SHARED_STATISTICS,
        "bn/moving_variance:0": Group.SHARED_STATISTICS,
        "head/kernel:0": Group.PRIVATE_TRAINABLE,
        "head/bias:0": Group.PRIVATE_TRAINABLE,
    }


def test_private_batch_norm_keeps_its_statistics_too():
    groups = _groups(tiny.image_model(), ["head", "bn"])
    assert groups["bn/gamma:0"] is Group.PRIVATE_TRAINABLE
    assert groups["bn/moving_mean:0"] is Group.PRIVATE_OTHER


def test_frozen_layers_are_constants_and_frozen_private_ones_stay_private():
    model = tiny.image_model()
    for name in ("conv", "bn", "head"):
        model.get_layer(name).trainable = False
    groups = _groups(model, ["head"])
    assert {groups[name] for name in groups if not name.startswith("head")} == {
        Group.SHARED_CONSTANTS
    }
    assert groups["head/kernel:0"] is Group.PRIVATE_OTHER


def test_the_order_is_the_models():
    model = tiny.image_model()
    partition = WeightPartition.of(model, [])
    assert [w.name for w in partition.weights] == [w.name for w in model.weights]
    assert [w.shape for w in partition.weights] == [tuple(w.shape) for w in model.weights]


def test_merging_undoes_selecting():
    partition = WeightPartition.of(tiny.image_model(), ["head", "bn"])
    values = [f"weight {i}" for i in range(len(partition.weights))]
    parts = {group: partition.select(values, group) for group in Group}
    assert sorted(sum(parts.values(), ())) == sorted(values)
    assert partition.merge(parts) == values


def test_merging_the_wrong_number_is_refused():
    partition = WeightPartition.of(tiny.image_model(), ["head"])
    parts = {group: partition.select(range(7), group) for group in Group}
    parts[Group.PRIVATE_TRAINABLE] = parts[Group.PRIVATE_TRAINABLE][:1]
    with pytest.raises(ValueError, match="private_trainable: expected 2 weights, found 1"):
        partition.merge(parts)


def test_values_that_are_not_the_models_are_refused():
    model = tiny.image_model()
    partition = WeightPartition.of(model, [])
    weights = model.get_weights()
    partition.check_values(weights)
    with pytest.raises(ValueError, match="expected 7 weights, found 6"):
        partition.check_values(weights[:-1])
    with pytest.raises(ValueError, match=r"head/bias:0: expected shape \(2,\), found \(3,\)"):
        partition.check_values([*weights[:-1], [0.0, 0.0, 0.0]])


def test_unknown_layers_are_refused():
    with pytest.raises(InputError, match=r"layers with weights are conv, bn, head; found 'haed'"):
        WeightPartition.of(tiny.image_model(), ["haed"])


def test_batch_norm_layers_are_found():
    assert batch_norm_layers(tiny.image_model()) == ("bn",)


def test_states_hold_every_weight_once_and_give_the_model_back():
    partition = WeightPartition.of(tiny.image_model(), ["head", "bn"])
    values = [f"weight {i}" for i in range(len(partition.weights))]
    server, client = partition.server_weights(values), partition.client_state(values)
    assert {name: len(part) for name, part in server.items()} == {
        "trainable": 1,
        "statistics": 0,
        "constants": 0,
    }
    assert {name: len(part) for name, part in client.items()} == {"trainable": 4, "other": 2}
    assert partition.merge_states(server, client) == values
    assert list(partition.update(values)) == ["trainable", "statistics"]


def test_a_variance_is_known_by_its_layer_and_not_by_its_name():
    images = tf.keras.Input([4])
    features = tf.keras.layers.Normalization(name="scale")(images)
    features = tf.keras.layers.Dense(2, name="variance_head")(features)
    features = tf.keras.layers.BatchNormalization(name="bn")(features)
    weights = WeightPartition.of(tf.keras.Model(images, features), []).weights
    assert [(w.layer, w.statistic) for w in weights if w.statistic] == [
        ("scale", Statistic.MEAN),
        ("scale", Statistic.VARIANCE),
        ("bn", Statistic.MEAN),
        ("bn", Statistic.VARIANCE),
    ]


class TestLayersInLayers:
    """An encoder within the model, and a head that is used by two branches."""

    def _model(self):
        inputs = tf.keras.Input([4])
        encoder = tf.keras.Sequential(
            [
                tf.keras.Input([4]),
                tf.keras.layers.Dense(3, name="inner"),
                tf.keras.layers.BatchNormalization(name="norm"),
            ],
            name="encoder",
        )
        features = encoder(inputs)
        return tf.keras.Model(inputs, tf.keras.layers.Dense(2, name="head")(features))

    def test_an_inner_layer_can_be_private_alone(self):
        partition = WeightPartition.of(self._model(), ["norm"])
        private = {w.name for w in partition.weights if w.group.value.startswith("private")}
        assert private == {f"norm/{n}:0" for n in ("gamma", "beta", "moving_mean",
                                                   "moving_variance")}  # fmt: skip
        assert {w.layer for w in partition.weights} == {"encoder", "head"}

    def test_a_frozen_inner_layer_is_constant_in_a_layer_that_trains(self):
        model = self._model()
        model.get_layer("encoder").get_layer("norm").trainable = False
        groups = _groups(model, [])
        assert groups["norm/gamma:0"] is groups["norm/moving_mean:0"] is Group.SHARED_CONSTANTS
        assert groups["inner/kernel:0"] is Group.SHARED_TRAINABLE

    def test_a_weight_outside_layers_is_the_models_and_shared(self):
        class WithScale(tf.keras.Model):
            def __init__(self):
                super().__init__(name="scaled")
                self.dense = tf.keras.layers.Dense(1, name="dense")
                self.scale = self.add_weight("scale", [])

            def call(self, inputs):
                return self.scale * self.dense(inputs)

        model = WithScale()
        model(tf.zeros([1, 2]))
        (scale,) = [w for w in WeightPartition.of(model, ["dense"]).weights if w.shape == ()]
        assert (scale.layer, scale.group) == ("scaled", Group.SHARED_TRAINABLE)


def test_a_private_name_of_two_layers_is_refused():
    inputs = tf.keras.Input([4])
    inner = [
        tf.keras.Sequential([tf.keras.layers.Dense(2, name="inner")], name=name)(inputs)
        for name in ("a", "b")
    ]
    with pytest.raises(InputError, match="found several layers named 'inner'"):
        WeightPartition.of(tf.keras.Model(inputs, inner), ["inner"])


class TestSharedWeights:
    """A private layer must not move a weight that others average."""

    def _tied(self):
        class Tied(tf.keras.layers.Layer):
            def __init__(self, dense, **kwargs):
                super().__init__(**kwargs)
                self.dense_kernel = dense.kernel

            def call(self, inputs):
                return tf.matmul(inputs, self.dense_kernel, transpose_b=True)

        inputs = tf.keras.Input([4])
        dense = tf.keras.layers.Dense(3, name="dense", use_bias=False)
        features = dense(inputs)
        return tf.keras.Model(inputs, Tied(dense, name="tied")(features))

    def test_one_private_layer_of_two_that_share_is_refused(self):
        with pytest.raises(InputError, match="'tied' shares dense/kernel:0 with .* 'dense'"):
            WeightPartition.of(self._tied(), ["tied"])

    def test_both_may_be_private(self):
        assert _groups(self._tied(), ["tied", "dense"]) == {
            "dense/kernel:0": Group.PRIVATE_TRAINABLE
        }

    def test_a_branch_with_an_encoder_that_another_branch_averages_is_refused(self):
        inputs = tf.keras.Input([4])
        encoder = tf.keras.layers.Dense(3, name="encoder", use_bias=False)
        branches = [tf.keras.Sequential([encoder], name=name)(inputs) for name in ("a", "b")]
        model = tf.keras.Model(inputs, branches)
        with pytest.raises(InputError, match="'a' shares encoder/kernel:0 with .* 'b'"):
            WeightPartition.of(model, ["a"])
        assert set(_groups(model, ["encoder"]).values()) == {Group.PRIVATE_TRAINABLE}
