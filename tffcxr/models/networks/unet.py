"""The U-Net of cross-domain federated learning.

V. S. Parekh, S. Lai, V. Braverman, J. Leal, S. Rowe, J. J. Pillai, M. A. Jacobs, "Cross-Domain
Federated Learning in Medical Imaging", MIDL 2022, arXiv:2112.10001, after O. Ronneberger,
P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
arXiv:1505.04597: five encoder blocks, a bridge and five decoder blocks.

    images ─► encoder1 ──────────── concatenate ────────────► decoder1 ─► features
                 └─pool─► encoder2 ─ concatenate ─► decoder2 ─┘unpool
                             └─ …  encoder5 ─► bridge ─► decoder5  … ─┘
"""

from __future__ import annotations

import tensorflow as tf

from tffcxr.models.networks import upsampling
from tffcxr.models.networks.architecture import Architecture, pixels

SIZE_MULTIPLE = 32  # five poolings
GRADCAM_LAYER = "decoder1_norm2"

# Of the encoder blocks from the image down, and of the bridge.
FILTERS = (16, 32, 64, 128, 256, 512)

# A round is often a few dozen steps. With Keras' 0.99 the moving statistics would still be near
# their start when the first validations use them; 0.9 is PyTorch's default.
_MOMENTUM = 0.9


def trunk(image_size: int, filters: tuple[int, ...] = FILTERS, channels: int = 1) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, C] in 0..1 to features [B, S, S, filters].

    A block is two 3x3 convolutions, each followed by ReLU and then batch norm. With the default
    widths it has 7,874,128 parameters, of which 6,016 are moving statistics, and 144 more for each
    channel after the first.

    Args:
      image_size: S in pixels, a multiple of two to the number of encoder blocks (`SIZE_MULTIPLE`
        for five).
      filters: channels of the encoder blocks and, last, of the bridge; a decoder block has those
        of the encoder block beside it. The default doubles from 16, half as wide as the usual
        U-Net at the same depth of five poolings.
      channels: C, of the images; the paper's mpMRI has three.
    """
    layers = tf.keras.layers
    images = tf.keras.Input((image_size, image_size, channels), name="images")
    *widths, bridge = filters
    x = images
    skips = []
    for level, width in enumerate(widths, start=1):
        x = _block(x, width, f"encoder{level}")  # [B, s, s, width]
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"encoder{level}_pool")(x)  # [B, s / 2, s / 2, width]
    x = _block(x, bridge, "bridge")
    for level in range(len(widths), 0, -1):
        name = f"decoder{level}"
        x = upsampling.double(x, f"{name}_unpool")
        x = layers.Concatenate(name=f"{name}_concat")([x, skips[level - 1]])
        x = _block(x, widths[level - 1], name)
    return tf.keras.Model(images, x, name="unet")


def _block(x: tf.Tensor, filters: int, name: str) -> tf.Tensor:
    for number in (1, 2):
        x = tf.keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"{name}_conv{number}",
        )(x)
        x = tf.keras.layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm{number}")(x)
    return x


ARCHITECTURES = {"unet": Architecture(trunk, SIZE_MULTIPLE, GRADCAM_LAYER, pixels(1), True)}
