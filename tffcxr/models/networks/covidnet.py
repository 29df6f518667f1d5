"""COVID-Net, for one-channel images.

L. Wang, Z. Q. Lin, A. Wong, "COVID-Net: a tailored deep convolutional neural network design for
detection of COVID-19 cases from chest X-ray images", Scientific Reports 10:19549, 2020,
arXiv:2003.09871.

Its unit is "PEPX": a 1x1 convolution projects to fewer channels, one expands, a depthwise 3x3
convolution sees the neighbours, one 1x1 convolution projects again and one extends. Four stages
have 3, 4, 6 and 3 units. Long-range connections join them: a unit sees the sum of the units before
it in its stage and of a 1x1 convolution of the stage before.

A search by machine gave every unit widths of its own, which the authors have not published (the FAQ
of their repository, lindawangg/COVID-Net, says so; they published weights). This is the topology
that the open implementations (iliasprc/COVIDNet and others) took from the paper's figure: stages of
56, 112, 216 and 424 channels, projection to a half and expansion to three quarters of a unit's
input, the last maps flattened, a dense layer of 512. It differs from them in this: their
convolutions have biases, and a unit has one batch norm, at its end, and no ReLU; here batch norm
and ReLU follow the first convolution, those of the long-range connections, and in a unit the
expansion and the depthwise convolution; the sum of maps is pooled, not each map; and a ReLU follows
the last sum. `residual.py` lets units begin at a scale of 0. The end of a unit is linear as theirs:
with a ReLU the sums drift to large positive values, the same for all images (after eight passes
over 275 phantoms of 64 pixels the training loss was 0.82 with it and 0.27 without, by whole
networks that began at a scale of 1).

Counts, with the task block of three classes: the paper has 11.75 million parameters and 7.50
billion multiply-adds, of images of 480 pixels (the repository lists them so, for the weights
COVIDNet-CXR3-B). This network at 224 pixels has 12.07 million parameters (2.7 % more), 10.64 of
them in the dense layer, and 0.42 billion multiply-adds, where the paper's would have
(224 / 480)² * 7.50 = 1.63. At 480 pixels the dense layer alone would have 48.8 million parameters,
so no network that flattens maps of these widths into it can have both of the paper's numbers.
"""

from __future__ import annotations

import tensorflow as tf

from tffcxr.models.networks import backbones
from tffcxr.models.networks.architecture import Architecture

MINIMUM_IMAGE_SIZE = 32  # halved five times
GRADCAM_LAYER = "maps"

WIDTHS = (56, 112, 216, 424)
UNITS = (3, 4, 6, 3)
FEATURES = 512

_MOMENTUM = 0.9  # PyTorch's default, as the epsilon
_EPSILON = 1e-5


def trunk(image_size: int) -> tf.keras.Model:
    """Builds the representation block: images [B, S, S, 1] in 0..1 to features [B, 512].

    At S = 224: 12,065,512 parameters and 16,544 moving statistics. The dense layer grows with the
    image, (S / 32)² * 424 * 512 parameters.
    """
    layers = tf.keras.layers
    images, x = backbones.grey_input(image_size)
    x = _normalised_relu(_convolution(x, WIDTHS[0], 7, "conv1", strides=2), "conv1")
    x = layers.MaxPooling2D(2, name="pool1")(x)  # [B, S / 4, S / 4, 56]
    for stage, (width, units) in enumerate(zip(WIDTHS, UNITS), start=1):
        link = _normalised_relu(
            _convolution(x, width, 1, f"stage{stage}_link"), f"stage{stage}_link"
        )
        if stage > 1:
            link = layers.MaxPooling2D(2, name=f"stage{stage}_link_pool")(link)
            x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
        x = _stage(x, link, width, units, f"stage{stage}")
    x = layers.ReLU(name="maps")(x)  # Grad-CAM++ weighs maps that are not negative.
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(FEATURES, activation="relu", kernel_initializer="he_normal", name="features")(
        x
    )
    return tf.keras.Model(images, x, name="covidnet")


def _stage(x: tf.Tensor, link: tf.Tensor, width: int, units: int, name: str) -> tf.Tensor:
    """Returns the sum of the link and all units, each of which sees the sum before it."""
    total = link
    for number in range(1, units + 1):
        unit = _pepx(x, width, f"{name}_unit{number}")
        total = x = tf.keras.layers.Add(name=f"{name}_unit{number}_sum")([total, unit])
    return total


def _pepx(x: tf.Tensor, width: int, name: str) -> tf.Tensor:
    """Projection, expansion, depthwise 3x3, projection, extension: [B, H, W, C] to […, width]."""
    projected, expanded = x.shape[-1] // 2, x.shape[-1] * 3 // 4
    x = _convolution(x, projected, 1, f"{name}_project1")
    x = _normalised_relu(_convolution(x, expanded, 1, f"{name}_expand"), f"{name}_expand")
    x = tf.keras.layers.DepthwiseConv2D(
        3,
        padding="same",
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise",
    )(x)
    x = _normalised_relu(x, f"{name}_depthwise")
    x = _convolution(x, projected, 1, f"{name}_project2")
    return _normalised(_convolution(x, width, 1, f"{name}_extend"), f"{name}_extend")


def _convolution(x: tf.Tensor, filters: int, size: int, name: str, strides: int = 1) -> tf.Tensor:
    """No bias: a batch norm behind it, here or after the next convolution, would take it away."""
    return tf.keras.layers.Conv2D(
        filters,
        size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _normalised(x: tf.Tensor, name: str) -> tf.Tensor:
    return tf.keras.layers.BatchNormalization(
        momentum=_MOMENTUM, epsilon=_EPSILON, name=f"{name}_norm"
    )(x)


def _normalised_relu(x: tf.Tensor, name: str) -> tf.Tensor:
    return tf.keras.layers.ReLU(name=f"{name}_relu")(_normalised(x, name))


ARCHITECTURES = {"covidnet": Architecture(trunk, MINIMUM_IMAGE_SIZE, GRADCAM_LAYER)}
