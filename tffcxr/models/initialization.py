"""Random weights as PyTorch's libraries draw them, for networks that papers took from there.

torchvision's `resnet.py`, `mobilenetv2.py` and `densenet.py` draw the kernels of convolutions from
normal distributions of variance 2 / fan (K. He et al., "Delving Deep into Rectifiers", ICCV 2015);
what they leave, and layers of one's own, have the defaults of `torch.nn`: uniform in ±1 / √fan_in.
Biases begin at 0 here, those of `torch.nn` within ±1 / √fan_in. Networks that
`segmentation_models` makes begin as it makes them, with decoders as in its PyTorch namesake.
"""

from __future__ import annotations

from typing import Any

_CONVOLUTIONS = ("Conv2D", "GroupedConv2D", "Conv2DTranspose")


def _scaled(scale: float, mode: str, distribution: str) -> dict[str, Any]:
    """`VarianceScaling` in a model's configuration: variance `scale` / fan."""
    return {
        "module": "keras.initializers",
        "class_name": "VarianceScaling",
        "config": {"scale": scale, "mode": mode, "distribution": distribution, "seed": None},
        "registered_name": None,
    }


_DEFAULT = (1 / 3, "fan_in", "uniform")  # In ±1 / √fan_in.
_HE_FAN_IN = (2.0, "fan_in", "untruncated_normal")
_HE_FAN_OUT = (2.0, "fan_out", "untruncated_normal")
_SMALL = {
    "module": "keras.initializers",
    "class_name": "RandomNormal",
    "config": {"mean": 0.0, "stddev": 0.01, "seed": None},
    "registered_name": None,
}
# What the kernels of convolutions and of dense layers are drawn from.
_LIBRARIES: dict[str, tuple[tuple[float, str, str], dict[str, Any]]] = {
    **dict.fromkeys(
        ("resnet18", "resnet34", "resnet50", "resnext18", "resnext50"),
        (_HE_FAN_OUT, _scaled(*_DEFAULT)),
    ),
    "densenet121": (_HE_FAN_IN, _scaled(*_DEFAULT)),
    "mobilenetv2": (_HE_FAN_OUT, _SMALL),
    **dict.fromkeys(("standard", "covidnet", "unet"), (_DEFAULT, _scaled(*_DEFAULT))),
}
# A depthwise kernel is [h, w, channels, 1] in Keras and [channels, 1, h, w] in PyTorch, so that
# what one counts as inputs the other counts as outputs.
_SWAPPED = {"fan_in": "fan_out", "fan_out": "fan_in"}


def as_library(config: dict[str, Any], network: str) -> None:
    """Sets the initializers of kernels, in a functional model's configuration.

    Args:
      config: `model.get_config()` of a flat functional model; changed in place.
      network: its name in `options`; one without a namesake in PyTorch stays.
    """
    if network not in _LIBRARIES:
        return
    (scale, mode, distribution), dense = _LIBRARIES[network]
    for layer in config["layers"]:
        own = layer["config"]
        kind = layer["class_name"].rpartition(">")[2]
        if kind in _CONVOLUTIONS:
            own["kernel_initializer"] = _scaled(scale, mode, distribution)
        elif kind == "DepthwiseConv2D":
            own["depthwise_initializer"] = _scaled(scale, _SWAPPED[mode], distribution)
        elif kind == "Dense":
            own["kernel_initializer"] = {**dense, "config": dict(dense["config"])}
