"""`tf.keras.applications`: DenseNet121, ResNet50 and MobileNetV2, with their classifier or without.

F. Chollet et al., https://keras.io/api/applications/. The functions are those of our networks:
ResNet50 has its strides in the first convolution of a block, as keras-cv's, and biases in its
convolutions, which the batch norm after them takes up.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import re

from tffcxr.models.files.layouts.stored import Layout, Stored
from tffcxr.models.networks.stem import CAFFE, IMAGENET

_LIBRARY = "tf.keras.applications"


def _densenet_name(layer: str) -> str:
    """`conv2_block1_0_bn` is keras-cv's `conv2_block_0_0_bn`, `conv1/bn` its `conv1_bn`."""
    block = re.fullmatch(r"(conv\d)_block(\d+)_(.+)", layer)
    name = f"{block[1]}_block_{int(block[2]) - 1}_{block[3]}" if block else layer
    return name.replace("conv1/", "conv1_")


def _resnet_name(layer: str) -> str:
    """`conv2_block1_1_conv` is keras-cv's `v2_stack_0_block1_1_conv`."""
    block = re.fullmatch(r"conv(\d)_(block\d+_.+)", layer)
    return f"v2_stack_{int(block[1]) - 2}_{block[2]}" if block else layer


def _renamed(stored: Stored, name: Callable[[str], str]) -> Stored:
    layers = {name(layer): arrays for layer, arrays in stored.layers.items()}
    return dataclasses.replace(stored, layers=layers)


def _is_densenet(stored: Stored) -> bool:
    return "conv2_block1_0_bn" in stored.layers or _is_unnamed(stored)


def _is_resnet(stored: Stored) -> bool:
    return "conv2_block1_1_conv" in stored.layers or _is_unnamed(stored)


def _is_unnamed(stored: Stored) -> bool:
    """Its networks pad by a layer and have no rescaling, other than keras-cv's."""
    names = stored.layers
    return not stored.named and "zero_padding2d" in names and "rescaling" not in names


LAYOUTS = (
    Layout(
        f"{_LIBRARY}.DenseNet121",
        ("densenet121",),
        _is_densenet,
        lambda stored: _renamed(stored, _densenet_name),
        lambda _: IMAGENET,
        by_order=True,
    ),
    Layout(
        f"{_LIBRARY}.ResNet50",
        ("resnet50",),
        _is_resnet,
        lambda stored: _renamed(stored, _resnet_name),
        lambda _: CAFFE,
        by_order=True,
    ),
    Layout(
        f"{_LIBRARY}.MobileNetV2",
        ("mobilenetv2",),
        lambda stored: "rgb" not in stored.layers,
        by_order=True,
    ),
)
