"""DenseNet121 is that of keras.applications, whose weights it takes, and those of keras-cv."""

import types

import numpy as np
import pytest
import tensorflow as tf

from tests.models import counts
from tffcxr.errors import InputError
from tffcxr.models import blocks
from tffcxr.models.files import pretrained
from tffcxr.models.spec import ModelSpec

SIZE = 33  # odd, so that "same" padding is symmetric and equals keras.applications' own


@pytest.fixture(scope="module")
def densenet():
    """Tests fill its representation block; none depends on what is in it before."""
    return ModelSpec("densenet121", SIZE, 2).build()


@pytest.fixture(scope="module")
def published():
    """keras.applications' DenseNet121 with random weights and random moving statistics."""
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg"
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            channels = layer.gamma.shape[0]
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, channels),
                    rng.normal(0, 0.2, channels),
                    rng.normal(0, 0.2, channels),
                    rng.uniform(0.5, 1.5, channels),
                ]
            )
    return model


def _images(count=2):
    return np.random.default_rng(1).random((count, SIZE, SIZE, 1), np.float32)


def _normalised_rgb(images):
    """The preprocessing that keras.applications asks for, from its own function."""
    rgb = np.repeat(images * 255.0, 3, axis=-1)
    return tf.keras.applications.densenet.preprocess_input(rgb)


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


def test_keras_applications_file_gives_the_published_activations(tmp_path, densenet, published):
    path = tmp_path / "densenet121_notop.h5"
    published.save_weights(path)
    pretrained.read("densenet121", str(path)).fill(densenet)
    images = _images()
    ours = tf.keras.Model(densenet.keras.input, densenet.keras.get_layer("conv1_bn").output)
    theirs = tf.keras.Model(published.input, published.get_layer("conv1/bn").output)
    ours, theirs = ours(images).numpy(), theirs(_normalised_rgb(images)).numpy()
    # Beyond the 7x7 kernel's reach of the border, where the padding means another grey.
    np.testing.assert_allclose(ours[:, 2:-2, 2:-2], theirs[:, 2:-2, 2:-2], atol=2e-5)


def test_keras_applications_file_gives_the_published_features(tmp_path, densenet, published):
    first = published.get_layer("conv1/conv")
    kernel = first.kernel.numpy()
    centre = np.zeros_like(kernel)
    centre[3, 3] = 10 * kernel[3, 3]
    first.set_weights([centre])  # sees no padding, so the networks agree everywhere
    path = tmp_path / "densenet121_notop.h5"
    published.save_weights(path)
    images = _images()
    theirs = published(_normalised_rgb(images)).numpy()
    first.set_weights([kernel])
    pretrained.read("densenet121", str(path)).fill(densenet)
    features = tf.keras.Model(densenet.keras.input, densenet.keras.get_layer("features").output)
    assert theirs.std() > 0.1
    np.testing.assert_allclose(features(images).numpy(), theirs, atol=1e-4)


class _Weight:
    """Stands for a variable of a downloaded backbone."""

    def __init__(self, weight):
        self.name = weight.name
        self.values = np.random.default_rng(weight.shape.num_elements()).random(weight.shape)

    def numpy(self):
        return self.values


def test_imagenet_weights_are_those_of_keras_cv(monkeypatch, densenet):
    import keras_cv

    names = densenet.representation
    preset = types.SimpleNamespace(
        layers=[
            types.SimpleNamespace(name=name, weights=[_Weight(w) for w in layer.weights])
            for name, layer in ((name, densenet.keras.get_layer(name)) for name in names)
        ]
    )
    presets = {"densenet121_imagenet": preset}
    monkeypatch.setattr(keras_cv.models.DenseNetBackbone, "from_preset", presets.__getitem__)
    pretrained.read("densenet121", "imagenet").fill(densenet)
    expected = [weight.numpy() for layer in preset.layers for weight in layer.weights]
    for a, b in zip(blocks.get_weights(densenet.keras, names), expected):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_imagenet_weights_without_a_network_name_the_way_out(monkeypatch, densenet):
    import keras_cv

    def from_preset(name):
        raise OSError("no route to host\nsecond line")

    monkeypatch.setattr(keras_cv.models.DenseNetBackbone, "from_preset", from_preset)
    with pytest.raises(InputError, match=r"no route to host\): use --weights=FILE") as raised:
        pretrained.read("densenet121", "imagenet").fill(densenet)
    assert "\n" not in str(raised.value)
