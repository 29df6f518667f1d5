"""A network with fewer channels in every layer.

A. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", arXiv:1704.04861, 2017, section 3.3, call the factor the width multiplier. Work and
parameters of a convolution go with its square. Unlike theirs, channels are not rounded to
multiples of 8; where a network has grouped convolutions, all of its layers get multiples of their
number of groups, 32 in ResNeXt, so that its narrow layers keep more than their part.
"""

from __future__ import annotations

import math
from typing import Any

_SIZES = ("filters", "units")  # What Keras calls a layer's channels.


def scale(config: dict[str, Any], width: float, kept: str) -> None:
    """Changes the channels of the layers in a functional model's Keras configuration.

    Args:
      config: `model.get_config()` of a flat functional model; changed in place. Names stay; the
        shapes that layers were built for go.
      width: the factor, above 0.
      kept: name of the layer whose channels stay.

    Raises:
      ValueError: a layer is a model of its own.
    """
    nested = [layer["config"]["name"] for layer in config["layers"] if "layers" in layer["config"]]
    if nested:
        raise ValueError(f"expected a flat model, found the models {nested} in it")
    multiple = max(layer["config"].get("groups", 1) for layer in _convolutions(config))

    def scaled(channels: int) -> int:
        return multiple * max(1, round(channels * width / multiple))

    for layer in config["layers"]:
        options = layer["config"]
        shape = layer.pop("build_config", {}).get("input_shape")
        if options["name"] == kept:
            continue
        for size in _SIZES:
            if isinstance(options.get(size), int):
                options[size] = scaled(options[size])
        if layer["class_name"] == "Reshape":  # Channels come last; -1 is what follows.
            options["target_shape"] = (*options["target_shape"][:-1], -1)
        if layer["class_name"] == "GroupNormalization":
            options["groups"] = math.gcd(options["groups"], scaled(shape[-1]))


def _convolutions(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [layer for layer in config["layers"] if "filters" in layer["config"]]
