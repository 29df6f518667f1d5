"""What a module of this package says of each network in it: `ARCHITECTURES`, by its name."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from typing import Any

import tensorflow as tf

TASK_LAYER = "task"


# Small weights: at first every finding, or pixel, is as likely as not, so the first updates are not
# spent on taking back a confident guess. float32 for the loss, whatever the trunk's precision.
def _task_options() -> dict[str, Any]:
    initializer = tf.keras.initializers.RandomNormal(stddev=0.01)
    return {"kernel_initializer": initializer, "dtype": "float32", "name": TASK_LAYER}


def findings(outputs: int) -> tf.keras.layers.Layer:
    """The task block of a classifier: a logit per finding or class."""
    return tf.keras.layers.Dense(outputs, **_task_options())


def pixels(kernel_size: int) -> Callable[[int], tf.keras.layers.Layer]:
    """The task block of a segmenter: logits of every pixel, by a convolution of that size."""

    def layer(outputs: int) -> tf.keras.layers.Layer:
        return tf.keras.layers.Conv2D(outputs, kernel_size, padding="same", **_task_options())

    return layer


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network and its task block.

    Attributes:
      trunk: from the image size in pixels to the model without the task block.
      minimum_image_size: in pixels; of a segmenter, what the size must be a multiple of.
      gradcam_layer: the layer whose feature maps Grad-CAM weighs.
      task_layer: from the number of outputs to the task block.
      takes_channels: whether `trunk` has an argument for more channels than one.
      takes_weights: whether `trunk` has an argument `weights`, which "imagenet" makes download
        those of its encoder.
      takes_stem: whether `trunk` has an argument `stem`, see `stem.Stem`.
    """

    trunk: Callable[..., tf.keras.Model]
    minimum_image_size: int
    gradcam_layer: str
    task_layer: Callable[[int], tf.keras.layers.Layer] = findings
    takes_channels: bool = False
    takes_weights: bool = False
    takes_stem: bool = False
