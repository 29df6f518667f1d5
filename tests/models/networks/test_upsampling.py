"""Upsampling by copies is Keras' nearest upsampling."""

import numpy as np
import tensorflow as tf

from tffcxr.models.networks import upsampling


def test_each_pixel_becomes_four():
    image = tf.constant([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    expected = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    np.testing.assert_array_equal(upsampling.double(image, "up")[0, ..., 0], expected)


def test_is_keras_upsampling_with_its_gradient():
    maps = tf.random.stateless_normal([2, 3, 5, 4], [1, 2])
    weights = tf.random.stateless_normal([2, 6, 10, 4], [3, 4])
    results = []
    for double in (lambda x: upsampling.double(x, "up"), tf.keras.layers.UpSampling2D(2)):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            doubled = double(maps)
            total = tf.reduce_sum(weights * doubled)
        results.append((doubled, tape.gradient(total, maps)))
    (ours, our_gradient), (keras, keras_gradient) = results
    np.testing.assert_array_equal(ours, keras)
    np.testing.assert_allclose(our_gradient, keras_gradient, rtol=1e-5, atol=1e-6)
