"""The multi-task model says exactly what each site's own model says."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.models import blocks
from tffcxr.models.files import model_file, multi_task
from tffcxr.models.spec import ModelSpec

COLUMNS = {"Lung Opacity": "north", "Pneumothorax": "south"}


def _site(seed, outputs=2):
    """A model with a shared trunk (seed 0) and a task block of its own."""
    model = ModelSpec("standard", 32, outputs, seed=0).build()
    rng = np.random.default_rng(seed)
    kernel, bias = blocks.get_weights(model.keras, model.task)
    blocks.set_weights(
        model.keras,
        model.task,
        [rng.normal(0, 0.05, kernel.shape), rng.normal(0, 0.05, bias.shape)],
    )
    return model


def _head(model, column=0):
    """A column of a model's task block."""
    kernel, bias = blocks.get_weights(model.keras, model.task)
    return [kernel[:, column : column + 1], bias[column : column + 1]]


def _heads(sites):
    """The first finding is the north's first output, the second the south's second one."""
    return dict(zip(COLUMNS, (_head(sites["north"], 0), _head(sites["south"], 1))))


def _images():
    return np.random.default_rng(9).random((4, 32, 32, 1), np.float32)


def _probabilities(model, column):
    return tf.sigmoid(model.keras(_images()))[:, column].numpy()


@pytest.fixture
def sites():
    return {"north": _site(1), "south": _site(2)}


@pytest.fixture
def joined(sites):
    return multi_task.multi_task_model(sites["north"], _heads(sites), COLUMNS)


def test_several_findings_of_one_site_share_its_trunk(sites):
    north = sites["north"]
    heads = {"Mass": _head(north, 1), "Edema": _head(north, 0)}
    model = multi_task.multi_task_model(north, heads, dict.fromkeys(heads, "north"))
    together = model(_images()).numpy()
    np.testing.assert_allclose(together[:, 0], _probabilities(north, 1), atol=1e-6)
    np.testing.assert_allclose(together[:, 1], _probabilities(north, 0), atol=1e-6)


def test_each_finding_comes_from_its_own_sites_column(sites, joined):
    together = joined(_images()).numpy()
    np.testing.assert_allclose(together[:, 0], _probabilities(sites["north"], 0), atol=1e-6)
    np.testing.assert_allclose(together[:, 1], _probabilities(sites["south"], 1), atol=1e-6)
    assert np.ptp(together[:, 0]) > 1e-3


def test_task_blocks_of_width_one():
    north, south = _site(1, outputs=1), _site(2, outputs=1)
    heads = dict(zip(COLUMNS, (_head(north), _head(south))))
    model = multi_task.multi_task_model(north, heads, COLUMNS)
    together = model(_images()).numpy()
    np.testing.assert_allclose(together[:, 0], _probabilities(north, 0), atol=1e-6)
    np.testing.assert_allclose(together[:, 1], _probabilities(south, 0), atol=1e-6)


def test_one_site_with_one_finding():
    site = _site(3, outputs=1)
    model = multi_task.multi_task_model(site, {"Pneumonia": _head(site)}, {"Pneumonia": "a"})
    assert model.output_shape == (None, 1)
    np.testing.assert_allclose(model(_images())[:, 0], _probabilities(site, 0), atol=1e-6)


def test_the_trunk_is_there_once_and_is_a_copy(sites, joined):
    trunk = sum(
        w.shape.num_elements()
        for n in sites["north"].representation
        for w in sites["north"].keras.get_layer(n).weights
    )
    assert joined.count_params() == trunk + 2 * (128 + 1)
    before = joined(_images()).numpy()
    sites["north"].keras.get_layer("conv1").kernel.assign_add(
        tf.ones_like(sites["north"].keras.get_layer("conv1").kernel)
    )
    np.testing.assert_array_equal(joined(_images()).numpy(), before)


def test_sites_whose_trunks_differ_keep_their_own(sites):
    images = _images()
    for index, model in enumerate(sites.values()):
        bias = model.keras.get_layer("features").bias
        bias.assign_add(tf.fill(bias.shape, 0.1 * (index + 1)))
    shared = _site(0)
    trunks = {
        name: blocks.get_weights(model.keras, model.representation) for name, model in sites.items()
    }
    model = multi_task.multi_task_model(shared, _heads(sites), COLUMNS, trunks)
    together = model(images).numpy()
    np.testing.assert_allclose(together[:, 0], _probabilities(sites["north"], 0), atol=1e-6)
    np.testing.assert_allclose(together[:, 1], _probabilities(sites["south"], 1), atol=1e-6)
    names = {layer.name for layer in model.layers}
    assert set(multi_task.gradcam_layers(shared, COLUMNS, trunks).values()) == {
        "north_relu3",
        "south_relu3",
    }
    assert {"north_relu3", "south_relu3"} <= names
    assert "conv3" not in names


def test_batch_norm_of_the_trunk_is_copied_with_its_statistics():
    images = tf.keras.Input((8, 8, 1))
    x = tf.keras.layers.BatchNormalization(name="norm")(images)
    x = tf.keras.layers.GlobalAveragePooling2D(name="pool")(x)
    keras = tf.keras.Model(images, tf.keras.layers.Dense(1, name="task")(x))
    keras.get_layer("norm").moving_mean.assign([0.3])
    keras.get_layer("norm").moving_variance.assign([0.04])
    shared = blocks.CxrModel(keras, ("norm",), ("task",), "norm")
    head = [np.array([[2.0]]), np.array([-1.0])]
    model = multi_task.multi_task_model(shared, {"Pneumonia": head}, {"Pneumonia": "a"})
    image = np.full((1, 8, 8, 1), 0.5, np.float32)
    # Normalised: (0.5 - 0.3) / sqrt(0.04 + 0.001); then 2 x - 1 and the sigmoid.
    logit = 2 * 0.2 / math.sqrt(0.041) - 1
    np.testing.assert_allclose(model(image), [[1 / (1 + math.exp(-logit))]], atol=1e-6)


@pytest.mark.parametrize(
    ("heads", "columns", "message"),
    [
        ({}, {"A": "x"}, "task block of A: expected shapes .* found \\[\\]"),
        ({"A": [np.ones((128, 1)), np.ones(1)]}, {}, "at least one finding"),
        ({"A": [np.ones((64, 1)), np.ones(1)]}, {"A": "x"}, "task block of A: expected shapes"),
        ({"A": [np.ones((128, 2)), np.ones(2)]}, {"A": "x"}, "task block of A"),
        (
            dict.fromkeys(("A b", "A-b"), [np.ones((128, 1)), np.ones(1)]),
            {"A b": "x", "A-b": "x"},
            "names must differ",
        ),
    ],
)
def test_blocks_that_do_not_fit_are_named(heads, columns, message):
    with pytest.raises(ValueError, match=message):
        multi_task.multi_task_model(_site(0), heads, columns)


def test_an_exported_model_serves_as_weights(tmp_path, joined, sites):
    path = tmp_path / "multi_task.keras"
    model_file.save(path, joined, {})
    model = ModelSpec("standard", 32, 7, seed=4, weights=str(path)).build()
    np.testing.assert_array_equal(
        model.keras.get_layer("conv1").kernel, sites["north"].keras.get_layer("conv1").kernel
    )
