"""ResNeXt, for one-channel images.

S. Xie, R. Girshick, P. Dollár, Z. Tu, K. He, "Aggregated Residual Transformations for Deep Neural
Networks", CVPR 2017, arXiv:1611.05431. A block is a 1x1 convolution, a 3x3 convolution in 32 groups
and a 1x1 convolution; in the first stage the groups have 4 channels ("32x4d").

B. Liu, B. Yan, Y. Zhou, Y. Yang, Y. Zhang, "Experiments of Federated Learning for COVID-19 Chest
X-ray Images", arXiv:2007.05592, 2020, give neither cardinality nor widths of their ResNeXt, which
has the layout of ResNet18. `resnext18` is Xie's 32x4d block, two of them in each of the four stages
where ResNet18 has two: 13,340,480 parameters, against 11,176,512 of ResNet18, and 26 layers with
the task block. (PyTorch code that goes by the name of ResNeXt18 often groups the second of
ResNet18's two 3x3 convolutions at double width instead, 20.3 million parameters; Xie et al.,
section 3.3, call such grouping trivial.)
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tffcxr.models.networks import backbones, grouped
from tffcxr.models.networks.architecture import Architecture

RESNEXT18_BLOCKS = (2, 2, 2, 2)
RESNEXT50_BLOCKS = (3, 4, 6, 3)
RESNEXT18_GRADCAM_LAYER = "stage4_block2_out"
RESNEXT50_GRADCAM_LAYER = "stage4_block3_out"

_CARDINALITY = 32
_GROUP_WIDTH = 4  # channels of a group in the first stage; each stage doubles them
_EXPANSION = 2  # channels after a block by those within it
_EPSILON = 1e-5  # torchvision's, as the momentum
_MOMENTUM = 0.9


def resnext18(image_size: int) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 2048].

    13,340,480 parameters and 38,528 moving statistics.
    """
    return _resnext(image_size, RESNEXT18_BLOCKS, "resnext18")


def resnext50(image_size: int) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 2048].

    ResNeXt50 32x4d: 22,979,904 parameters, as torchvision's without its last layer, and 68,224
    moving statistics.
    """
    return _resnext(image_size, RESNEXT50_BLOCKS, "resnext50")


def _resnext(image_size: int, blocks: Sequence[int], name: str) -> tf.keras.Model:
    layers = tf.keras.layers
    images, x = backbones.grey_input(image_size)
    x = _convolution(x, 64, 7, "conv1", strides=2)  # [B, S / 2, S / 2, 64]
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)  # [B, S / 4, ., 64]
    for stage, count in enumerate(blocks, start=1):
        width = _CARDINALITY * _GROUP_WIDTH * 2 ** (stage - 1)
        for block in range(1, count + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _block(x, width, strides, f"stage{stage}_block{block}")
    features = layers.GlobalAveragePooling2D(name="features")(x)
    return tf.keras.Model(images, features, name=name)


def _block(x: tf.Tensor, width: int, strides: int, name: str) -> tf.Tensor:
    """Maps [B, H, W, C] to [B, H / strides, W / strides, 2 width]; figure 3c of Xie et al."""
    layers = tf.keras.layers
    shortcut = x
    if x.shape[-1] != _EXPANSION * width:
        shortcut = _convolution(x, _EXPANSION * width, 1, f"{name}_shortcut", strides)
    x = layers.ReLU(name=f"{name}_relu1")(_convolution(x, width, 1, f"{name}_conv1"))
    x = _convolution(x, width, 3, f"{name}_conv2", strides, _CARDINALITY)
    x = layers.ReLU(name=f"{name}_relu2")(x)
    x = _convolution(x, _EXPANSION * width, 1, f"{name}_conv3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _convolution(
    x: tf.Tensor, filters: int, size: int, name: str, strides: int = 1, groups: int = 1
) -> tf.Tensor:
    """A convolution without bias, then batch norm."""
    kind = grouped.GroupedConv2D if groups > 1 else tf.keras.layers.Conv2D
    x = kind(
        filters,
        size,
        strides,
        padding="same",
        groups=groups,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return tf.keras.layers.BatchNormalization(
        momentum=_MOMENTUM, epsilon=_EPSILON, name=f"{name}_norm"
    )(x)


ARCHITECTURES = {
    "resnext18": Architecture(resnext18, backbones.MINIMUM_IMAGE_SIZE, RESNEXT18_GRADCAM_LAYER),
    "resnext50": Architecture(resnext50, backbones.MINIMUM_IMAGE_SIZE, RESNEXT50_GRADCAM_LAYER),
}
