"""How a grey image enters a network that was trained on colour images.

The grey value is repeated to three channels, each is normalised as the library that trained the
weights normalises it, and the first convolution and pooling pad as that library pads. Keras' "same"
gives a stride of 2 on an even number of pixels one row more at the end than at the start; Caffe,
PyTorch and `tf.keras.applications` pad both ends alike, so that the window is one pixel further
left. Weights of the one do not give the features of the other, so the weights decide.
"""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
from typing import Any

import tensorflow as tf

# Mean and deviation of ImageNet's red, green and blue in 0..1, as PyTorch and Keras subtract them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
# Caffe's mean of blue, green and red in 0..255; nothing is divided.
_CAFFE_MEAN = (103.939, 116.779, 123.68)

NORMALISE_PREFIX = "normalise_"
# Pixels at each end of the layers that keras-cv pads as "same" at a stride of 2.
_PADDED = {"conv1_conv": 3, "pool1": 1, "pool1_pool": 1}


@dataclasses.dataclass(frozen=True)
class Stem:
    """A rule for grey images in 0..1.

    Attributes:
      name: says in the layers' names, and so in every file of weights, which rule a network has.
      scale: what multiplies each of the three channels.
      offset: what is then added, in the same order.
      symmetric: whether the first convolution and pooling pad both ends alike; otherwise "same".
    """

    name: str
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)
    symmetric: bool = False

    def normalise(self, rgb: tf.Tensor) -> tf.Tensor:
        """Maps [B, S, S, 3] in 0..1 to the same shape, by a layer unless nothing changes."""
        if self == PLAIN:
            return rgb
        name = f"{NORMALISE_PREFIX}{self.name}"
        return tf.keras.layers.Rescaling(list(self.scale), list(self.offset), name=name)(rgb)

    def call(self, layer: tf.keras.layers.Layer, inputs: Any) -> Any:
        """Calls a layer of keras-cv's backbone, or what pads as this stem says, see `replay`."""
        if not self.symmetric or layer.name not in _PADDED:
            return layer(inputs)
        pad = tf.keras.layers.ZeroPadding2D(_PADDED[layer.name], name=f"{layer.name}_pad")
        # The pooling comes after a ReLU, so that zeros change no maximum.
        return type(layer).from_config({**layer.get_config(), "padding": "valid"})(pad(inputs))


PLAIN = Stem("plain")  # keras-cv, and every network of random weights.
IMAGENET = Stem(
    "imagenet",
    tuple(1 / deviation for deviation in IMAGENET_DEVIATION),
    tuple(-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION)),
    symmetric=True,
)
CAFFE = Stem("caffe", (255.0,) * 3, tuple(-mean for mean in _CAFFE_MEAN), symmetric=True)
# torchxrayvision: -1024..1024.
XRAYVISION = Stem("xrayvision", (2048.0,) * 3, (-1024.0,) * 3, symmetric=True)

STEMS = {stem.name: stem for stem in (PLAIN, IMAGENET, CAFFE, XRAYVISION)}


def of_layers(names: Iterable[str]) -> Stem:
    """The stem of a network of this project, by the names of its layers."""
    for name in names:
        if name.startswith(NORMALISE_PREFIX):
            return STEMS.get(name.removeprefix(NORMALISE_PREFIX), PLAIN)
    return PLAIN
