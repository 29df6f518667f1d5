"""U-Nets with a classifier as encoder: `Unet` of the package `segmentation-models`.

O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015, arXiv:1505.04597. P. Iakubovskii, "Segmentation Models",
https://github.com/qubvel/segmentation_models, 2019, whose decoder doubles the encoder's last maps
five times, joins them with the encoder's maps of S/16, S/8, S/4 and S/2 (VGG: also S), and has two
3x3 convolutions with batch norm and ReLU at each resolution: 256, 128, 64, 32 and 16 channels.

The network is built by the package; `segmentation_encoders` says what then differs. The package's
last convolution is the task block.
"""

from __future__ import annotations

import functools

import tensorflow as tf

from tffcxr import options
from tffcxr.models.networks import segmentation_encoders
from tffcxr.models.networks.architecture import Architecture, pixels

GRADCAM_LAYER = "decoder_stage4b_relu"
_LAST_CONVOLUTION = "final_conv"


def trunk(backbone: str, image_size: int, weights: str | None = None) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, S, S, 16].

    Args:
      backbone: the encoder, one of `options.UNET_ENCODERS`.
      image_size: S in pixels, a multiple of `segmentation_encoders.SIZE_MULTIPLE`.
      weights: of the encoder: None for random ones, or "imagenet" to download them.

    Raises:
      Exception: the weights could not be downloaded (Keras raises no narrower class).
    """
    unet = segmentation_encoders.package().Unet(
        backbone, input_shape=(image_size, image_size, 3), encoder_weights=weights
    )
    headless = tf.keras.Model(unet.input, unet.get_layer(_LAST_CONVOLUTION).input)
    images, features = segmentation_encoders.of_grey_images(headless, backbone)
    return tf.keras.Model(images, features, name=f"unet_{backbone}")


ARCHITECTURES = {
    f"unet_{backbone}": Architecture(
        functools.partial(trunk, backbone),
        segmentation_encoders.SIZE_MULTIPLE,
        GRADCAM_LAYER,
        pixels(3),
        takes_weights=True,
    )
    for backbone in options.UNET_ENCODERS
}
