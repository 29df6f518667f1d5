"""Clients of datasets and of folders, and what does not fit them."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from tests.own_model import toy
import tffcxr
from tffcxr.errors import InputError

CLASSES = ("Normal", "Pneumonia", "COVID-19")
FOLDER = "testdata/classes"


def _of(**datasets):
    return tffcxr.clients_from_datasets(datasets)


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({}, "expected at least one of datasets, found none"),
        ([toy.dataset()], "expected a mapping from names to datasets, found list"),
        ({"a": toy.dataset().repeat()}, "'a': expected a dataset that ends, found one with"),
        ({"north": toy.dataset(), "south": toy.dataset().take(0)}, "'south': .* found an empty"),
        (
            {"north": toy.dataset().unbatch().map(lambda x, y: (x, y[0]))},
            "single .* add .batch",
        ),
        ({"north": np.zeros(3)}, "'north': expected a tf.data.Dataset .* found ndarray"),
        ({"north": toy.dataset().map(lambda x, y: x)}, r"\(inputs, labels\) .* found float32 \[\?"),
        (
            {"north": toy.dataset(), "south": toy.dataset().map(lambda x, y: (x, y[:, 0]))},
            r"'south': expected batches like those of client 'north', \(float32 \[\?, 2\], float32 "
            r"\[\?, 1\]\); found \(float32 \[\?, 2\], float32 \[\?\]\)",
        ),
    ],
)
def test_datasets_that_cannot_be_clients_are_refused(datasets, message):
    with pytest.raises(InputError, match=message):
        tffcxr.clients_from_datasets(datasets)


def test_batches_of_other_lengths_and_of_other_order_of_names_are_the_same():
    def named(*names):
        inputs, labels = toy.numbers(8, 0)
        values = {"a": inputs, "b": inputs + 1.0}
        return tf.data.Dataset.from_tensor_slices(({name: values[name] for name in names}, labels))

    clients = _of(
        north=named("a", "b").batch(4, drop_remainder=True), south=named("b", "a").batch(3)
    )
    inputs = [tf.keras.Input([2], name=name) for name in ("b", "a")]
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(inputs[0] - inputs[1]))
    result = tffcxr.train(model, clients, loss="mse", rounds=1, verbose=False)
    assert result.history["images"].tolist() == [16]


@pytest.mark.parametrize(
    ("model", "loss", "labels", "message"),
    [
        (toy.model, "mse", np.zeros([4, 3]), r"shape \[\?, 1\] for the output .*; found \[\?, 3\]"),
        (
            toy.functional_two_outputs,
            {"risk": "mse", "kind": "mse"},
            {"risk": np.zeros([4, 1]), "kind": np.zeros([4, 1])},
            r"shape \[\?, 3\] for output 'kind', whose loss is mse; found \[\?, 1\]",
        ),
        (
            toy.functional_two_outputs,
            ["mse", tf.keras.losses.SparseCategoricalCrossentropy()],
            (np.zeros([4, 1]), np.zeros([4, 3], int)),
            r"shape \[\?\] of class numbers for output 'kind', .* found \[\?, 3\]",
        ),
        (toy.functional_two_outputs, "mse", np.zeros([4, 1]), "each output, risk, kind; found one"),
        (
            toy.functional_two_outputs,
            {"rsk": "mse"},
            (np.zeros([4, 1]), np.zeros([4, 3])),
            "names of outputs, risk, kind; found 'rsk'",
        ),
    ],
)
def test_labels_of_another_shape_are_refused_though_keras_would_repeat_them(
    model, loss, labels, message
):
    clients = _of(north=tf.data.Dataset.from_tensors((np.zeros([4, 2], np.float32), labels)))
    with pytest.raises(InputError, match=message):
        tffcxr.train(model(), clients, loss=loss, rounds=1, verbose=False)


def test_inputs_of_another_shape_are_refused():
    clients = _of(north=toy.dataset().map(lambda x, y: (tf.concat([x, x], 1), y)))
    with pytest.raises(InputError, match=r"take the clients' inputs, float32 \[4, 4\]; found"):
        tffcxr.train(toy.model(), clients, loss="mse", rounds=1, verbose=False)


def test_a_private_layer_that_shares_a_weight_is_refused():
    inputs = tf.keras.Input([2])
    encoder = tf.keras.layers.Dense(1, name="encoder")
    branches = [tf.keras.Sequential([encoder], name=name)(inputs) for name in ("left", "right")]
    model = tf.keras.Model(inputs, branches[0] + branches[1])
    with pytest.raises(InputError, match="'left' shares encoder/kernel:0 with the layer 'right'"):
        tffcxr.train(model, toy.clients(), loss="mse", rounds=1, verbose=False, private=["left"])


def test_a_model_that_keras_cannot_copy_is_refused():
    class Wrapped(tf.keras.Model):
        def __init__(self, layer):
            super().__init__(name="wrapped")
            self.layer = layer

        def call(self, inputs):
            return self.layer(inputs)

    model = Wrapped(tf.keras.layers.Dense(1))
    with pytest.raises(InputError, match="'wrapped': .* can copy.* needs `get_config`"):
        tffcxr.train(model, toy.clients(), loss="mse", rounds=1, verbose=False)


def test_a_train_step_of_ones_own_is_refused_since_it_would_not_run():
    class Own(tf.keras.Sequential):
        def train_step(self, data):
            raise NotImplementedError

    with pytest.raises(InputError, match="expected Keras' own train_step, found one in Own"):
        tffcxr.train(Own([tf.keras.layers.Dense(1)]), toy.clients(), loss="mse", verbose=False)


class TestFolders:
    def test_folders_of_classes_become_batches_with_a_column_per_class(self, tmp_path):
        clients = tffcxr.clients_from_folders(
            {"north": FOLDER},
            image_size=16,
            batch_size=2,
            validation_fraction=0.4,
            cache_dir=tmp_path,
        )
        assert clients.labels == CLASSES
        batches = list(clients.train_dataset("north", 1, 1))
        validation = list(clients.validation["north"])
        images, labels = (np.concatenate(part) for part in zip(*batches, *validation))
        assert images.shape == (7, 16, 16, 1)
        assert 0 <= images.min() < images.max() <= 1
        assert labels.sum(0).tolist() == [2, 2, 3]  # Files in the folders.
        assert not clients.test

    def test_chosen_labels_are_trained_on_with_a_keras_model(self):
        clients = tffcxr.clients_from_folders(
            {"north": FOLDER, "south": f"classes:{FOLDER}"},
            image_size=16,
            labels=["covid"],
            validation_fraction=0.4,
            augmentation="flip",
        )
        model = tf.keras.Sequential(
            [
                tf.keras.Input([16, 16, 1]),
                tf.keras.layers.GlobalAveragePooling2D(),
                tf.keras.layers.Dense(1, "sigmoid"),
            ]
        )
        result = tffcxr.train(model, clients, loss="binary_crossentropy", rounds=1, verbose=False)
        assert np.isfinite(result.history["validation/loss"]).all()

    def test_images_with_an_unknown_label_are_left_out(self, caplog):
        with caplog.at_level(logging.WARNING):
            clients = tffcxr.clients_from_folders(
                {"north": "covid_radiography:testdata/covid_radiography"},
                image_size=16,
                labels=["Lung Opacity"],
                validation_fraction=0.0,
            )
        labels = np.concatenate([y for _, y in clients.train_dataset("north", 1, 1)])
        assert set(labels.ravel()) <= {0.0, 1.0}

    @pytest.mark.parametrize(
        ("folder", "settings", "message"),
        [
            (FOLDER, {"labels": ["flu"]}, "client 'north'.*'flu'"),
            ("testdata/nothing", {}, "'north': .* at testdata/nothing, found nothing"),
            (FOLDER, {"labels": "covid"}, "labels: expected a list .* found 'covid'"),
            (FOLDER, {"batch_size": "8"}, "batch_size: expected a whole number, found '8'"),
            (FOLDER, {"augmentation": "turn"}, "augmentation: expected one of none, flip, affine"),
            (FOLDER, {"validation_fraction": 1.0}, "fractions that leave images to train on"),
        ],
    )
    def test_folders_that_do_not_fit_are_refused(self, folder, settings, message):
        with pytest.raises(InputError, match=message):
            tffcxr.clients_from_folders({"north": folder}, image_size=16, **settings)
