"""Builds a model by name: architecture, batch-norm policy, initial weights, frozen block.

Every model is first described by its Keras configuration, which is changed as asked (seeds, group
norm, frozen layers), and only then made. The same description gives the same layer names and the
same initial weights eagerly and inside the graph that a TFF computation is traced in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import concurrent.futures
import contextlib
import copy
import dataclasses
import functools
import logging
from typing import Any, Literal
import zlib

import numpy as np
import tensorflow as tf

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.models import normalization, residual
from tffcxr.models import width as width_multiplier
from tffcxr.models.blocks import CxrModel
from tffcxr.models.files import pretrained
from tffcxr.models.networks import backbones, covidnet, resnext, standard, unet, unetplusplus
from tffcxr.nnunet import plain_unet
from tffcxr.nnunet.topology import Topology

TASK_LAYER = "task"


# Small weights: at first every finding, or pixel, is as likely as not, so the first updates are not
# spent on taking back a confident guess. float32 for the loss, whatever the trunk's precision.
def _task_options() -> dict[str, Any]:
    initializer = tf.keras.initializers.RandomNormal(stddev=0.01)
    return {"kernel_initializer": initializer, "dtype": "float32", "name": TASK_LAYER}


def _findings(outputs: int) -> tf.keras.layers.Layer:
    return tf.keras.layers.Dense(outputs, **_task_options())


def _pixels(kernel_size: int) -> Callable[[int], tf.keras.layers.Layer]:
    def layer(outputs: int) -> tf.keras.layers.Layer:
        return tf.keras.layers.Conv2D(outputs, kernel_size, padding="same", **_task_options())

    return layer


@dataclasses.dataclass(frozen=True)
class _Architecture:
    trunk: Callable[[int], tf.keras.Model]
    minimum_image_size: int
    gradcam_layer: str
    task_layer: Callable[[int], tf.keras.layers.Layer] = _findings
    takes_channels: bool = False  # Whether `trunk` has an argument for more channels than one.


def _backbone(trunk: Callable[[int], tf.keras.Model], gradcam_layer: str) -> _Architecture:
    return _Architecture(trunk, backbones.MINIMUM_IMAGE_SIZE, gradcam_layer)


_CLASSIFIERS = {
    "standard": _Architecture(standard.trunk, standard.MINIMUM_IMAGE_SIZE, standard.GRADCAM_LAYER),
    "resnet18": _backbone(backbones.resnet18, backbones.RESNET18_GRADCAM_LAYER),
    "resnet34": _backbone(backbones.resnet34, backbones.RESNET34_GRADCAM_LAYER),
    "resnet50": _backbone(backbones.resnet50, backbones.RESNET50_GRADCAM_LAYER),
    "densenet121": _backbone(backbones.densenet121, backbones.DENSENET121_GRADCAM_LAYER),
    "resnext18": _backbone(resnext.resnext18, resnext.RESNEXT18_GRADCAM_LAYER),
    "resnext50": _backbone(resnext.resnext50, resnext.RESNEXT50_GRADCAM_LAYER),
    "mobilenetv2": _backbone(backbones.mobilenetv2, backbones.MOBILENETV2_GRADCAM_LAYER),
    "covidnet": _Architecture(covidnet.trunk, covidnet.MINIMUM_IMAGE_SIZE, covidnet.GRADCAM_LAYER),
}
_SEGMENTERS = {
    "unet": _Architecture(unet.trunk, unet.SIZE_MULTIPLE, unet.GRADCAM_LAYER, _pixels(1), True),
    # The PyTorch implementation's last convolution is 3x3.
    "unetplusplus": _Architecture(
        unetplusplus.trunk, unetplusplus.SIZE_MULTIPLE, unetplusplus.GRADCAM_LAYER, _pixels(3)
    ),
    # For whole images, without deep supervision; `build_nnunet` is that of a plan.
    "nnunet": _Architecture(
        plain_unet.trunk, plain_unet.SIZE_MULTIPLE, plain_unet.GRADCAM_LAYER, _pixels(1)
    ),
}

NAMES: tuple[str, ...] = options.CLASSIFIERS
SEGMENTATION_NAMES: tuple[str, ...] = options.SEGMENTERS
# What is computed with; weights, the task block and the loss are float32 always.
PRECISIONS = ("float32", "bfloat16", "float16")


def minimum_image_size(name: str) -> int:
    """Smallest height and width, in pixels, that the model takes.

    Raises:
      InputError: the name is not one of `NAMES`.
    """
    return _architecture(name, NAMES).minimum_image_size


def build(
    name: str,
    image_size: int,
    outputs: int,
    weights: str = "none",
    batch_norm: normalization.Policy = "aggregate",
    seed: int = 0,
    frozen: Literal[None, "representation"] = None,
    precision: str = "float32",
    width: float = 1.0,
) -> CxrModel:
    """Builds a model of chest X-rays.

    Args:
      name: one of `NAMES`.
      image_size: height and width of the images in pixels.
      outputs: number of findings, the width of the task block.
      weights: "none" (random from `seed`), "imagenet" (downloaded, for some models) or the path of
        a model file; see `pretrained`. Both pretrained kinds fill the representation block; the
        task block is always new.
      batch_norm: "aggregate", "recompute" and "local" leave batch norm as it is (which of its
        weights travel is for the federated process to say), "frozen" keeps it in inference mode,
        "group" puts group norm in its place. The standard model has group norm and no batch norm,
        so it is the same under all five; asking it for "local" or "frozen" is logged.
      seed: the initial weights are a function of it, of the layer's name and of the architecture.
      frozen: "representation" trains the task block alone: the base's weights stay, and its batch
        norm runs in inference mode.
      precision: one of `PRECISIONS`.
      width: of every layer's published channels, the part that it gets; see `width.scale`.

    Returns:
      The model. With `weights="none"` it can also be built inside a `tf.Graph`.

    Raises:
      InputError: an unknown name or precision, an image size below `minimum_image_size(name)`,
        no outputs, a width that is not in (0, 1], or weights that cannot be had or do not fit.
    """
    minimum = minimum_image_size(name)
    if image_size < minimum:
        raise InputError(
            f"model {name} needs an image size of at least {minimum}, found {image_size}"
        )
    if outputs < 1:
        raise InputError(f"a model needs at least one output, found {outputs}")
    if frozen not in (None, "representation"):
        raise InputError(f"frozen must be None or 'representation', found {frozen!r}")
    if not 0.0 < width <= 1.0:
        raise InputError(f"width must be above 0 and at most 1, found {width}")
    if width != 1.0 and weights == "imagenet":
        raise InputError(f"the ImageNet weights are of the whole {name}, found a width of {width}")
    return _build(
        name, image_size, outputs, weights, batch_norm, seed, frozen, precision, width=width
    )


def build_segmentation(
    name: str,
    image_size: int,
    weights: str = "none",
    batch_norm: normalization.Policy = "aggregate",
    seed: int = 0,
    precision: str = "float32",
    channels: int = 1,
) -> CxrModel:
    """Builds a model that segments one kind of region, such as the lungs.

    Args:
      name: one of `SEGMENTATION_NAMES`.
      image_size: height and width of the images in pixels, a multiple of 32.
      weights: "none", "imagenet" (the encoder of U-Net++, downloaded) or the path of a model file;
        as in `build`, the task block is always new.
      batch_norm: as in `build`.
      seed: as in `build`.
      precision: as in `build`.
      channels: of the images; only U-Net takes more than one.

    Returns:
      The model, of float32 logits [B, S, S, 1]; the probability of a pixel is their sigmoid. With
      `weights="none"` it can also be built inside a `tf.Graph`.

    Raises:
      InputError: an unknown name or precision, an image size that is not a multiple of 32, more
        channels than the model takes, or weights that cannot be had or do not fit.
    """
    architecture = _architecture(name, SEGMENTATION_NAMES)
    multiple = architecture.minimum_image_size
    if channels < 1 or (channels > 1 and not architecture.takes_channels):
        raise InputError(f"model {name} needs images of one channel, found {channels}")
    if image_size < multiple or image_size % multiple:
        raise InputError(
            f"model {name} needs an image size that is a multiple of {multiple}, found {image_size}"
        )
    return _build(name, image_size, 1, weights, batch_norm, seed, None, precision, channels)


def build_nnunet(planned: Topology, seed: int = 0, precision: str = "float32") -> CxrModel:
    """Builds nnU-Net's network of a plan, with the heads of deep supervision as its task block.

    Args:
      planned: the network, see `plain_unet.network`.
      seed: as in `build`.
      precision: as in `build`.

    Returns:
      The model, of standardised patches to the logits of every resolution.

    Raises:
      InputError: an unknown precision.
    """
    _check_precision(precision)
    config = copy.deepcopy(_nnunet_config(planned, precision))
    _set_seeds(config, seed)
    model = tf.keras.Model.from_config(config)
    return _with_blocks(model, plain_unet.GRADCAM_LAYER, plain_unet.head_names(planned))


def _build(
    name: str,
    image_size: int,
    outputs: int,
    weights: str,
    batch_norm: normalization.Policy,
    seed: int,
    frozen: Literal[None, "representation"],
    precision: str,
    channels: int = 1,
    width: float = 1.0,
) -> CxrModel:
    normalization.check_policy(batch_norm)
    _check_precision(precision)
    config = copy.deepcopy(_config(name, image_size, outputs, precision, channels, width))
    if not normalization.apply(config, batch_norm) and batch_norm in ("local", "frozen"):
        _warn_of_no_batch_norm(name, batch_norm)
    _set_seeds(config, seed)
    if frozen:
        _freeze(config)
    residual.start_as_shortcuts(config)
    model = _with_blocks(
        tf.keras.Model.from_config(config), _architecture(name).gradcam_layer, (TASK_LAYER,)
    )
    if weights != "none":
        pretrained.load(model, name, weights)
    return model


def _architecture(
    name: str, known: tuple[str, ...] = (*NAMES, *SEGMENTATION_NAMES)
) -> _Architecture:
    if name not in known:
        raise InputError(f"model must be one of {', '.join(known)}, found {name!r}")
    return {**_CLASSIFIERS, **_SEGMENTERS}[name]


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, found {precision!r}")


@functools.cache
def _config(
    name: str, image_size: int, outputs: int, precision: str, channels: int, width: float
) -> dict[str, Any]:
    """Describes the whole model; callers change a copy."""
    architecture = _architecture(name)
    make_trunk: Callable[..., tf.keras.Model] = architecture.trunk
    further = {"channels": channels} if architecture.takes_channels else {}

    def make() -> tf.keras.Model:
        with _precision(precision):
            trunk = make_trunk(image_size, **further)
        logits = _architecture(name).task_layer(outputs)(trunk.output)
        model = tf.keras.Model(trunk.input, logits, name=name)
        if width == 1.0:
            return model
        config = model.get_config()
        width_multiplier.scale(config, width, kept=TASK_LAYER)
        return tf.keras.Model.from_config(config)

    return _describe(make)


@functools.cache
def _nnunet_config(planned: Topology, precision: str) -> dict[str, Any]:
    def make() -> tf.keras.Model:
        with _precision(precision):
            return plain_unet.network(planned)

    return _describe(make)


def _describe(make: Callable[[], tf.keras.Model]) -> dict[str, Any]:
    """The configuration of a model that is only made for it.

    A thread of its own has no default graph, so the architecture is built eagerly even if the
    caller is tracing: keras-cv cannot be built inside a plain `tf.Graph`.
    """

    def describe() -> dict[str, Any]:
        # Starts the eager context: before that, Keras takes its own graph for eager execution.
        tf.zeros([])
        return make().get_config()

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(describe).result()


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    """Gives the layers that are made inside a precision; Keras knows none but the global one."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


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


def _with_blocks(model: tf.keras.Model, gradcam_layer: str, task: tuple[str, ...]) -> CxrModel:
    weighted = [layer.name for layer in model.layers if layer.weights]
    return CxrModel(
        keras=model,
        representation=tuple(name for name in weighted if name not in task),
        task=task,
        gradcam_layer=gradcam_layer,
    )
