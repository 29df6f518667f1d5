"""A user's own model, trained in one call."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
import tensorflow as tf

from tests.own_model import toy
import tffcxr
from tffcxr.errors import InputError, RunError


def _train(model=None, clients=None, **settings):
    settings = {"loss": "binary_crossentropy", "rounds": 2, "verbose": False, **settings}
    return tffcxr.train(model or toy.model(), clients or toy.clients(), **settings)


@pytest.fixture(scope="module")
def example():
    """The result of a training with a private head, and the model before it."""
    model = toy.model()
    before = model.get_weights()
    result = _train(model, metrics=["auc"], private=["head"], learning_rate=0.1)
    for now, then in zip(model.get_weights(), before):  # The user's own is left as it is.
        np.testing.assert_array_equal(now, then)
    return result


def test_the_history_has_a_row_per_round(example):
    assert list(example.history.columns) == [
        "round", "seconds", "images", "clients", "failed_clients", "learning_rate", "train_loss",
        "training/loss", "training/auc",
    ]  # fmt: skip
    assert example.history["round"].tolist() == [1, 2]
    assert example.history["images"].tolist() == [20, 20]
    assert example.client_history["client"].tolist() == ["north", "south"] * 2
    assert example.client_history["status"].tolist() == ["ok"] * 4


def test_models_share_all_but_the_private_head(example):
    north, south = example.model("north"), example.model("south")
    np.testing.assert_array_equal(
        north.get_layer("hidden").kernel.numpy(), south.get_layer("hidden").kernel.numpy()
    )
    assert not np.allclose(
        north.get_layer("head").kernel.numpy(), south.get_layer("head").kernel.numpy()
    )


def test_metrics_are_of_the_images_of_all_clients_together(example):
    labels, scores = [], []
    for client, arguments in {"north": (12, 0, 0.0), "south": (8, 1, 0.5)}.items():
        inputs, truth = toy.numbers(*arguments)
        labels.append(truth)
        scores.append(example.model(client).predict(inputs, verbose=0))
    expected = sklearn_metrics.roc_auc_score(np.concatenate(labels), np.concatenate(scores))
    # Keras' AUC is that of 200 thresholds.
    assert example.history["training/auc"].iloc[-1] == pytest.approx(expected, abs=0.02)


def test_which_model_must_be_said_where_layers_are_private(example):
    with pytest.raises(InputError, match="the clients north, south, since each has its own head"):
        example.model()
    with pytest.raises(InputError, match="found 'west'"):
        example.model("west")


def test_one_client_trains_as_keras_does():
    """Adam keeps its moments, so that rounds are epochs; L2 is part of the loss."""

    def model():
        made = toy.model()
        made.get_layer("hidden").kernel_regularizer = tf.keras.regularizers.L2(0.1)
        return tf.keras.models.clone_model(made)

    start = model()
    result = _train(
        start,
        tffcxr.clients_from_datasets({"north": toy.dataset()}),
        optimizer=tf.keras.optimizers.Adam(0.05),
        keep_optimizer=True,
        local_epochs=2,
    )
    start.compile(tf.keras.optimizers.Adam(0.05), "binary_crossentropy")
    history = start.fit(toy.dataset(), epochs=4, shuffle=False, verbose=0).history["loss"]
    for ours, keras in zip(result.model().get_weights(), start.get_weights()):
        np.testing.assert_allclose(ours, keras, rtol=1e-4, atol=1e-5)
    assert result.history["train_loss"].tolist() == pytest.approx(
        [np.mean(history[:2]), np.mean(history[2:])], rel=1e-4
    )


def test_a_step_with_sample_weights_by_hand():
    """Loss (3 (0 - 2)^2 + 1 (0 - 4)^2) / 2; gradient -(3 * 2 * 2 * 1 + 2 * 4 * 2) / 2 = -14."""
    data = tf.data.Dataset.from_tensors(([[1.0, 0.0], [2.0, 0.0]], [[2.0], [4.0]], [3.0, 1.0]))
    result = _train(
        toy.linear(),
        tffcxr.clients_from_datasets({"only": data}),
        loss="mse",
        optimizer="sgd",
        learning_rate=0.01,
        rounds=1,
    )
    assert result.history["train_loss"].tolist() == pytest.approx([14.0])
    assert result.model().get_weights()[0][:, 0] == pytest.approx([0.14, 0.0])


def test_the_order_of_the_clients_changes_nothing():
    datasets = {"a": toy.dataset(8, 3), "b": toy.dataset(4, 4), "c": toy.dataset(12, 5)}
    results = [
        _train(clients=tffcxr.clients_from_datasets(dict(order)), rounds=1)
        for order in (datasets.items(), reversed(datasets.items()))
    ]
    for one, other in zip(*(result.model().get_weights() for result in results)):
        np.testing.assert_array_equal(one, other)


class TestTwoOutputs:
    def test_a_subclass_with_outputs_in_a_dict(self):
        clients = tffcxr.clients_from_datasets(
            {"north": toy.two_outputs_dataset(8, 0), "south": toy.two_outputs_dataset(4, 1)}
        )
        result = _train(
            toy.TwoOutputs(4),
            clients,
            loss=toy.TWO_LOSSES,
            metrics={"kind": ["accuracy"]},
            private=["kind"],
            validation=toy.two_outputs_dataset(8, 2),
            clients_per_round=1,
        )
        assert list(result.history.columns[7:]) == [
            "validation/loss", "validation/kind_loss", "validation/risk_loss",
            "validation/kind_accuracy",
        ]  # fmt: skip
        model = result.model("north")
        assert isinstance(model, toy.TwoOutputs)
        assert model(np.zeros([1, 2], np.float32))["kind"].shape == (1, 3)

    def test_a_client_that_takes_no_part_keeps_its_private_layer(self):
        clients = tffcxr.clients_from_datasets(
            {"north": toy.two_outputs_dataset(8, 0), "south": toy.two_outputs_dataset(4, 1)}
        )
        model = toy.functional_two_outputs()
        (result,) = tffcxr.Training(
            model, clients, loss=toy.TWO_LOSSES, rounds=1, clients_per_round=1, private=["kind"],
            verbose=False,
        )  # fmt: skip
        (trained,) = result.client_history["client"]
        absent = {"north": "south", "south": "north"}[trained]
        kernel = model.get_layer("kind").kernel.numpy()
        np.testing.assert_array_equal(result.model(absent).get_layer("kind").kernel.numpy(), kernel)
        assert not np.allclose(result.model(trained).get_layer("kind").kernel.numpy(), kernel)


def test_one_model_for_all_is_measured_once():
    result = _train(metrics=["true_positives"], validation=toy.dataset(8, 9), rounds=1)
    inputs, labels = toy.numbers(8, 9)
    found = (result.model().predict(inputs, verbose=0) > 0.5) & (labels == 1)
    assert result.history["validation/true_positives"].tolist() == [found.sum()]


class TestCopies:
    """A model that Keras copies otherwise than it is must not be trained in its place."""

    def test_a_frozen_layer_inside_another_keeps_its_place(self):
        class Block(tf.keras.layers.Layer):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self.first = tf.keras.layers.Dense(2, name="first")
                self.second = tf.keras.layers.Dense(2, "tanh", name="second")

            def call(self, inputs):
                return self.second(self.first(inputs))

        model = tf.keras.Sequential(
            [tf.keras.Input([2]), Block(name="block"), tf.keras.layers.Dense(1, "sigmoid")]
        )
        block = model.get_layer("block")
        block.first.trainable = False
        copy = _train(model, rounds=1).model().get_layer("block")
        np.testing.assert_array_equal(copy.first.kernel.numpy(), block.first.kernel.numpy())
        assert not np.allclose(copy.second.kernel.numpy(), block.second.kernel.numpy())

    def test_one_with_other_outputs_is_refused(self):
        class Activated(tf.keras.Model):
            def __init__(self, activation=tf.nn.relu, **kwargs):
                super().__init__(name="activated", **kwargs)
                self.dense = tf.keras.layers.Dense(3, activation)

            def call(self, inputs):
                return tf.reduce_mean(self.dense(inputs), -1, keepdims=True)

        with pytest.raises(InputError, match="a copy that gives other outputs; a subclass"):
            _train(Activated(tf.nn.tanh), loss="mse", rounds=1)

    def test_a_loss_that_is_not_copied_is_refused(self):
        model = toy.model()
        head = model.get_layer("head")
        head.add_loss(lambda: tf.reduce_sum(head.kernel**2))
        with pytest.raises(InputError, match="a loss that a copy has not, by add_loss outside"):
            _train(model)

    def test_a_constraint_is_refused_since_an_average_would_not_keep_it(self):
        model = tf.keras.Sequential(
            [tf.keras.Input([2]), tf.keras.layers.Dense(1, kernel_constraint="max_norm")]
        )
        with pytest.raises(InputError, match="weights without constraints, .* found one of dense"):
            _train(model)


def test_layers_with_whole_numbers_and_half_precision_are_trained():
    scale = tf.keras.layers.Normalization(name="scale")
    scale.adapt(toy.numbers(8, 0)[0])
    hidden = tf.keras.layers.Dense(2, "tanh", dtype="mixed_bfloat16")
    head = tf.keras.layers.Dense(1, "sigmoid", dtype="float32")
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        result = _train(tf.keras.Sequential([tf.keras.Input([2]), scale, hidden, head]), rounds=1)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    copy = result.model().get_layer("scale")
    assert int(copy.count) == int(scale.count)
    np.testing.assert_allclose(copy.adapt_variance.numpy(), scale.adapt_variance.numpy())


def test_a_metric_that_cannot_be_added_up_over_clients_is_not_a_number():
    class Largest(tf.keras.metrics.Metric):
        def __init__(self, name="largest", **kwargs):
            super().__init__(name=name, **kwargs)
            self.value = self.add_weight("value", initializer="zeros")

        def update_state(self, labels, outputs, sample_weight=None):
            self.value.assign(tf.maximum(self.value, tf.reduce_max(outputs)))

        def result(self):
            return self.value

    history = _train(metrics=[Largest()], rounds=1).history
    assert history["training/largest"].isna().all()
    one = tffcxr.clients_from_datasets({"north": toy.dataset()})
    assert 0 < _train(clients=one, metrics=[Largest()], rounds=1).history["training/largest"][0] < 1


def test_a_client_that_has_no_batch_left_is_reported():
    batches = iter(list(toy.dataset(8, 1)))
    spec = toy.dataset().element_spec
    once = tf.data.Dataset.from_generator(lambda: batches, output_signature=spec)
    clients = tffcxr.clients_from_datasets({"north": toy.dataset(), "south": once})
    result = _train(clients=clients, rounds=2)
    assert result.client_history["status"].tolist()[-2:] == ["ok", "no images"]
    assert result.history["failed_clients"].tolist()[-1] == 1


def test_a_callback_ends_the_training():
    seen = []

    def enough(result):
        seen.append(result.rounds)
        return result.rounds < 2

    assert _train(rounds=5, callbacks=[enough]).rounds == 2
    assert seen == [1, 2]


def test_the_learning_rate_may_be_a_function_of_the_round():
    history = _train(learning_rate=lambda number: 0.1 / number).history
    assert history["learning_rate"].tolist() == pytest.approx([0.1, 0.05])


class TestResuming:
    def test_more_rounds_in_the_same_folder_continue(self, tmp_path):
        settings = {"private": ["head"], "clients_per_round": 1, "learning_rate": 0.1}
        whole = _train(rounds=3, **settings)
        _train(rounds=1, output_dir=tmp_path, **settings)
        resumed = _train(rounds=3, output_dir=tmp_path, **settings)
        again = _train(rounds=3, output_dir=tmp_path, **settings)
        for result in (resumed, again):
            for client in ("north", "south"):
                for ours, expected in zip(
                    result.model(client).get_weights(), whole.model(client).get_weights()
                ):
                    np.testing.assert_array_equal(ours, expected)
            columns = ["round", "images", "train_loss"]
            assert result.history[columns].equals(whole.history[columns])
            assert result.client_history.equals(whole.client_history)

    def test_another_training_is_refused(self, tmp_path):
        _train(rounds=1, output_dir=tmp_path)
        for other, name in (
            ({"private": ["head"]}, "private"),
            ({"loss": "mse"}, "loss"),
            ({"learning_rate": 0.5}, "learning_rate"),
            ({"optimizer": "sgd"}, "optimizer"),
            ({"model": tf.keras.Sequential(toy.model().layers[:1] + [toy.relu_head()])}, "model"),
        ):
            with pytest.raises(InputError, match=f"^output_dir: .* holds a run with {name}="):
                _train(rounds=2, output_dir=tmp_path, **other)

    def test_a_folder_is_free_again_after_a_callback_has_failed(self, tmp_path):
        def fail(result):
            raise ZeroDivisionError

        for _ in range(2):
            with pytest.raises(ZeroDivisionError) as kept:
                _train(rounds=5, output_dir=tmp_path, callbacks=[fail])
        assert kept.tb is not None

    def test_a_model_that_is_made_again_may_have_other_automatic_names(self, tmp_path):
        def model():
            dense = tf.keras.layers.Dense(1, "sigmoid", kernel_initializer="zeros")
            return tf.keras.Sequential([tf.keras.Input([2]), dense])

        _train(model(), rounds=1, output_dir=tmp_path)
        assert _train(model(), rounds=2, output_dir=tmp_path).rounds == 2


class TestFailures:
    def test_a_client_whose_weights_are_not_finite_is_left_out(self, capsys):
        spoilt = toy.dataset(8, 1).map(lambda inputs, labels: (inputs * np.nan, labels))
        clients = tffcxr.clients_from_datasets({"north": toy.dataset(), "south": spoilt})
        result = _train(clients=clients, rounds=1, verbose=True)
        assert result.history["failed_clients"].tolist() == [1]
        assert result.client_history["status"].tolist() == ["ok", "layer hidden is not finite"]
        assert "left out south: layer hidden is not finite" in capsys.readouterr().err
        assert all(np.isfinite(weight).all() for weight in result.model().get_weights())

    def test_a_dataset_that_fails_is_named(self):
        def fail(inputs, labels):
            with tf.control_dependencies([tf.debugging.assert_less(inputs, -9.0, "broken file")]):
                return tf.identity(inputs), labels

        broken = toy.dataset(8, 1).concatenate(toy.dataset(4).map(fail))
        clients = tffcxr.clients_from_datasets({"north": toy.dataset(), "south": broken})
        with pytest.raises(RunError, match="client south: .*broken file"):
            _train(clients=clients, rounds=1)


def test_random_layers_draw_other_numbers_at_every_step_and_the_same_again():
    inputs = tf.keras.Input([2])
    noisy = tf.keras.layers.GaussianNoise(1.0)(tf.keras.layers.Dropout(0.5)(inputs))
    outputs = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(noisy)
    model = tf.keras.Model(inputs, outputs)
    data = tf.data.Dataset.from_tensors((tf.ones([4, 2]), tf.zeros([4, 1])))
    clients = tffcxr.clients_from_datasets({"north": data, "south": data.concatenate(data)})
    losses = [
        _train(model, clients, loss="mse", optimizer="sgd", learning_rate=1e-4)
        .client_history["train_loss"]
        .tolist()
        for _ in range(4)  # The two layers' states could change places.
    ]
    assert losses[0] == losses[1] == losses[2] == losses[3]
    assert len(set(losses[0])) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"private": ["haed"]}, r"layers with weights are hidden, head; found 'haed' .*head"),
        ({"private": "head"}, "private: expected a list of names of layers, found 'head'"),
        ({"los": "mse"}, r"train: expected one of the settings .* found 'los' \(did you mean loss"),
        ({"loss": None}, "model 'toy': expected a loss, such as .* found none"),
        ({"loss": "binary"}, "loss: expected Keras' losses, .* found 'binary'"),
        ({"metrics": ["acu"]}, "metrics: expected Keras' metrics, such as 'auc', found 'acu'"),
        ({"optimizer": "adm"}, "optimizer: expected one of .* found 'adm'"),
        ({"optimizer": tf.keras.optimizers.RMSprop()}, "expected Keras' SGD, .* found RMSprop"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above 0, found 0.0"),
        ({"learning_rate": lambda number: 1.5 - number}, "learning_rate of round 2: .* -0.5"),
        (
            {"learning_rate": tf.keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)},
            "found ExponentialDecay, which counts steps",
        ),
        ({"aggregator": "dp"}, "aggregator: expected one of mean, robust.* found 'dp'"),
        ({"server_optimizer": 3}, "server_optimizer: expected one of average, .* found int"),
        ({"weighting": "size"}, "weighting: expected one of examples, uniform, found 'size'"),
        ({"rounds": 0}, "rounds: expected a whole number from 1, found 0"),
        ({"rounds": 2.0}, "rounds: expected a whole number from 1, found 2.0"),
        ({"clients_per_round": 3}, "expected a count from 1 to 2, found 3"),
        ({"validation": {"west": toy.dataset()}}, "clients north, south, found 'west'"),
        ({"clients_per_round": "all"}, "expected None for all, a count or .* found 'all'"),
        ({"callbacks": [3]}, r"callbacks: expected functions of a result, found \(3,\)"),
        (
            {"validation": toy.numbers(4, 0)},
            "validation: expected a .* found tuple",
        ),
        ({"validation": toy.dataset().take(0)}, "expected batches, found an empty dataset"),
        ({"validation": toy.dataset().repeat()}, "a dataset that ends, found one with .repeat"),
        ({"metrics": [tf.keras.metrics.AUC(name="loss")]}, "different names, other than loss"),
        ({"clients": {"north": toy.dataset()}}, "expected those of tffcxr.clients_from_datasets"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(InputError, match=message) as refused:
        _train(**settings)
    assert "\n" not in str(refused.value)
