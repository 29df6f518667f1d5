"""DenseNet121 and ResNets from keras-cv and MobileNetV2 from Keras, for one-channel images.

G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, "Densely Connected Convolutional Networks",
CVPR 2017, arXiv:1608.06993. K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image
Recognition", CVPR 2016, arXiv:1512.03385. M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen,
"MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, arXiv:1801.04381.

The grey value is repeated to three channels. Random networks, and keras-cv's ImageNet weights, take
it as it is: those were trained on 0..1 (`include_rescaling=True` divides by 255), and the batch
norm after the first convolution makes up for the offset in a network that starts from random
weights. Weights of other libraries bring a stem of their own, see `stem`. MobileNetV2's were
trained on -1..1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tffcxr.models.networks.architecture import Architecture
from tffcxr.models.networks.stem import PLAIN, Stem

MINIMUM_IMAGE_SIZE = 32

DENSENET121_GRADCAM_LAYER = "relu"
DENSENET121_REPEATS = (6, 12, 24, 16)

RESNET18_GRADCAM_LAYER = "v2_stack_3_block2_out"
RESNET18_BLOCKS = (2, 2, 2, 2)
RESNET34_GRADCAM_LAYER = RESNET50_GRADCAM_LAYER = "v2_stack_3_block3_out"
RESNET34_BLOCKS = RESNET50_BLOCKS = (3, 4, 6, 3)

MOBILENETV2_GRADCAM_LAYER = "out_relu"
# PyTorch's default. With keras-cv's 0.99 and Keras' 0.999 the moving statistics would stay near
# their start for hundreds of steps, more than many federations take, and the network would name one
# class outside of training, whatever it has learnt.
_MOMENTUM = 0.9


def densenet121(image_size: int, stem: Stem = PLAIN) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 1024].

    The parameters are those of `tf.keras.applications.DenseNet121(include_top=False)`:
    7,037,504, of which 83,648 are moving statistics.
    """

    def backbone(shape: tuple[int, int, int]) -> tf.keras.Model:
        import keras_cv

        return keras_cv.models.DenseNetBackbone(
            stackwise_num_repeats=list(DENSENET121_REPEATS),
            include_rescaling=False,
            input_shape=shape,
        )

    return grey_trunk(backbone, image_size, "densenet121", stem=stem)


def resnet18(image_size: int, stem: Stem = PLAIN) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 512].

    11,176,512 parameters, as in torchvision without its last layer, and 9,600 moving statistics.
    """
    return _resnet(image_size, RESNET18_BLOCKS, "basic_block", "resnet18", stem)


def resnet34(image_size: int, stem: Stem = PLAIN) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 512].

    21,284,672 parameters, as in torchvision without its last layer, and 17,024 moving statistics.
    """
    return _resnet(image_size, RESNET34_BLOCKS, "basic_block", "resnet34", stem)


def resnet50(image_size: int, stem: Stem = PLAIN) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 2048].

    The stride of a downsampling block is in its first convolution, as in the paper. No convolution
    has a bias: 23,508,032 parameters, as in torchvision without its last layer, and 53,120 moving
    statistics.
    """
    return _resnet(image_size, RESNET50_BLOCKS, "block", "resnet50", stem)


def mobilenetv2(image_size: int) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 1280].

    The width multiplier is 1: 2,223,872 parameters, as in torchvision without its last layer, and
    34,112 moving statistics. The task block has no dropout before it, other than torchvision's: its
    random numbers would make a round depend on more than its seed.
    """

    def backbone(shape: tuple[int, int, int]) -> tf.keras.Model:
        return tf.keras.applications.MobileNetV2(shape, include_top=False, weights=None)

    normalise = tf.keras.layers.Rescaling(2.0, -1.0, name="normalise")  # 0..1 to -1..1
    return grey_trunk(backbone, image_size, "mobilenetv2", normalise)


def grey_input(image_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes the input of a colour network: images [B, S, S, 1], and the same as [B, S, S, 3]."""
    images = tf.keras.Input((image_size, image_size, 1), name="images")
    return images, tf.keras.layers.Concatenate(name="rgb")([images, images, images])


def grey_trunk(
    backbone: Callable[[tuple[int, int, int]], tf.keras.Model],
    image_size: int,
    name: str,
    normalise: tf.keras.layers.Layer | None = None,
    stem: Stem = PLAIN,
) -> tf.keras.Model:
    """Puts a colour backbone behind one grey channel, and averages its last maps.

    keras-cv is imported by the `backbone` alone: it is slow to import, and not every model needs
    it.
    """
    colour = backbone((image_size, image_size, 3))
    for layer in colour.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    images, rgb = grey_input(image_size)
    rgb = normalise(rgb) if normalise else stem.normalise(rgb)
    maps = replay(colour, rgb, stem.call)  # [B, S / 32, S / 32, channels]
    features = tf.keras.layers.GlobalAveragePooling2D(name="features")(maps)
    return tf.keras.Model(images, features, name=name)


def _resnet(
    image_size: int, blocks: Sequence[int], block_type: str, name: str, stem: Stem
) -> tf.keras.Model:
    def backbone(shape: tuple[int, int, int]) -> tf.keras.Model:
        import keras_cv

        return keras_cv.models.ResNetBackbone(
            stackwise_filters=[64, 128, 256, 512],
            stackwise_blocks=list(blocks),
            stackwise_strides=[1, 2, 2, 2],
            include_rescaling=False,
            block_type=block_type,
            input_shape=shape,
        )

    return grey_trunk(backbone, image_size, name, stem=stem)


def _call(layer: tf.keras.layers.Layer, inputs: Any) -> Any:
    return layer(inputs)


def replay(
    model: tf.keras.Model,
    tensor: tf.Tensor,
    call: Callable[[tf.keras.layers.Layer, Any], Any] = _call,
) -> Any:
    """Calls a functional model's layers one by one, so that they do not become one nested layer.

    Args:
      model: has one input, and no layer that is called twice.
      tensor: takes the place of its input.
      call: from a layer and its inputs to its output; may put another layer in its place.

    Returns:
      What stands for `model.output`: a tensor, or several in the same structure.
    """
    replayed = {id(model.input): tensor}
    for layer in model.layers[1:]:
        inputs, output = layer.input, layer.output
        replayed[id(output)] = call(
            layer, tf.nest.map_structure(lambda old: replayed[id(old)], inputs)
        )
    return tf.nest.map_structure(lambda old: replayed[id(old)], model.output)


ARCHITECTURES = {
    "resnet18": Architecture(resnet18, MINIMUM_IMAGE_SIZE, RESNET18_GRADCAM_LAYER, takes_stem=True),
    "resnet34": Architecture(resnet34, MINIMUM_IMAGE_SIZE, RESNET34_GRADCAM_LAYER, takes_stem=True),
    "resnet50": Architecture(resnet50, MINIMUM_IMAGE_SIZE, RESNET50_GRADCAM_LAYER, takes_stem=True),
    "densenet121": Architecture(
        densenet121, MINIMUM_IMAGE_SIZE, DENSENET121_GRADCAM_LAYER, takes_stem=True
    ),
    "mobilenetv2": Architecture(mobilenetv2, MINIMUM_IMAGE_SIZE, MOBILENETV2_GRADCAM_LAYER),
}
