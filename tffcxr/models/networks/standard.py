"""The "standard" convolutional network: three convolutional layers and one dense layer.

CheXViz (arXiv:2211.06212) calls it "a standard, naive 3-layer CNN" and gives no widths. Here they
are 16, 32 and 64 filters of 3x3, about half the work of twice as many. Group norm
(arXiv:1803.08494) is an addition: without any norm the loss on faint opacities does not move for
the first epochs, and batch norm would bring moving statistics into a federation of sites that
differ.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tffcxr.models.networks.architecture import Architecture

MINIMUM_IMAGE_SIZE = 16
GRADCAM_LAYER = "relu3"

_FILTERS = (16, 32, 64)
_GROUPS = 8
_MOST_CELLS = 12
_FEATURES = 128


def trunk(image_size: int) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 128].

    Each stage is convolution, pooling, norm, ReLU: pooled maps are a fraction of the work for the
    norm. The last feature maps have 6x6 to 12x12 cells whatever the image size, so that the
    dense layer sees where a feature is (a pneumothorax is told by where the lung markings end,
    which a global average forgets) and what it sees does not shrink to texture in large images.
    At 64 or 128 pixels they have 8x8 cells and the block 547,936 parameters.
    """
    layers = tf.keras.layers
    images = tf.keras.Input((image_size, image_size, 1), name="images")
    x = layers.Rescaling(4.0, offset=-2.0, name="rescale")(images)  # about mean 0, deviation 1
    windows = _pooling_windows(image_size)
    for stage, (filters, window) in enumerate(zip(_FILTERS, windows), start=1):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            kernel_initializer="he_normal",
            name=f"conv{stage}",
        )(x)
        x = layers.MaxPooling2D(window, name=f"pool{stage}")(x)  # [B, h / window, ., filters]
        x = layers.GroupNormalization(_GROUPS, name=f"norm{stage}")(x)
        x = layers.ReLU(name=f"relu{stage}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(_FEATURES, activation="relu", kernel_initializer="he_normal", name="features")(
        x
    )
    return tf.keras.Model(images, x, name="standard")


def _pooling_windows(image_size: int) -> tuple[int, ...]:
    """2 for every stage, or 4 from the first on until few enough cells are left."""
    windows = [2] * len(_FILTERS)
    for stage in range(len(windows)):
        if image_size // math.prod(windows) > _MOST_CELLS:
            windows[stage] = 4
    return tuple(windows)


ARCHITECTURES = {"standard": Architecture(trunk, MINIMUM_IMAGE_SIZE, GRADCAM_LAYER)}
