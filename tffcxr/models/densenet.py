"""DenseNet121 from keras-cv, for one-channel images.

G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, "Densely Connected Convolutional Networks",
CVPR 2017, arXiv:1608.06993.
"""

from __future__ import annotations

import tensorflow as tf

MINIMUM_IMAGE_SIZE = 32
GRADCAM_LAYER = "relu"

REPEATS = (6, 12, 24, 16)


def trunk(image_size: int) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 1024].

    The grey value is repeated to three channels and nothing else is done to it: keras-cv trained
    its ImageNet weights on 0..1 (`include_rescaling=True` divides by 255), without the mean and
    standard deviation that other libraries subtract, and the batch norm after the first
    convolution makes up for the offset in a network that starts from random weights.

    The parameters are those of `tf.keras.applications.DenseNet121(include_top=False)`:
    7,037,504, of which 83,648 are moving statistics.
    """
    import keras_cv  # Slow to import, and only this model needs it.

    backbone = keras_cv.models.DenseNetBackbone(
        stackwise_num_repeats=list(REPEATS),
        include_rescaling=False,
        input_shape=(image_size, image_size, 3),
    )
    images = tf.keras.Input((image_size, image_size, 1), name="images")
    rgb = tf.keras.layers.Concatenate(name="rgb")([images, images, images])  # [B, S, S, 3]
    maps = _replay(backbone, rgb)  # [B, S / 32, S / 32, 1024]
    features = tf.keras.layers.GlobalAveragePooling2D(name="features")(maps)
    return tf.keras.Model(images, features, name="densenet121")


def _replay(model: tf.keras.Model, tensor: tf.Tensor) -> tf.Tensor:
    """Calls a functional model's layers one by one, so that they do not become one nested layer."""
    replayed = {id(model.input): tensor}
    for layer in model.layers[1:]:
        inputs, output = layer.input, layer.output
        replayed[id(output)] = layer(tf.nest.map_structure(lambda old: replayed[id(old)], inputs))
    return replayed[id(model.output)]
