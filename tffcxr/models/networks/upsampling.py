"""Nearest-neighbour upsampling, the "unpooling" of the segmentation models."""

from __future__ import annotations

import tensorflow as tf


def double(maps: tf.Tensor, name: str) -> tf.Tensor:
    """Doubles height and width: each pixel becomes 2x2 equal ones.

    The values are those of `tf.keras.layers.UpSampling2D(2)`. That layer's gradient on a GPU adds
    in an order that changes from run to run, and its operation has no bfloat16 there; copies and
    reshapes have neither flaw, and serialize as Keras' own layers.

    Args:
      maps: [B, H, W, C], H, W and C known.
      name: prefix of the layers' names.

    Returns:
      [B, 2 H, 2 W, C].
    """
    layers = tf.keras.layers
    _, height, width, channels = maps.shape
    x = layers.Concatenate(name=f"{name}_across")([maps, maps])  # [B, H, W, 2 C]
    x = layers.Reshape((height, 2 * width * channels), name=f"{name}_row")(x)
    x = layers.Concatenate(name=f"{name}_down")([x, x])  # [B, H, 2 (2 W C)]
    return layers.Reshape((2 * height, 2 * width, channels), name=f"{name}_maps")(x)
