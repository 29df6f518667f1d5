"""Which model: one description that feeds the builder, the training plan and the export alike."""

from __future__ import annotations

from collections.abc import Sequence
import copy
import dataclasses
import functools
import logging
from typing import Any
import zlib

import numpy as np
import tensorflow as tf

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.models import initialization, network_configs, normalization, residual
from tffcxr.models.blocks import CxrModel
from tffcxr.models.files import pretrained
from tffcxr.models.networks.architecture import TASK_LAYER
from tffcxr.models.networks.stem import PLAIN, Stem
from tffcxr.nnunet import inference, plain_unet
from tffcxr.nnunet.topology import Topology


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A network of chest X-rays, and how it starts.

    Attributes:
      network: one of `options.CLASSIFIERS` or `options.SEGMENTERS`.
      image_size: height and width of the images in pixels; of a segmenter a multiple of 32.
      outputs: number of findings or classes, the width of the task block; 1 of a segmenter.
      batch_norm: "aggregate", "recompute" and "local" leave batch norm as it is (which of its
        weights travel is for the federated process to say), "frozen" keeps it in inference mode,
        "group" puts group norm in its place. The standard model has group norm and no batch norm,
        so it is the same under all five; asking it for "local" or "frozen" is logged.
      precision: one of `options.PRECISIONS`.
      width: of every layer's published channels, the part that it gets; see `width.scale`.
      weights: "none" (random from `seed`), "imagenet" (downloaded, for some models) or the path of
        a model file; see `pretrained`. Both pretrained kinds fill the representation block, and say
        how images enter the network (see `stem`); the task block is always new.
      seed: the initial weights are a function of it, of the layer's name and of the architecture.
      channels: of the images; only U-Net takes more than one.
      initialization: of random weights, one of `options.INITIALIZATIONS`: "shortcut" begins
        residual branches at 0 (see `residual`), "library" as PyTorch's libraries begin (see
        `initialization`).

    Raises:
      InputError: an unknown name, an image size that the network does not take, no outputs or
        several of a segmenter, a width that is not in (0, 1], ImageNet's weights with another width
        than 1, or more channels than the network takes.
    """

    network: str
    image_size: int
    outputs: int = 1
    batch_norm: options.BatchNorm = "aggregate"
    precision: options.Precision = "float32"
    width: float = 1.0
    weights: str = "none"
    seed: int = 0
    channels: int = 1
    initialization: options.Initialization = "shortcut"

    def __post_init__(self) -> None:
        architecture = network_configs.get(self.network)
        size, least = self.image_size, architecture.minimum_image_size
        if self.is_segmenter and (size < least or size % least):
            raise InputError(
                f"model {self.network} needs an image size that is a multiple of {least}, "
                f"found {size}"
            )
        if size < least:
            raise InputError(
                f"model {self.network} needs an image size of at least {least}, found {size}"
            )
        if self.outputs < 1 or (self.is_segmenter and self.outputs > 1):
            wanted = "one output" if self.is_segmenter else "at least one output"
            raise InputError(f"model {self.network} needs {wanted}, found {self.outputs}")
        if not 0.0 < self.width <= 1.0:
            raise InputError(f"width must be above 0 and at most 1, found {self.width}")
        if self.width != 1.0 and self.weights == "imagenet":
            raise InputError(
                f"the ImageNet weights are of the whole {self.network}, found a width of "
                f"{self.width}"
            )
        if self.channels < 1 or (self.channels > 1 and not architecture.takes_channels):
            raise InputError(
                f"model {self.network} needs images of one channel, found {self.channels}"
            )
        normalization.check_policy(self.batch_norm)
        if self.initialization not in options.INITIALIZATIONS:
            known = ", ".join(options.INITIALIZATIONS)
            raise InputError(f"initialization must be one of {known}, found {self.initialization}")
        _check_precision(self.precision)

    @property
    def is_segmenter(self) -> bool:
        """Whether the model gives logits of every pixel, [B, S, S, 1], not of images."""
        return self.network in options.SEGMENTERS

    def build(self, frozen: options.Frozen = None) -> CxrModel:
        """A fresh model with its initial weights, at every call the same.

        With `weights="none"` it can also be built inside a `tf.Graph`.

        Args:
          frozen: "representation" trains the task block alone: the base's weights stay, and its
            batch norm runs in inference mode.

        Raises:
          InputError: weights that cannot be had or do not fit.
        """
        if self.weights == "none":
            return self._build(frozen, PLAIN)
        weights = pretrained.read(self.network, self.weights)
        model = self._build(frozen, weights.stem)
        weights.fill(model)
        return model

    def structure(self, frozen: options.Frozen = None) -> CxrModel:
        """As `build`, for a caller that sets all weights: a file of weights is not read again."""
        return self._build(frozen, pretrained.stem(self.network, self.weights))

    def measuring_model(self) -> CxrModel:
        """A fresh model in float32, whatever it is trained in, whose weights the caller sets."""
        return dataclasses.replace(self, precision="float32").structure()

    def _build(self, frozen: options.Frozen, stem: Stem) -> CxrModel:
        if frozen not in (None, "representation"):
            raise InputError(f"frozen must be None or 'representation', found {frozen!r}")
        described = network_configs.describe(
            self.network,
            self.image_size,
            self.outputs,
            self.precision,
            self.channels,
            self.width,
            with_shapes=self.width != 1.0 and self.batch_norm == "group",
            stem=stem,
        )
        config = copy.deepcopy(described)
        has_batch_norm = normalization.apply(config, self.batch_norm)
        if not has_batch_norm and self.batch_norm in ("local", "frozen"):
            _warn_of_no_batch_norm(self.network, self.batch_norm)
        if self.initialization == "library":
            initialization.as_library(config, self.network)
        _set_seeds(config, self.seed)
        if frozen:
            _freeze(config)
        if self.initialization == "shortcut":
            residual.start_as_shortcuts(config)
        layer = network_configs.get(self.network).gradcam_layer
        return _with_blocks(tf.keras.Model.from_config(config), layer, (TASK_LAYER,))


@dataclasses.dataclass(frozen=True)
class PlannedSpec:
    """nnU-Net's network of a plan; otherwise as `ModelSpec`.

    Attributes:
      topology: the network, see `plain_unet.network`.
      image_size: height and width of the images that it is measured on, in pixels.
      with_mask: whether images are standardised by what of them is not empty.
      precision: one of `options.PRECISIONS`.
      seed: of the initial weights.
    """

    topology: Topology
    image_size: int
    with_mask: bool
    precision: options.Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        _check_precision(self.precision)

    @property
    def network(self) -> str:
        """The name in tables."""
        return "nnunet"

    @property
    def batch_norm(self) -> options.BatchNorm:
        """It has instance norm and no batch norm."""
        return "aggregate"

    def build(self, frozen: options.Frozen = None) -> CxrModel:
        """A fresh model, of standardised patches to the logits of every resolution.

        The heads of deep supervision are its task block.

        Raises:
          ValueError: a block is to be frozen; it trains as a whole.
        """
        if frozen is not None:
            raise ValueError(f"expected a model that trains as a whole, found frozen={frozen!r}")
        config = copy.deepcopy(network_configs.describe_planned(self.topology, self.precision))
        _set_seeds(config, self.seed)
        model = tf.keras.Model.from_config(config)
        heads = plain_unet.head_names(self.topology)
        return _with_blocks(model, plain_unet.GRADCAM_LAYER, heads)

    def structure(self, frozen: options.Frozen = None) -> CxrModel:
        """See `ModelSpec.structure`."""
        return self.build(frozen)

    def measuring_model(self) -> CxrModel:
        """A fresh float32 model of whole images [B, S, S, 1] in 0..1 to logits of that shape.

        It has the weights of `build`'s model, in the same order.
        """
        network = dataclasses.replace(self, precision="float32").build()
        whole = inference.inference_model(network.keras, self.image_size, self.with_mask)
        layer = whole.layers[-1].name  # It has the whole network in it.
        return CxrModel(whole, representation=(layer,), task=(), gradcam_layer=layer)


def _check_precision(precision: str) -> None:
    if precision not in options.PRECISIONS:
        known = ", ".join(options.PRECISIONS)
        raise InputError(f"precision must be one of {known}, found {precision!r}")


@functools.cache
def _warn_of_no_batch_norm(name: str, policy: str) -> None:
    """Says it once; a study builds its model many times."""
    logging.warning("model %s has no batch norm: %s changes nothing", name, policy)


def _set_seeds(config: dict[str, Any], seed: int) -> None:
    """Seeds every random initializer by layer, so that layers differ and builds do not."""
    for layer in config["layers"]:
        name = layer["config"]["name"]
        sequence = np.random.SeedSequence([seed, zlib.crc32(name.encode())])
        layer_seed = int(sequence.generate_state(1)[0] >> 1)  # fits a signed 32-bit integer
        for value in layer["config"].values():
            if isinstance(value, dict) and "seed" in value.get("config", {}):
                value["config"]["seed"] = layer_seed


def _freeze(config: dict[str, Any]) -> None:
    for layer in config["layers"]:
        if layer["config"]["name"] != TASK_LAYER and "trainable" in layer["config"]:
            layer["config"]["trainable"] = False


def _with_blocks(model: tf.keras.Model, gradcam_layer: str, task: Sequence[str]) -> CxrModel:
    weighted = [layer.name for layer in model.layers if layer.weights]
    return CxrModel(
        keras=model,
        representation=tuple(name for name in weighted if name not in task),
        task=tuple(task),
        gradcam_layer=gradcam_layer,
    )
