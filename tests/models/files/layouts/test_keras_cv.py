"""Presets of keras-cv give the features of keras-cv's networks."""

import keras_cv
import numpy as np
import tensorflow as tf

from tests.models import references
from tffcxr.models.files import pretrained
from tffcxr.models.files.layouts import matching
from tffcxr.models.spec import ModelSpec

_SIZE = 32


def test_resnet50(tmp_path):
    tf.keras.utils.set_random_seed(0)
    backbone = keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=[3, 4, 6, 3],
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=True,  # As its presets have it.
        input_shape=(_SIZE, _SIZE, 3),
    )
    preset, older = tmp_path / "model.weights.h5", tmp_path / "classification-v0-notop.h5"
    references.randomise(backbone).save_weights(preset)
    backbone.save_weights(older)
    ours = ModelSpec("resnet50", _SIZE, 2, weights=str(preset)).build()
    images = references.grey_images(_SIZE)
    expected = np.mean(backbone(255.0 * images.repeat(3, axis=-1)), axis=(1, 2))
    assert references.difference(ours, "features", images, expected) < 1e-5
    given = pretrained.read("resnet50", str(older))
    assert (given.library, given.stem.name) == ("keras-cv", "plain")
    for weight, values in matching.match(ours, given.stored, given.by_order).pairs:
        np.testing.assert_array_equal(weight, values)
