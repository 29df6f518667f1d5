"""Grad-CAM against heat worked out by hand on networks small enough for it."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.explanation import gradcam

IMAGES = np.array([[[0.0, 0.2], [0.4, 1.0]], [[1.0, 0.0], [0.0, 0.5]]], np.float32)[
    ..., None
]  # [2, 2, 2, 1]


def _linear(filters, head, size=2, activation=None):
    """One 1x1 convolution `filters[k] * x`, global average, and a dense head [K, outputs]."""
    images = tf.keras.Input((size, size, 1))
    x = tf.keras.layers.Conv2D(len(filters), 1, use_bias=False, activation=activation, name="maps")(
        images
    )
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    model = tf.keras.Model(images, tf.keras.layers.Dense(len(head[0]), name="task")(x))
    model.get_layer("maps").set_weights([np.reshape(filters, (1, 1, 1, -1))])
    model.get_layer("task").set_weights([np.array(head), np.zeros(len(head[0]))])
    return model


def test_heat_of_a_linear_model_is_its_weighted_feature_maps():
    # Maps x and -2x with head weights 3 and 1: (3x - 2x) / 4 pixels, so heat is x over its maximum.
    model = _linear([1.0, -2.0], [[3.0], [1.0]])
    heat = gradcam.grad_cam(model, "maps", IMAGES, 0)
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, IMAGES[..., 0], atol=1e-6)


def test_compiled_gradients_follow_the_weights_and_the_output():
    model = _linear([1.0, -2.0], [[3.0, 1.0], [1.0, 1.0]])
    compiled: Any = gradcam.compiled_gradients(model, "maps")
    for head in ([[3.0, 1.0], [1.0, 1.0]], [[-1.0, 2.0], [0.5, 0.0]]):
        model.get_layer("task").set_weights([np.array(head), np.zeros(2)])
        for output in (0, 1):
            np.testing.assert_allclose(
                gradcam.grad_cam(model, "maps", IMAGES, output, 1, compiled),
                gradcam.grad_cam(model, "maps", IMAGES, output),
                atol=1e-6,
            )
    assert compiled.experimental_get_tracing_count() == 1


def test_output_index_chooses_the_finding():
    # The second output has weights 1 and 1: x - 2x < 0, which ReLU leaves without heat.
    model = _linear([1.0, -2.0], [[3.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(
        gradcam.grad_cam(model, "maps", IMAGES, 0), IMAGES[..., 0], atol=1e-6
    )
    np.testing.assert_array_equal(gradcam.grad_cam(model, "maps", IMAGES, 1), np.zeros((2, 2, 2)))


def test_gradients_are_not_guided():
    # Maps x and relu(1 - x) + …: a map with a negative weight must count against the heat. Guided
    # gradients would drop it and leave the heat at x.
    images = tf.keras.Input((2, 2, 1))
    maps = tf.keras.layers.Conv2D(2, 1, name="maps")(images)
    pooled = tf.keras.layers.GlobalAveragePooling2D()(maps)
    model = tf.keras.Model(images, tf.keras.layers.Dense(1, name="task")(pooled))
    model.get_layer("maps").set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, 1.0])])
    model.get_layer("task").set_weights([np.array([[1.0], [-1.0]]), np.zeros(1)])
    heat = gradcam.grad_cam(model, "maps", IMAGES[:1], 0)
    # x - (1 - x) = 2x - 1 at 0, 0.2, 0.4, 1 is -1, -0.6, -0.2, 1.
    np.testing.assert_allclose(heat, [[[0.0, 0.0], [0.0, 1.0]]], atol=1e-6)


def test_heat_is_brought_to_the_image_bilinearly():
    images = tf.keras.Input((4, 4, 1))
    maps = tf.keras.layers.AveragePooling2D(2, name="maps")(images)
    model = tf.keras.Model(
        images, tf.keras.layers.Dense(1, kernel_initializer="ones")(tf.keras.layers.Flatten()(maps))
    )
    image = np.zeros((1, 4, 4, 1), np.float32)
    image[0, :, :2] = 1.0  # maps: 1 on the left, 0 on the right
    heat = gradcam.grad_cam(model, "maps", image, 0)[0]
    # Pixel centres lie at -1/4, 1/4, 3/4, 5/4 of the distance between the two cells.
    np.testing.assert_allclose(heat, np.tile([1.0, 0.75, 0.25, 0.0], (4, 1)), atol=1e-6)


def test_every_image_has_maximum_one_and_does_not_depend_on_the_batch():
    model = _linear([1.0], [[2.0]])
    images = np.random.default_rng(0).random((7, 2, 2, 1), np.float32) * 0.01
    heat = gradcam.grad_cam(model, "maps", images, 0, batch_size=3)
    np.testing.assert_allclose(heat.max(axis=(1, 2)), np.ones(7), atol=1e-6)
    for one, image in zip(heat, images):
        np.testing.assert_allclose(
            gradcam.grad_cam(model, "maps", image[None], 0)[0], one, atol=1e-6
        )


def test_image_without_heat_is_zero_and_not_nan():
    heat = gradcam.grad_cam(_linear([1.0], [[1.0]]), "maps", np.zeros((1, 2, 2, 1), np.float32), 0)
    np.testing.assert_array_equal(heat, np.zeros((1, 2, 2)))


def test_no_images_give_no_heat():
    model = _linear([1.0], [[1.0]])
    assert gradcam.grad_cam(model, "maps", np.zeros((0, 2, 2, 1), np.float32), 0).shape == (0, 2, 2)


def test_batch_norm_is_explained_in_inference_mode():
    images = tf.keras.Input((2, 2, 1))
    maps = tf.keras.layers.BatchNormalization(name="maps")(images)
    pooled = tf.keras.layers.GlobalAveragePooling2D()(maps)
    model = tf.keras.Model(images, tf.keras.layers.Dense(1, kernel_initializer="ones")(pooled))
    before = [weight.numpy() for weight in model.weights]
    np.testing.assert_allclose(
        gradcam.grad_cam(model, "maps", IMAGES, 0), IMAGES[..., 0], atol=1e-6
    )
    for weight, old in zip(model.weights, before):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_model_that_diverged_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        gradcam.grad_cam(_linear([np.nan], [[1.0]]), "maps", IMAGES, 0)


@pytest.mark.parametrize(
    ("layer", "images", "output", "message"),
    [
        ("task", IMAGES, 0, "no feature maps"),
        ("absent", IMAGES, 0, "absent"),
        ("maps", IMAGES[..., 0], 0, "images: expected"),
        ("maps", IMAGES, 1, "output 1 is not one of 1"),
        ("maps", IMAGES, -1, "output -1"),
    ],
)
def test_wrong_arguments_are_named(layer, images, output, message):
    with pytest.raises(ValueError, match=message):
        gradcam.grad_cam(_linear([1.0], [[1.0]]), layer, images, output)
