"""What a model costs, from its layers' shapes."""

import numpy as np
import tensorflow as tf

_KINDS = (tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D, tf.keras.layers.Dense)


def parameters(weights):
    """The number of values in weights."""
    return sum(int(np.prod(weight.shape)) for weight in weights)


def multiply_adds(model):
    """Of the convolutions and dense layers, for one image; norms and sums are not counted.

    A kernel's every value is used once per output position, whatever the groups.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, _KINDS):
            kernel = getattr(layer, "depthwise_kernel", None)
            kernel = layer.kernel if kernel is None else kernel
            positions = np.prod(layer.output_shape[1:-1], dtype=int)  # 1 of a dense layer
            total += int(positions) * parameters([kernel])
    return total
