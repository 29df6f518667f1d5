"""Models of a few weights whose training can be followed by hand."""

import collections
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tffcxr.learning import optimizers, process

SCALAR_SPEC = collections.OrderedDict(
    images=tf.TensorSpec([None, 1]), labels=tf.TensorSpec([None, 1])
)
IMAGE_SPEC = collections.OrderedDict(
    images=tf.TensorSpec([None, 8, 8, 1]), labels=tf.TensorSpec([None, 2])
)


def scalar_model() -> tf.keras.Model:
    """output = w * image, with w = 0 at the start."""
    inputs = tf.keras.Input([1])
    dense = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="dense")
    return tf.keras.Model(inputs, dense(inputs))


def image_model() -> tf.keras.Model:
    """Convolution, batch norm, pooling and a task block of two outputs."""
    inputs = features = tf.keras.Input([8, 8, 1])
    features = tf.keras.layers.Conv2D(3, 3, use_bias=False, name="conv")(features)
    features = tf.keras.layers.BatchNormalization(name="bn", momentum=0.8)(features)
    features = tf.keras.layers.ReLU(name="relu")(features)
    features = tf.keras.layers.GlobalAveragePooling2D(name="pool")(features)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(2, name="head")(features))


def squared_error(batch, outputs):
    """Sum of squared errors, number of labels."""
    return (
        tf.reduce_sum(tf.square(outputs - batch["labels"])),
        tf.cast(tf.size(batch["labels"]), tf.float32),
    )


def cross_entropy(batch, outputs):
    """Sum of binary cross-entropies, number of labels."""
    losses = tf.nn.sigmoid_cross_entropy_with_logits(batch["labels"], outputs)
    return tf.reduce_sum(losses), tf.cast(tf.size(losses), tf.float32)


def scalar_process(**options) -> process.FederatedProcess:
    """FedAvg of the scalar model with SGD at rate 0.5, unless told otherwise."""
    options = {
        "private_layers": [],
        "client_optimizer": optimizers.client_optimizer("sgd", 0.5),
        "server_optimizer": optimizers.server_optimizer("average"),
        "learning_rate": 0.5,
        **options,
    }
    return process.build_process(
        scalar_model(),
        [np.zeros([1, 1], np.float32)],
        batch_spec=SCALAR_SPEC,
        loss_fn=squared_error,
        **options,
    )


def image_process(model=None, seed: int = 1, **options) -> process.FederatedProcess:
    """A process of the image model, its task block private unless told otherwise."""
    options = {
        "private_layers": ["head"],
        "client_optimizer": optimizers.client_optimizer("sgd", 0.1),
        "server_optimizer": optimizers.server_optimizer("average"),
        "learning_rate": 0.1,
        **options,
    }
    return process.build_process(
        model or image_model(),
        initial_image_weights(seed),
        batch_spec=IMAGE_SPEC,
        loss_fn=cross_entropy,
        **options,
    )


def initial_image_weights(seed: int = 1) -> list[np.ndarray]:
    """The start of `image_model`, the same at every call."""
    tf.keras.utils.set_random_seed(seed)
    return [weight.numpy() for weight in image_model().weights]


def scalars(targets: Sequence[float], batch: int = 8) -> tf.data.Dataset:
    """Images of value 1 with the given labels."""
    labels = np.array(targets, np.float32)[:, None]
    elements = collections.OrderedDict(images=np.ones_like(labels), labels=labels)
    return tf.data.Dataset.from_tensor_slices(elements).batch(batch)


def pictures(seed: int, images: int = 12, batch: int = 4) -> tf.data.Dataset:
    """Random pictures in 0.5..1; the first label is 1 for the brighter half."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0.5, 1.0, [images, 8, 8, 1]).astype(np.float32)
    pixels *= rng.uniform(0.6, 1.0, [images, 1, 1, 1]).astype(np.float32)
    bright = pixels.mean(axis=(1, 2, 3)) > np.median(pixels.mean(axis=(1, 2, 3)))
    labels = np.stack([bright, rng.integers(0, 2, images)], axis=1).astype(np.float32)
    elements = collections.OrderedDict(images=pixels, labels=labels)
    return tf.data.Dataset.from_tensor_slices(elements).batch(batch)


def client(state, data: tf.data.Dataset) -> collections.OrderedDict:
    """One client's argument of `FederatedProcess.next`."""
    return collections.OrderedDict(state=state, data=data)
