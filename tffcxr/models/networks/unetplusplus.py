"""U-Net++ with an EfficientNet-B4 encoder, or another one.

Z. Zhou, M. M. Rahman Siddiquee, N. Tajbakhsh, J. Liang, "UNet++: A Nested U-Net Architecture for
Medical Image Segmentation", DLMIA 2018, arXiv:1807.10165. M. Tan, Q. V. Le, "EfficientNet:
Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, arXiv:1905.11946. It is the
network of F. Ślazyk et al., "CXR-FL: Deep Learning-based Chest X-ray Image Analysis Using Federated
Learning", ICCS 2022, arXiv:2204.05203, who took `UnetPlusPlus` of the PyTorch package
`segmentation_models_pytorch`; the decoder here has the blocks, widths and names of that one. The
encoder and its preprocessing are those of the Keras package `segmentation-models`.

Block `x_d_l` joins, at resolution level l, the block before it in its row, upsampled, with every
earlier block of its level and with the encoder's maps. Resolutions are S/16, S/8, S/4 and S/2:

    level 0   level 1   level 2   level 3
    x_0_0 ──► x_0_1 ──► x_0_2 ──► x_0_3 ──► x_0_4 (S, no skip)
              x_1_1 ──► x_1_2 ──► x_1_3
                        x_2_2 ──► x_2_3
                                  x_3_3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools

import tensorflow as tf

from tffcxr import options
from tffcxr.models.networks import segmentation_encoders, upsampling
from tffcxr.models.networks.architecture import Architecture, pixels

GRADCAM_LAYER = "decoder_x_0_4_relu2"
DECODER_PREFIX = "decoder_"

WIDTHS = (256, 128, 64, 32, 16)

# The last maps of each resolution of EfficientNet-B4, S/2 to S/32: 48, 32, 56, 160 and 448
# channels.
_FEATURE_LAYERS = (
    "stem_activation",
    "block2d_add",
    "block3d_add",
    "block5f_add",
    "block7b_add",
)
_DECODER_EPSILON = 1e-5  # PyTorch's default


def trunk(image_size: int, weights: str | None = None) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, S, S, 16].

    The grey value is repeated to three channels and normalised as for ImageNet. Parameters, moving
    statistics apart: 16,742,216 in the encoder, which are the 19,341,616 of EfficientNet-B4 without
    its last convolution and classifier, and 3,264,352 in the decoder, as in the PyTorch package
    (which keeps the encoder's last convolution, 806,400 parameters that it never uses).

    Stochastic depth is left out, other than in the PyTorch package; see `segmentation_encoders`.

    Args:
      image_size: S in pixels, a multiple of `segmentation_encoders.SIZE_MULTIPLE`.
      weights: of the encoder: None for random ones, or "imagenet" to download them.

    Raises:
      Exception: the weights could not be downloaded (Keras raises no narrower class).
    """
    encoder = segmentation_encoders.encoder("efficientnetb4", image_size, weights)
    maps = [encoder.get_layer(name).output for name in _FEATURE_LAYERS]
    return _trunk(tf.keras.Model(encoder.input, maps[::-1]), "efficientnetb4", "unetplusplus")


def trunk_of(backbone: str, image_size: int, weights: str | None = None) -> tf.keras.Model:
    """The same with another encoder, and the maps that `segmentation-models` takes from it.

    Args:
      backbone: the encoder, one of `options.UNETPLUSPLUS_ENCODERS`.
      image_size: see `trunk`.
      weights: see `trunk`.

    Raises:
      Exception: see `trunk`.
    """
    encoder = segmentation_encoders.encoder(backbone, image_size, weights)
    maps = [encoder.output, *segmentation_encoders.skips(encoder, backbone)]
    return _trunk(tf.keras.Model(encoder.input, maps), backbone, f"unetplusplus_{backbone}")


def _trunk(encoder: tf.keras.Model, backbone: str, name: str) -> tf.keras.Model:
    """Joins an encoder of five maps, S/32 first, and the decoder."""
    images, maps = segmentation_encoders.of_grey_images(encoder, backbone)
    return tf.keras.Model(images, _decode(maps), name=name)


def _decode(features: Sequence[tf.Tensor]) -> tf.Tensor:
    """Builds the decoder on the encoder's maps, S/32 first; returns [B, S, S, 16]."""
    deepest, *skips = features
    rows = [deepest, *skips[:-1]]  # row d starts at features d and climbs to the finest level
    levels: list[dict[int, tf.Tensor]] = []
    for level, skip in enumerate(skips):
        blocks: dict[int, tf.Tensor] = {}
        for row in range(level, -1, -1):
            below = rows[row] if row == level else levels[level - 1][row]
            beside = [blocks[other] for other in range(row + 1, level + 1)]
            width = WIDTHS[level] if row == 0 else skip.shape[-1]
            blocks[row] = _block(below, [*beside, skip], width, f"x_{row}_{level}")
        levels.append(blocks)
    return _block(levels[-1][0], [], WIDTHS[-1], f"x_0_{len(skips)}")


def _block(below: tf.Tensor, skips: Sequence[tf.Tensor], width: int, name: str) -> tf.Tensor:
    """Upsamples, joins the skips, then twice 3x3 convolution, batch norm, ReLU."""
    layers = tf.keras.layers
    name = f"{DECODER_PREFIX}{name}"
    x = upsampling.double(below, f"{name}_upsample")
    if skips:
        x = layers.Concatenate(name=f"{name}_concat")([x, *skips])
    for number in (1, 2):
        x = layers.Conv2D(
            width,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_uniform",
            name=f"{name}_conv{number}",
        )(x)
        x = layers.BatchNormalization(
            momentum=segmentation_encoders.MOMENTUM,
            epsilon=_DECODER_EPSILON,
            name=f"{name}_norm{number}",
        )(x)
        x = layers.ReLU(name=f"{name}_relu{number}")(x)
    return x


def _architecture(make_trunk: Callable[..., tf.keras.Model]) -> Architecture:
    # The PyTorch implementation's last convolution is 3x3.
    return Architecture(
        make_trunk,
        segmentation_encoders.SIZE_MULTIPLE,
        GRADCAM_LAYER,
        pixels(3),
        takes_weights=True,
    )


ARCHITECTURES = {
    "unetplusplus": _architecture(trunk),
    **{
        f"unetplusplus_{backbone}": _architecture(functools.partial(trunk_of, backbone))
        for backbone in options.UNETPLUSPLUS_ENCODERS
    },
}
