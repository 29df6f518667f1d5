"""Which array of a file belongs to which weight of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import re

import numpy as np
import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.models.blocks import CxrModel
from tffcxr.models.files.layouts.stored import Arrays, Stored
from tffcxr.models.networks import segmentation_encoders

_SHOWN = 3  # Of a file's layers, in messages.
# A number in a layer's name, with the letter that EfficientNet adds: `2b` of `block2b_dwconv`.
_NUMBER_IN_NAME = re.compile(r"\d+[a-z]?(?=_|$)|\d+")
_OTHER_NAMES = {"depthwise_kernel": "kernel"}  # In Keras 3.
# What stands for a layer of another class: scale and offset of batch norm are those of group norm.
_STAND_INS = {"group_normalization": "batch_normalization"}


@dataclasses.dataclass(frozen=True)
class Match:
    """What fills a model.

    Attributes:
      pairs: weights with their values, of equal shapes and finite.
      layers: the names of the layers that are filled, in the model's order.
      kept: those of the representation block that stay as they are.
    """

    pairs: list[tuple[tf.Variable, np.ndarray]]
    layers: tuple[str, ...]
    kept: tuple[str, ...]


def match(model: CxrModel, stored: Stored, by_order: bool) -> Match:
    """Compares a file with a model's representation block.

    Layers are matched by name, and weights within a layer by theirs, so a model saved with other
    findings serves as well. A deeper network does not, although it has all of the layers. Where
    group norm stands in for batch norm, it takes the batch norm's scale and offset. A segmenter's
    decoder stays if the file has none of it.

    Args:
      model: is not changed.
      stored: under the names of our layers, or by classes.
      by_order: see `Layout`.

    Raises:
      InputError: names the first layer or weight that does not fit. The message is one line.
    """
    decoder = segmentation_encoders.DECODER_PREFIXES
    encoder = tuple(name for name in model.representation if not name.startswith(decoder))
    if not stored.named:
        stored = _named(model, encoder, stored)
    has_decoder = any(stored.layers.get(name) for name in set(model.representation) - set(encoder))
    wanted = model.representation if has_decoder else encoder
    layers: Mapping[str, Arrays] = stored.layers
    if by_order and any(name not in layers for name in wanted):
        layers = _in_order(model, wanted, stored) or layers
    layers = _without_biases(model, layers)
    pairs = [
        (weight, _values(layer, weight, position, layers))
        for layer in wanted
        for position, weight in enumerate(model.keras.get_layer(layer).weights)
    ]
    _check_depth(wanted, layers)
    kept = tuple(name for name in model.representation if name not in wanted)
    return Match(pairs, tuple(wanted), kept)


def short(weight_name: str) -> str:
    """What a layer calls a weight: `kernel` of `conv1/kernel:0`."""
    return weight_name.rsplit("/", 1)[-1].split(":")[0]


def snake_case(class_name: str) -> str:
    """The name that Keras gives the first layer of a class: `max_pooling2d` of `MaxPooling2D`."""
    spaced = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", class_name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()


def _check_depth(wanted: Sequence[str], layers: Mapping[str, Arrays]) -> None:
    """Refuses the file of a deeper network, whose further layers differ in their numbers alone."""
    kinds = {_NUMBER_IN_NAME.sub("#", name) for name in wanted}
    further = [
        name
        for name, arrays in layers.items()
        if arrays and name not in wanted and _NUMBER_IN_NAME.sub("#", name) in kinds
    ]
    if further:
        raise InputError(
            f"expected {len(wanted)} layers, found {len(wanted) + len(further)}, as of a deeper "
            f"network, with {further[0]:.60}"
        )


def _values(
    layer: str, weight: tf.Variable, position: int, layers: Mapping[str, Arrays]
) -> np.ndarray:
    name, shape = short(weight.name), tuple(weight.shape)
    arrays = layers.get(layer)
    if arrays is None:
        found = ", ".join([layer for layer, values in layers.items() if values][:_SHOWN])
        raise InputError(
            f"expected layer {layer} with {name} of shape {shape}, not found among the layers "
            f"{found or 'of the file, which has none'!s:.150} …"
        )
    values = arrays.get(name, arrays.get(_OTHER_NAMES.get(name, "")))
    if values is None:
        values = _by_position(arrays, position)
    if values is None:
        raise InputError(f"expected layer {layer} with {name} of shape {shape}, not found")
    if values.shape != shape:
        raise InputError(f"expected shape {shape} for {layer}/{name}, found {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"expected finite values of {layer}/{name}, found others")
    return values


def _by_position(arrays: Arrays, position: int) -> np.ndarray | None:
    """Of a layer whose weights have no names that are known, as in files of early Keras."""
    known = {"kernel", "depthwise_kernel", "gamma", "beta"}
    if position >= len(arrays) or not known.isdisjoint(arrays):
        return None
    return list(arrays.values())[position]


def _named(model: CxrModel, encoder: Sequence[str], stored: Stored) -> Stored:
    """Names the layers of a file that numbers them within their classes, in the model's order."""
    found = _by_class(
        (re.sub(r"_\d+$", "", layer), layer) for layer, arrays in stored.layers.items() if arrays
    )
    everything = _classes_of(model, (*model.representation, *model.task))
    if {kind: len(names) for kind, names in found.items()} == {
        kind: len(names) for kind, names in everything.items()
    }:
        wanted = everything
    else:
        wanted = _classes_of(model, encoder)
    layers: dict[str, Arrays] = {}
    for kind, names in wanted.items():
        theirs = found.get(kind) or found.get(_STAND_INS.get(kind, ""), [])
        if len(theirs) < len(names):
            raise InputError(
                f"expected {len(names)} layers of the class {kind}, found {len(theirs)}"
            )
        for name, other in zip(names, sorted(theirs, key=_number)):
            layers[name] = stored.layers[other]
    return Stored(layers)


def _by_class(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    classes: dict[str, list[str]] = {}
    for kind, name in pairs:
        classes.setdefault(kind, []).append(name)
    return classes


def _classes_of(model: CxrModel, names: Sequence[str]) -> dict[str, list[str]]:
    order = [layer.name for layer in model.keras.layers]
    return _by_class(
        (snake_case(type(model.keras.get_layer(name)).__name__), name)
        for name in sorted(names, key=order.index)
    )


def _number(name: str) -> int:
    number = re.search(r"_(\d+)$", name)
    return int(number[1]) if number else 0


def _in_order(
    model: CxrModel, wanted: Sequence[str], stored: Stored
) -> Mapping[str, Arrays] | None:
    """Takes the file's layers in the order of the model; None unless all shapes agree."""
    theirs = [arrays for arrays in stored.layers.values() if arrays]
    if len(theirs) < len(wanted):
        return None
    for name, arrays in zip(wanted, theirs):
        shapes = [tuple(weight.shape) for weight in model.keras.get_layer(name).weights]
        if [values.shape for values in arrays.values()][: len(shapes)] != shapes:
            return None
    return dict(zip(wanted, theirs))


def _without_biases(model: CxrModel, layers: Mapping[str, Arrays]) -> Mapping[str, Arrays]:
    """Adds biases that our convolutions lack to the batch norm after them: it subtracts a mean."""
    result = dict(layers)
    for layer, arrays in layers.items():
        norm = result.get(layer.replace("_conv", "_bn"), {})
        if layer not in model.representation or "bias" not in arrays or "moving_mean" not in norm:
            continue
        names = {short(weight.name) for weight in model.keras.get_layer(layer).weights}
        if "bias" not in names and norm["moving_mean"].shape == arrays["bias"].shape:
            mean = norm["moving_mean"] - arrays["bias"]
            result[layer.replace("_conv", "_bn")] = {**norm, "moving_mean": mean}
    return result
