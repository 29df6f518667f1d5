"""Clients of a few numbers, and models of a few weights."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import tffcxr


def numbers(images: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs float32 [N, 2] and labels float32 [N, 1], which their sum decides."""
    inputs = np.random.default_rng(seed).normal(shift, 1.0, (images, 2)).astype(np.float32)
    return inputs, (inputs.sum(1, keepdims=True) > shift).astype(np.float32)


def dataset(images: int = 12, seed: int = 0, shift: float = 0.0) -> tf.data.Dataset:
    """The same in batches of 4, in their order."""
    return tf.data.Dataset.from_tensor_slices(numbers(images, seed, shift)).batch(4)


def clients():
    """North with 12 images and south with 8."""
    return tffcxr.clients_from_datasets({"north": dataset(), "south": dataset(8, 1, 0.5)})


def model() -> tf.keras.Model:
    """A hidden layer and a head, with the same weights every time."""
    return tf.keras.Sequential(
        [
            tf.keras.Input([2]),
            tf.keras.layers.Dense(
                3, "tanh", kernel_initializer=tf.keras.initializers.GlorotUniform(1), name="hidden"
            ),
            tf.keras.layers.Dense(
                1, "sigmoid", kernel_initializer=tf.keras.initializers.GlorotUniform(2), name="head"
            ),
        ],
        name="toy",
    )


def relu_head() -> tf.keras.layers.Layer:
    """A head of the same shape, with another activation."""
    return tf.keras.layers.Dense(1, "relu", name="head")


def linear() -> tf.keras.Model:
    """output = w1 x1 + w2 x2, with zeros at first."""
    return tf.keras.Sequential(
        [
            tf.keras.Input([2]),
            tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="linear"),
        ]
    )


class TwoOutputs(tf.keras.Model):
    """A subclass with two outputs in a dict: a risk and one of three kinds."""

    def __init__(self, units: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.hidden = tf.keras.layers.Dense(units, "tanh", name="hidden")
        self.risk = tf.keras.layers.Dense(1, name="risk")
        self.kind = tf.keras.layers.Dense(3, "softmax", name="kind")

    def call(self, inputs):
        features = self.hidden(inputs)
        return {"risk": self.risk(features), "kind": self.kind(features)}


def functional_two_outputs() -> tf.keras.Model:
    """The same network as a functional model, whose outputs are a list."""
    inputs = tf.keras.Input([2])
    features = tf.keras.layers.Dense(3, "tanh", name="hidden")(inputs)
    risk = tf.keras.layers.Dense(1, name="risk")(features)
    return tf.keras.Model(
        inputs, [risk, tf.keras.layers.Dense(3, "softmax", name="kind")(features)]
    )


def two_outputs_dataset(images: int, seed: int) -> tf.data.Dataset:
    """Labels by the names of the outputs."""
    inputs, _ = numbers(images, seed)
    kinds = (inputs[:, 0] > 0).astype(np.int64) + (inputs[:, 1] > 0)
    labels = {"risk": inputs[:, :1], "kind": kinds}
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(4)


TWO_LOSSES = {"risk": "mse", "kind": "sparse_categorical_crossentropy"}
