"""EfficientNet-Lite0 from keras-cv, for one-channel images.

M. Tan, Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML
2019, arXiv:1905.11946. The Lite networks leave out its squeeze-and-excitation, use ReLU6 and keep
the stem and the last convolution as wide as they are
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
"""

from __future__ import annotations

import tensorflow as tf

from tffcxr.models.networks import backbones
from tffcxr.models.networks.architecture import Architecture

GRADCAM_LAYER = "top_activation"
REPEATS = (1, 2, 2, 3, 3, 4, 1)

# The grey value is repeated to three channels, of which the published weights take
# (255 x - 127) / 128.
_SCALE, _OFFSET = 255.0 / 128.0, -127.0 / 128.0


def efficientnetlite0(image_size: int) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 1280].

    3,371,008 parameters, as many as published without the last layer, and 42,016 moving statistics.
    Blocks are not dropped at random: the random numbers would make a round depend on more than its
    seed.
    """

    def backbone(shape: tuple[int, int, int]) -> tf.keras.Model:
        import keras_cv

        return keras_cv.models.EfficientNetLiteBackbone(
            include_rescaling=False,
            width_coefficient=1.0,
            depth_coefficient=1.0,
            stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
            stackwise_num_repeats=list(REPEATS),
            stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
            stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
            stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
            stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
            drop_connect_rate=0.0,
            input_shape=shape,
        )

    normalise = tf.keras.layers.Rescaling(_SCALE, _OFFSET, name="normalise")
    return backbones.grey_trunk(backbone, image_size, "efficientnetlite0", normalise)


ARCHITECTURES = {
    "efficientnetlite0": Architecture(
        efficientnetlite0, backbones.MINIMUM_IMAGE_SIZE, GRADCAM_LAYER
    ),
}
