"""EfficientNet-Lite0 is the published network, and its ImageNet weights give its features."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models import counts
from tffcxr.models.spec import ModelSpec


@pytest.fixture(scope="module")
def model():
    return ModelSpec("efficientnetlite0", 64, 2, weights="imagenet").build()


def test_parameters_are_as_many_as_published(model):
    """4,652,008 with a layer of 1000 classes."""
    base = 4_652_008 - 1000 * 1281
    assert counts.parameters(model.keras.trainable_weights) - 2 * 1281 == base
    assert counts.parameters(model.keras.non_trainable_weights) == 42_016
    assert model.keras.get_layer(model.gradcam_layer).output_shape == (None, 2, 2, 1280)


def test_no_layer_has_random_numbers_of_its_own(model):
    assert not [x for x in model.keras.layers if isinstance(x, tf.keras.layers.Dropout)]


# The grey image below through `efficientnet_lite_pytorch` 0.1.0 and PyTorch 2.14:
#   net = EfficientNet.from_pretrained("efficientnet-lite0", FILE, image_size=64).eval()
#   rgb = torch.from_numpy((255 * np.stack([image] * 3)[np.newaxis] - 127) / 128).float()
#   net.extract_features(rgb).mean((2, 3))[0][7::80]
_FEATURES = [
    *(0.30604199, 0.0, 0.21464901, 0.0, 0.0, 0.92718899, 1.07504797, 0.0847120),
    *(0.0, 3.80697393, 0.0, 0.0, 0.0, 2.86426711, 0.0, 2.39374208),
]


def test_features_with_imagenet_weights_are_those_of_the_pytorch_network(model):
    y, x = np.mgrid[0:64, 0:64] / 63
    image = (0.5 + 0.3 * np.sin(9 * x + 4 * y * y) + 0.2 * np.cos(14 * y) * x).astype(np.float32)
    trunk = tf.keras.Model(model.keras.input, model.keras.get_layer("features").output)
    features = trunk(image[np.newaxis, :, :, np.newaxis]).numpy()[0]
    np.testing.assert_allclose(features[7::80], _FEATURES, atol=1e-4)
    np.testing.assert_allclose(features.mean(), 0.6871556, atol=1e-5)
