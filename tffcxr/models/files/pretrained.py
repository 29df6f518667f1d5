"""Fills a model's representation block from ImageNet weights or from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import logging
import pathlib
import re

import h5py
import numpy as np
import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.models import network_configs
from tffcxr.models.blocks import CxrModel
from tffcxr.models.files import run_models, safe_files, torch_layouts
from tffcxr.models.networks import backbones, segmentation_encoders

# Layer name -> weight name within the layer ("kernel", "gamma", …) -> values.
StoredWeights = dict[str, dict[str, np.ndarray]]

# Class of keras-cv and name of its preset.
_PRESETS = {
    "densenet121": ("DenseNetBackbone", "densenet121_imagenet"),
    "resnet50": ("ResNetBackbone", "resnet50_imagenet"),
}
_CLASSIFIERS_WITH_IMAGENET = (*_PRESETS, "mobilenetv2", "efficientnetlite0")


def load(model: CxrModel, name: str, weights: str) -> None:
    """Fills the representation block; the task block is left as it is.

    Layers are matched by name, and weights within a layer by theirs, so a model saved with other
    findings serves as well. Where group norm stands in for batch norm, it takes the batch norm's
    scale and offset.

    Args:
      model: the model to fill, built eagerly.
      name: the name of its architecture.
      weights: "imagenet" (as the package that the architecture is from publishes them: DenseNet121,
        ResNet50, MobileNetV2, and the encoders that `segmentation-models` has; EfficientNet-Lite0's
        are on this machine), the folder of a complete run (its first exported model of this
        architecture), or the path of a Keras model (`.keras`), a legacy HDF5 model or weights file
        (`.h5`), Keras weights (`.weights.h5`, which carry no layer names and so must come from the
        same model, task block included), or a file of PyTorch (`.pt`, `.pth`; see
        `torch_layouts`). A DenseNet121 in the layout of `tf.keras.applications` is recognised by
        its layer names.

    Raises:
      InputError: the weights cannot be had, do not fit or are not finite; the model is unchanged
        then.
    """
    if weights == "imagenet":
        stored = _imagenet(name)
    else:
        stored = _read(pathlib.Path(weights), model, name)
    if name == "densenet121" and "conv2_block1_0_bn" in stored:
        stored = _from_keras_applications(stored)
    layers = model.representation
    if weights == "imagenet":
        decoder = segmentation_encoders.DECODER_PREFIXES
        layers = tuple(layer for layer in layers if not layer.startswith(decoder))
    _assign(model, layers, stored, weights)


def _imagenet(name: str) -> StoredWeights:
    if name not in _CLASSIFIERS_WITH_IMAGENET and not network_configs.get(name).takes_weights:
        known = ", ".join(_CLASSIFIERS_WITH_IMAGENET)
        raise InputError(
            f"there are no ImageNet weights for model {name}, only for {known}, unetplusplus, "
            "unet_ENCODER and unetplusplus_ENCODER: use --weights=none or --weights=FILE"
        )
    if name == "efficientnetlite0":
        return torch_layouts.read(torch_layouts.lite0_file(), name)
    try:
        backbone = _imagenet_backbone(name)
    except Exception as error:  # Keras' own download raises no narrower class.
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(
            f"ImageNet weights for {name} could not be downloaded ({reason}): "
            "use --weights=FILE with a file that is on this machine"
        ) from error
    return _of_layers(backbone)


def _imagenet_backbone(name: str) -> tf.keras.Model:
    architecture = network_configs.get(name)
    if architecture.takes_weights:
        return architecture.trunk(architecture.minimum_image_size, weights="imagenet")
    if name == "mobilenetv2":
        return tf.keras.applications.MobileNetV2((224, 224, 3), include_top=False)
    import keras_cv  # Slow to import, and only these weights need it.

    backbone_class, preset = _PRESETS[name]
    return getattr(keras_cv.models, backbone_class).from_preset(preset)


def _read(path: pathlib.Path, model: CxrModel, name: str) -> StoredWeights:
    if path.is_dir():
        path = run_models.find(path, network=name)
    if not path.is_file():
        raise InputError(
            f"--weights: expected none, imagenet, a run's folder or a file, found nothing at {path}"
        )
    try:
        if path.suffix == ".keras":
            return _of_layers(safe_files.load_keras(path))
        if path.suffix in (".h5", ".hdf5"):
            safe_files.check_hdf5(path)
            return _read_hdf5(path, model)
        if path.suffix in (".pt", ".pth"):
            return torch_layouts.read(path, name)
    except InputError as error:
        raise InputError(f"weights file {path} cannot be read into the model: {error}") from error
    raise InputError(f"weights file {path}: expected .keras, .weights.h5, .h5, .pt or .pth")


def _read_hdf5(path: pathlib.Path, model: CxrModel) -> StoredWeights:
    """Reads HDF5 by content: Keras 3's layout has no layer names, the legacy one does."""
    with h5py.File(path, "r") as file:
        if "_layer_checkpoint_dependencies" not in file:
            return _of_legacy(file)
    twin = tf.keras.models.clone_model(model.keras)
    try:
        twin.load_weights(path)
    except safe_files.KERAS_ERRORS as error:
        raise InputError(safe_files.one_line(error)) from error
    return _of_layers(twin)


def _of_legacy(file: h5py.File) -> StoredWeights:
    group = file.get("model_weights", file)
    return {layer: _of_group(_member(group, layer)) for layer in _names(group, "layer_names")}


def _of_group(group: h5py.Group) -> dict[str, np.ndarray]:
    stored = {}
    for name in _names(group, "weight_names"):
        values = _member(group, name)
        if not isinstance(values, h5py.Dataset):
            raise InputError(f"expected the array {name:.60}, found a group")
        stored[_short(name)] = values[()]
    return stored


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Returns the names of layers, or of a layer's weights, that a legacy file lists."""
    names = group.attrs.get(attribute) if isinstance(group, h5py.Group) else None
    if not isinstance(names, np.ndarray) or names.ndim != 1:
        raise InputError(f"expected Keras weights with {attribute}, found none")
    return [
        name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names
    ]


def _member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    value = group.get(name)
    if value is None:
        raise InputError(f"expected {name:.60} as listed in the file, found nothing of this name")
    return value


def _of_layers(model: tf.keras.Model) -> StoredWeights:
    return {
        layer.name: {_short(weight.name): weight.numpy() for weight in layer.weights}
        for layer in model.layers
        if layer.weights
    }


def _short(weight_name: str) -> str:
    return weight_name.rsplit("/", 1)[-1].split(":")[0]


def _from_keras_applications(stored: StoredWeights) -> StoredWeights:
    """Renames layers, and moves the normalisation of the input into the first convolution.

    Those weights expect `(x - mean) / deviation`. Dividing the kernel by the deviation and adding
    the response to the mean to the batch norm's moving mean gives the same activations for x in
    0..1. The zero padding around the image then stands for black and no longer for the mean grey.
    """
    renamed = {}
    for layer, values in stored.items():
        block = re.fullmatch(r"(conv\d)_block(\d+)_(.+)", layer)
        name = f"{block[1]}_block_{int(block[2]) - 1}_{block[3]}" if block else layer
        renamed[name.replace("conv1/", "conv1_")] = values
    mean, deviation = np.float32(backbones.IMAGENET_MEAN), np.float32(backbones.IMAGENET_DEVIATION)
    kernel = renamed["conv1_conv"]["kernel"] / deviation[:, None]
    response_to_mean = np.einsum("hwco,c->o", kernel, mean)
    norm = renamed["conv1_bn"]
    renamed["conv1_conv"] = {"kernel": kernel}
    renamed["conv1_bn"] = {**norm, "moving_mean": norm["moving_mean"] + response_to_mean}
    return renamed


def _assign(
    model: CxrModel,
    layers: Sequence[str],
    stored: Mapping[str, Mapping[str, np.ndarray]],
    source: str,
) -> None:
    pairs = []
    for layer in layers:
        for weight in model.keras.get_layer(layer).weights:
            short = _short(weight.name)
            values = stored.get(layer, {}).get(short)
            if values is None:
                raise InputError(
                    f"weights {source}: expected layer {layer} with {short}, not found"
                )
            if values.shape != tuple(weight.shape):
                raise InputError(
                    f"weights {source}: expected shape {tuple(weight.shape)} for {layer}/{short}, "
                    f"found {values.shape}"
                )
            if not np.isfinite(values).all():
                raise InputError(
                    f"weights {source}: expected finite values of {layer}/{short}, found others"
                )
            pairs.append((weight, values))
    for weight, values in pairs:
        weight.assign(values)
    logging.info("representation block: %d arrays from %s", len(pairs), source)
