"""DenseNet121 is that of keras.applications and of keras-cv, and takes the weights of both."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models import counts, references
from tffcxr.errors import InputError
from tffcxr.models.files import pretrained
from tffcxr.models.files.layouts import matching
from tffcxr.models.spec import ModelSpec

SIZE = 36  # Even at the first convolution and pooling, where "same" pads the ends differently.


@pytest.fixture(scope="module")
def published():
    """keras.applications' DenseNet121 with random weights and random moving statistics."""
    tf.keras.utils.set_random_seed(0)
    return references.randomise(
        tf.keras.applications.DenseNet121(
            include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg"
        )
    )


@pytest.fixture(scope="module")
def densenet(published, tmp_path_factory):
    """Ours with those weights."""
    path = tmp_path_factory.mktemp("densenet121") / "notop.h5"
    published.save_weights(path)
    return ModelSpec("densenet121", SIZE, 2, weights=str(path)).build()


def test_parameters_are_those_of_keras_applications(densenet, published):
    task = 2 * 1024 + 2
    assert published.count_params() == 7_037_504
    assert densenet.keras.count_params() - task == published.count_params()
    trainable = counts.parameters(published.trainable_weights)
    assert counts.parameters(densenet.keras.trainable_weights) - task == trainable
    assert counts.parameters(densenet.keras.non_trainable_weights) == 83_648


def test_has_121_layers_with_the_task_block(densenet):
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.Dense)
    assert sum(isinstance(layer, kinds) for layer in densenet.keras.layers) == 121
    assert not any(isinstance(layer, tf.keras.Model) for layer in densenet.keras.layers)


def test_gradcam_layer_is_the_last_feature_map(densenet):
    assert densenet.keras.get_layer(densenet.gradcam_layer).output_shape == (None, 1, 1, 1024)
    assert densenet.keras.get_layer("features").input.name.startswith(densenet.gradcam_layer)


def test_the_smallest_image_goes_through(densenet):
    # Its layers take any size, which `__call__` would compare with that of the input.
    logits = densenet.keras.call(tf.zeros([2, 32, 32, 1]))
    assert logits.shape == (2, 2)
    assert np.all(np.isfinite(logits))


def test_moving_statistics_follow_within_a_few_steps(densenet):
    """As in `test_backbones`."""
    kind = tf.keras.layers.BatchNormalization
    momenta = [layer.momentum for layer in densenet.keras.layers if isinstance(layer, kind)]
    assert momenta == [0.9] * 121


def test_a_file_of_keras_applications_gives_its_features(densenet, published):
    images = references.grey_images(SIZE)
    rgb = tf.keras.applications.densenet.preprocess_input(255.0 * images.repeat(3, axis=-1))
    assert references.difference(densenet, "features", images, published(rgb)) < 1e-5


def test_a_preset_of_keras_cv_fills_every_layer(densenet, tmp_path):
    """By classes of layers in their order, which is all that its `.weights.h5` has."""
    import keras_cv

    backbone = references.randomise(
        keras_cv.models.DenseNetBackbone(
            stackwise_num_repeats=[6, 12, 24, 16],
            include_rescaling=True,
            input_shape=(SIZE, SIZE, 3),
        ),
        seed=2,
    )
    backbone.save_weights(tmp_path / "model.weights.h5")
    given = pretrained.read("densenet121", str(tmp_path / "model.weights.h5"))
    assert (given.library, given.stem.name) == ("keras-cv", "plain")
    match = matching.match(densenet, given.stored, given.by_order)
    for layer in densenet.representation:
        for weight in backbone.get_layer(layer).weights:
            np.testing.assert_array_equal(match.pairs.pop(0)[1], weight)
    assert not match.pairs


def test_imagenet_weights_without_a_network_name_the_way_out(monkeypatch):
    def download(*_, **__):
        raise OSError("no route to host\nsecond line")

    monkeypatch.setattr(tf.keras.utils, "get_file", download)
    with pytest.raises(InputError, match=r"no route to host\): use --weights=FILE") as raised:
        pretrained.read("densenet121", "imagenet")
    assert "\n" not in str(raised.value)
