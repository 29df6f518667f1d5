"""Networks of other packages, with which ours are compared."""

import numpy as np
import tensorflow as tf


def randomise(model, seed=0):
    """Gives biases and batch norm, moving statistics included, values that differ by channel."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            spread = (
                (0.8, 1.5) if "gamma" in weight.name or "variance" in weight.name else (-0.2, 0.2)
            )
            is_random = len(weight.shape) > 1
            values.append(weight.numpy() if is_random else generator.uniform(*spread, weight.shape))
        layer.set_weights(values)
    return model


def grey_images(size):
    """Two random images [2, S, S, 1] in 0..1."""
    return np.random.default_rng(1).random((2, size, size, 1), np.float32)


def difference(model, layer, images, expected):
    """The largest difference of a layer's output from what is expected, relative to its scale."""
    output = tf.keras.Model(model.keras.input, model.keras.get_layer(layer).output)(images)
    expected = np.asarray(expected)
    assert expected.std() > 1e-3
    return np.abs(output - expected).max() / np.abs(expected).max()
