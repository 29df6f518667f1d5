"""Grad-CAM++ against the paper's formula worked out by hand, and where it must be Grad-CAM."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.explanation import gradcam
from tffcxr.models.spec import ModelSpec

IMAGES = np.array([[[1.0, 2.0], [0.0, 1.0]]], np.float32)[..., None]  # [1, 2, 2, 1]


def _model(filters, gradients, activation=None):
    """Maps `filters[k] * x + (k-th bias)`, whose gradient for output n is `gradients[n]`.

    Args:
      filters: (factor, offset) of each of the K maps.
      gradients: [outputs, 2, 2, K].
      activation: of the maps.
    """
    images = tf.keras.Input((2, 2, 1))
    maps = tf.keras.layers.Conv2D(len(filters), 1, activation=activation, name="maps")(images)
    outputs = tf.keras.layers.Dense(len(gradients), name="task")
    model = tf.keras.Model(images, outputs(tf.keras.layers.Flatten()(maps)))
    factors, offsets = np.transpose(filters)
    model.get_layer("maps").set_weights([factors.reshape(1, 1, 1, -1), offsets])
    kernel = np.reshape(gradients, (len(gradients), -1)).T
    model.get_layer("task").set_weights([kernel, np.zeros(len(gradients))])
    return model


def test_heat_of_two_maps_by_hand():
    # Maps A = x = [[1, 2], [0, 1]], sum 4, and B = 2 - x = [[1, 0], [2, 1]], sum 4.
    gradients = np.zeros((1, 2, 2, 2))
    gradients[0, ..., 0] = [[1.0, -1.0], [2.0, 0.5]]
    gradients[0, ..., 1] = [[0.25, 0.0], [1.0, -2.0]]
    # alpha = 1 / (2 + 4 g) where g > 0: A's weight is 1/6 + 2/10 + 0.5/4 = 59/120,
    # B's 0.25/3 + 1/6 = 1/4 = 30/120. So the heat is (59 A + 30 B) / 120.
    heat = np.array([[59 + 30, 118], [60, 59 + 30]]) / 118
    model = _model([(1.0, 0.0), (-1.0, 2.0)], gradients)
    found = gradcam.grad_cam_plus_plus(model, "maps", IMAGES, 0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, heat[None], atol=1e-6)


def test_is_the_formula_of_the_paper_term_by_term():
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(1, 2, 2, 3))
    model = _model([(1.0, 0.0), (0.5, 1.0), (3.0, 0.2)], gradients)
    images = rng.random((4, 2, 2, 1), np.float32)
    maps = images * [1.0, 0.5, 3.0] + [0.0, 1.0, 0.2]  # [4, 2, 2, 3]
    g = gradients[0]
    expected = []
    for image, score in zip(maps, model(images).numpy()[:, 0]):
        y = np.exp(score)  # Y = exp(S), whose n-th derivative is Y g^n
        alpha = y * g**2 / (2 * y * g**2 + image.sum(axis=(0, 1)) * y * g**3)
        weights = (alpha * np.maximum(y * g, 0)).sum(axis=(0, 1))
        heat = np.maximum((weights * image).sum(axis=2), 0)
        expected.append(heat / heat.max())
    found = gradcam.grad_cam_plus_plus(model, "maps", images, 0, batch_size=3)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_one_map_of_constant_gradient_is_grad_cam_s():
    model = _model([(2.0, 0.0)], np.full((1, 2, 2, 1), 0.7))
    plain = gradcam.grad_cam(model, "maps", IMAGES, 0)
    np.testing.assert_allclose(plain[0], IMAGES[0, ..., 0] / 2, atol=1e-6)
    np.testing.assert_allclose(
        gradcam.grad_cam_plus_plus(model, "maps", IMAGES, 0), plain, atol=1e-6
    )


def test_maps_of_one_sum_and_constant_gradient_differ_from_grad_cam_by_what_speaks_against():
    # A = x and B = 2 - x have the sum 4. Gradients 1 and 1: the same weight in either method.
    both = _model([(1.0, 0.0), (-1.0, 2.0)], np.ones((1, 2, 2, 2)))
    for explain in (gradcam.grad_cam, gradcam.grad_cam_plus_plus):
        np.testing.assert_allclose(explain(both, "maps", IMAGES, 0), np.ones((1, 2, 2)), atol=1e-6)
    # Gradients 1 and -1: Grad-CAM has A - B = 2x - 2, Grad-CAM++ has A alone.
    against = _model([(1.0, 0.0), (-1.0, 2.0)], np.broadcast_to([1.0, -1.0], (1, 2, 2, 2)))
    np.testing.assert_allclose(
        gradcam.grad_cam(against, "maps", IMAGES, 0), [[[0.0, 1.0], [0.0, 0.0]]], atol=1e-6
    )
    np.testing.assert_allclose(
        gradcam.grad_cam_plus_plus(against, "maps", IMAGES, 0),
        [[[0.5, 1.0], [0.0, 0.5]]],
        atol=1e-6,
    )


def test_a_small_region_counts_as_much_as_a_large_one():
    # Map A is one pixel, map B the other three; strong gradients, so that a map's weight times its
    # sum is near the number of positions with a gradient over the number of pixels it covers.
    images = tf.keras.Input((2, 2, 1))
    maps = tf.keras.layers.Concatenate(name="maps")([images, 1 - images])
    model = tf.keras.Model(images, tf.keras.layers.Dense(1)(tf.keras.layers.Flatten()(maps)))
    gradients = np.zeros((2, 2, 2))
    gradients[0, 0, 0] = 1e6  # each map's gradient is where the map is
    gradients[..., 1] = 1e6
    gradients[0, 0, 1] = 0
    model.layers[-1].set_weights([gradients.reshape(-1, 1), np.zeros(1)])
    image = np.array([[[1.0, 0.0], [0.0, 0.0]]], np.float32)[..., None]
    found = gradcam.grad_cam_plus_plus(model, "maps", image, 0)
    np.testing.assert_allclose(found, np.ones((1, 2, 2)), atol=1e-5)
    plain = gradcam.grad_cam(model, "maps", image, 0)
    np.testing.assert_allclose(plain, [[[1 / 3, 1.0], [1.0, 1.0]]], atol=1e-5)


def test_output_index_chooses_the_class():
    gradients = np.zeros((3, 2, 2, 2))
    for output, (a, b) in enumerate([(1.0, 0.0), (0.0, 1.0), (-1.0, -1.0)]):
        gradients[output, ..., 0], gradients[output, ..., 1] = a, b
    model = _model([(1.0, 0.0), (-1.0, 2.0)], gradients)
    x = IMAGES[0, ..., 0]
    for output, heat in enumerate([x / 2, (2 - x) / 2, np.zeros((2, 2))]):
        found = gradcam.grad_cam_plus_plus(model, "maps", IMAGES, output)
        np.testing.assert_allclose(found[0], heat, atol=1e-6)


def test_strong_gradients_and_empty_maps_stay_finite():
    gradients = np.full((1, 2, 2, 1), 1e12)
    model = _model([(1.0, 0.0)], gradients)
    found = gradcam.grad_cam_plus_plus(model, "maps", IMAGES, 0)
    np.testing.assert_allclose(found[0], IMAGES[0, ..., 0] / 2, rtol=1e-5)
    empty = gradcam.grad_cam_plus_plus(model, "maps", np.zeros_like(IMAGES), 0)
    np.testing.assert_array_equal(empty, np.zeros((1, 2, 2)))


@pytest.mark.parametrize(
    ("model", "layer", "images", "output", "message"),
    [
        (_model([(-1.0, 0.0)], np.ones((1, 2, 2, 1))), "maps", IMAGES, 0, "not negative, found -2"),
        (_model([(np.nan, 0.0)], np.ones((1, 2, 2, 1))), "maps", IMAGES, 0, "not finite"),
        (_model([(1.0, 0.0)], np.ones((1, 2, 2, 1))), "task", IMAGES, 0, "no feature maps"),
        (_model([(1.0, 0.0)], np.ones((1, 2, 2, 1))), "maps", IMAGES, 1, "output 1 is not one of"),
    ],
)
def test_what_cannot_be_explained_is_named(model, layer, images, output, message):
    with pytest.raises(ValueError, match=message):
        gradcam.grad_cam_plus_plus(model, layer, images, output)


@pytest.mark.parametrize("name", ["standard", "resnet18", "mobilenetv2", "covidnet"])
def test_explains_every_class_of_the_models_of_the_recipes(name):
    model = ModelSpec(name, 64, 2, seed=1, width=0.25).build()
    images = np.random.default_rng(0).random((2, 64, 64, 1), np.float32)
    for output in range(2):
        heat = gradcam.grad_cam_plus_plus(model.keras, model.gradcam_layer, images, output)
        assert heat.shape == (2, 64, 64)
        np.testing.assert_allclose(heat.max(axis=(1, 2)), 1.0, rtol=1e-5)
        assert np.min(heat) >= 0
