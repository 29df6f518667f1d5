"""The "standard" convolutional network: three convolutional layers and one dense layer.

CheXViz (arXiv:2211.06212) calls it "a standard, naive 3-layer CNN" and gives no widths; 32, 64 and
128 filters of 3x3 are the usual ones.
"""

from __future__ import annotations

import tensorflow as tf

MINIMUM_IMAGE_SIZE = 16
GRADCAM_LAYER = "conv3"

_FILTERS = (32, 64, 128)
_GRID = 8
_FEATURES = 128


def trunk(image_size: int) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 128].

    The last feature maps are averaged to at most 8x8 cells and not to one: a pneumothorax is
    told by where the lung markings end, which a global average forgets.
    """
    layers = tf.keras.layers
    images = tf.keras.Input((image_size, image_size, 1), name="images")
    x = layers.Rescaling(4.0, offset=-2.0, name="rescale")(images)  # about mean 0, deviation 1
    for index, filters in enumerate(_FILTERS, start=1):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{index}",
        )(x)
        x = layers.MaxPooling2D(2, name=f"pool{index}")(x)  # [B, S / 2^index, ., filters]
    cell = -(-x.shape[1] // _GRID)
    x = layers.AveragePooling2D(cell, padding="same", name="grid")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(_FEATURES, activation="relu", kernel_initializer="he_normal", name="features")(
        x
    )
    return tf.keras.Model(images, x, name="standard")
