"""ResNet50 and MobileNetV2 of `tf.keras.applications`: their files give their features.

DenseNet121 is in `tests/models/networks/test_densenet121.py`.
"""

import types

import h5py
import numpy as np
import pytest
import tensorflow as tf

from tests.models import references
from tests.models.files.layouts import keras_3
from tffcxr.errors import InputError
from tffcxr.models.files import pretrained
from tffcxr.models.files.layouts import matching
from tffcxr.models.spec import ModelSpec

_SIZE = 32  # Even, where "same" pads otherwise than both ends alike.


def _preprocessed(package):
    return package.preprocess_input(255.0 * references.grey_images(_SIZE).repeat(3, axis=-1))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """Keras' network without its classifier, its file, and ours from that."""
    tf.keras.utils.set_random_seed(0)
    network = tf.keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(_SIZE, _SIZE, 3), pooling="avg"
    )
    path = tmp_path_factory.mktemp("resnet50") / "notop.h5"
    references.randomise(network).save_weights(path)
    ours = ModelSpec("resnet50", _SIZE, 2, weights=str(path)).build()
    return types.SimpleNamespace(theirs=network, path=path, ours=ours)


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """The same with its classifier, in a file of the whole model."""
    tf.keras.utils.set_random_seed(0)
    network = tf.keras.applications.MobileNetV2(weights=None, input_shape=(_SIZE, _SIZE, 3))
    path = tmp_path_factory.mktemp("mobilenetv2") / "full.h5"
    references.randomise(network).save(path)
    ours = ModelSpec("mobilenetv2", _SIZE, 2, weights=str(path)).build()
    return types.SimpleNamespace(theirs=network, path=path, ours=ours)


def _values(model, path):
    """What a file would fill a model with."""
    given = pretrained.read(model.keras.name, str(path))
    match = matching.match(model, given.stored, given.by_order)
    return [values for _, values in match.pairs]


def _assert_gives_the_same(model, path):
    filled = [w for name in model.representation for w in model.keras.get_layer(name).weights]
    found = _values(model, path)
    assert len(found) == len(filled)
    for values, weight in zip(found, filled):
        np.testing.assert_array_equal(values, weight)


def test_resnet50_without_classifier(resnet):
    images = references.grey_images(_SIZE)
    expected = resnet.theirs(_preprocessed(tf.keras.applications.resnet))
    assert references.difference(resnet.ours, "features", images, expected) < 1e-5


def test_mobilenetv2_with_classifier(mobilenet):
    images = references.grey_images(_SIZE)
    headless = tf.keras.Model(mobilenet.theirs.input, mobilenet.theirs.layers[-2].output)
    expected = headless(_preprocessed(tf.keras.applications.mobilenet_v2))
    assert references.difference(mobilenet.ours, "features", images, expected) < 1e-5


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_newer_formats_of_keras_2(resnet, tmp_path, suffix):
    path = tmp_path / f"resnet50{suffix}"
    resnet.theirs.save(path) if suffix == ".keras" else resnet.theirs.save_weights(path)
    _assert_gives_the_same(resnet.ours, path)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_formats_of_keras_3(mobilenet, tmp_path, suffix):
    path = tmp_path / f"mobilenetv2{suffix}"
    write = keras_3.write_archive if suffix == ".keras" else keras_3.write_weights
    write(path, mobilenet.theirs)
    _assert_gives_the_same(mobilenet.ours, path)


def test_layers_of_other_names_are_taken_in_order(mobilenet, tmp_path):
    """As Keras itself loads what it downloads."""
    path = tmp_path / "mobilenetv2.h5"
    mobilenet.theirs.save_weights(path)
    with h5py.File(path, "r+") as file:
        old = list(file.attrs["layer_names"])
        new = [b"other_%d" % number for number in range(len(old))]
        for before, after in zip(old, new):
            file.move(before, after)
        file.attrs["layer_names"] = new
    _assert_gives_the_same(mobilenet.ours, path)


def test_a_model_of_ours_keeps_how_images_enter_it(resnet, tmp_path):
    """A run's `.keras` and `.h5` say by the names of their layers how images are normalised."""
    for name in ("run.keras", "run.h5"):
        path = tmp_path / name
        save = resnet.ours.keras.save if name == "run.keras" else resnet.ours.keras.save_weights
        save(path)
        given = pretrained.read("resnet50", str(path))
        assert (given.library, given.stem.name) == ("tffcxr", "caffe")


def test_a_file_of_ours_without_names_cannot_say_it(resnet, tmp_path):
    path = tmp_path / "run.weights.h5"
    resnet.ours.keras.save_weights(path)
    with pytest.raises(
        InputError, match=r"expected layers with names, .* save the model as .keras"
    ):
        pretrained.read("resnet50", str(path))


def test_a_model_is_built_again_without_its_file(resnet):
    """With the layers that the file asks for, as checkpoints and evaluators need it."""
    spec = ModelSpec("resnet50", _SIZE, 2, weights=str(resnet.path))
    names = [layer.name for layer in spec.structure().keras.layers]
    assert names == [layer.name for layer in resnet.ours.keras.layers]
    assert {"normalise_caffe", "conv1_conv_pad", "pool1_pool_pad"} <= set(names)


def test_imagenet_is_the_published_file(resnet, monkeypatch):
    asked = []

    def download(name, url, **options):
        asked.append((name, url, options["file_hash"]))
        return str(resnet.path)

    monkeypatch.setattr(tf.keras.utils, "get_file", download)
    _assert_gives_the_same(resnet.ours, "imagenet")
    name = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    folder = "https://storage.googleapis.com/tensorflow/keras-applications/resnet"
    assert asked == [(name, f"{folder}/{name}", "4d473c1dd8becc155b73f8504c6f6626")]
    assert pretrained.stem("resnet50", "imagenet") == pretrained.stem("resnet50", str(resnet.path))
