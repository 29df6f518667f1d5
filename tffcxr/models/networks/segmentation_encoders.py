"""Classifiers of the package `segmentation-models` as encoders of segmenters of grey images.

P. Iakubovskii, "Segmentation Models", https://github.com/qubvel/segmentation_models, 2019: ResNet
and SE-ResNet (before each convolution batch norm and ReLU), VGG, DenseNet, MobileNet and
EfficientNet, each with the preprocessing that its ImageNet weights were trained with.

The networks are the package's but for what a federation cannot have:

- Stochastic depth ("drop connect") is left out: its random numbers would make a round depend on
  more than its seed.
- Nearest-neighbour upsampling is that of `upsampling`, whose gradient on a GPU repeats to the bit.
- Layers hold no code. The package reshapes by a function of Python in squeeze and excitation, which
  `files.safe_files` would refuse in a saved model.
- Layers that the package leaves unnamed are numbered within their network. Keras numbers them over
  all networks of a process, but weights are matched, and seeded, by the names of layers.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
import contextlib
import functools
import io
import os
import re
import types
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr.models.networks import backbones, upsampling

SIZE_MULTIPLE = 32  # Encoders halve five times.
# How the names of all layers begin that are not the encoder's; `center_block` stands for the dense
# layers that VGG loses.
DECODER_PREFIXES = ("decoder_", "center_block")

# A round is often a few dozen steps. With the package's 0.99 the moving statistics would still be
# near their start when the first validations use them; 0.9 is PyTorch's default.
MOMENTUM = 0.9

_UNNAMED = re.compile(
    r"(activation|add|conv2d|global_average_pooling2d|lambda|multiply|zero_padding2d)(_\d+)?"
)
# What the package's functions need to be told of Keras.
_KERAS: dict[str, Any] = {
    "backend": tf.keras.backend,
    "layers": tf.keras.layers,
    "models": tf.keras.models,
    "utils": tf.keras.utils,
}


@functools.cache
def package() -> types.ModuleType:
    """Imports `segmentation_models`, which takes a few tenths of a second.

    Without SM_FRAMEWORK it would look for a Keras that TensorFlow 2.14 does not have. It prints a
    line, which is no result of a program, and replaces Keras' swish by one whose gradient takes
    more memory, in every model that is made afterwards; both are undone.
    """
    os.environ["SM_FRAMEWORK"] = "tf.keras"
    with contextlib.redirect_stdout(io.StringIO()):
        import segmentation_models
    for name in ("swish", "FixedDropout"):
        tf.keras.utils.get_custom_objects().pop(name, None)
    module: types.ModuleType = segmentation_models
    return module


def encoder(backbone: str, image_size: int, weights: str | None = None) -> tf.keras.Model:
    """Builds a classifier of the package without its dense layers.

    Args:
      backbone: one of `package().get_available_backbone_names()`.
      image_size: S in pixels, a multiple of `SIZE_MULTIPLE`.
      weights: None for random ones, or "imagenet" to download them.

    Returns:
      Preprocessed images [B, S, S, 3] to maps [B, S / 32, S / 32, channels].

    Raises:
      Exception: the weights could not be downloaded (Keras raises no narrower class).
    """
    shape = (image_size, image_size, 3)
    return package().Backbones.get_backbone(
        backbone, input_shape=shape, weights=weights, include_top=False, **_KERAS
    )


def skips(model: tf.keras.Model, backbone: str) -> list[tf.Tensor]:
    """Returns the maps that the package's decoders take from an encoder: S/16, S/8, S/4, S/2."""
    layers = package().Backbones.get_feature_layers(backbone, n=4)
    found = [
        model.get_layer(name) if isinstance(name, str) else model.get_layer(index=name)
        for name in layers
    ]
    return [layer.output for layer in found]


def normalisation(backbone: str) -> tf.keras.layers.Rescaling:
    """The package's preprocessing of a backbone, for channels in 0..1.

    The package takes grey values in 0..255 and maps each channel by a straight line, which two
    points determine.
    """
    preprocess = package().get_preprocessing(backbone)
    black, white = (preprocess(np.full((1, 1, 1, 3), grey)).ravel() for grey in (0.0, 255.0))
    scale, offset = (white - black).tolist(), black.tolist()
    return tf.keras.layers.Rescaling(scale, offset, name="normalise")


def of_grey_images(model: tf.keras.Model, backbone: str) -> tuple[tf.Tensor, Any]:
    """Puts a model of the package behind one grey channel.

    Args:
      model: takes preprocessed RGB images [B, S, S, 3].
      backbone: its encoder.

    Returns:
      Images [B, S, S, 1] in 0..1, and what stands for the model's output.
    """
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    images, rgb = backbones.grey_input(model.input_shape[1])
    return images, backbones.replay(model, normalisation(backbone)(rgb), _call_for(model))


def _call_for(model: tf.keras.Model) -> Callable[[tf.keras.layers.Layer, Any], tf.Tensor]:
    """Returns what calls the layers of a model of the package, or their substitutes."""
    names = _numbered(model)

    def call(layer: tf.keras.layers.Layer, inputs: Any) -> tf.Tensor:
        name = names.get(layer.name, layer.name)
        if isinstance(layer, tf.keras.layers.Dropout):
            return inputs
        if isinstance(layer, tf.keras.layers.UpSampling2D):
            return upsampling.double(inputs, name)
        if isinstance(layer, tf.keras.layers.Lambda):  # [B, C] to [B, 1, 1, C].
            return tf.keras.layers.Reshape((1, 1, inputs.shape[-1]), name=name)(inputs)
        if name == layer.name:
            return layer(inputs)
        twin = type(layer).from_config({**layer.get_config(), "name": name})
        output = twin(inputs)
        twin.set_weights(layer.get_weights())
        return output

    return call


def _numbered(model: tf.keras.Model) -> dict[str, str]:
    """Returns names for the layers that Keras named, by those it gave."""
    counts: collections.Counter[str] = collections.Counter()
    names = {}
    for layer in model.layers:
        if unnamed := _UNNAMED.fullmatch(layer.name):
            kind = "expand" if unnamed[1] == "lambda" else unnamed[1]
            counts[kind] += 1
            names[layer.name] = f"{kind}_{counts[kind]}"
    return names
