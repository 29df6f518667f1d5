"""What is taken from `segmentation-models`, and that it leaves Keras as it was."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr import options
from tffcxr.models.networks import segmentation_encoders


def test_keras_keeps_its_own_swish():
    assert segmentation_encoders.package().framework() == "tf.keras"
    assert tf.keras.activations.get("swish") is tf.keras.activations.swish
    layer = tf.keras.layers.Activation.from_config({"activation": "swish"})
    assert layer.activation is tf.keras.activations.swish


def test_every_encoder_is_one_of_the_package():
    names = segmentation_encoders.package().get_available_backbone_names()
    assert {*options.UNETPLUSPLUS_ENCODERS} <= {*options.UNET_ENCODERS} <= {*names}


@pytest.mark.parametrize("backbone", options.UNET_ENCODERS)
def test_images_enter_as_the_package_preprocesses_them(backbone):
    rgb = np.random.default_rng(0).random((2, 3, 4, 1), np.float32).repeat(3, axis=-1)
    preprocess = segmentation_encoders.package().get_preprocessing(backbone)
    expected = preprocess(255.0 * rgb.astype(np.float64))
    found = segmentation_encoders.normalisation(backbone)(rgb)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


# ImageNet's mean and deviation of each channel; VGG's mean in 0..255, blue first.
@pytest.mark.parametrize(
    ("backbone", "black", "white"),
    [
        ("resnet34", [0, 0, 0], [255, 255, 255]),
        ("mobilenetv2", [-1, -1, -1], [1, 1, 1]),
        ("vgg16", [-103.939, -116.779, -123.68], [151.061, 138.221, 131.32]),
        (
            "efficientnetb0",
            [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
            [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225],
        ),
    ],
)
def test_preprocessing_by_hand(backbone, black, white):
    pixels = np.array([[[[0.0] * 3, [1.0] * 3]]], np.float32)
    found = segmentation_encoders.normalisation(backbone)(pixels)
    np.testing.assert_allclose(found[0, 0], [black, white], rtol=1e-5)
