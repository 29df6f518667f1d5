"""COVID-Net's size against the paper's, and its units' shapes."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.models import counts
from tffcxr.models.networks import covidnet
from tffcxr.models.spec import ModelSpec


@pytest.fixture(scope="module")
def model():
    return ModelSpec("covidnet", 224, 3).build()


def _pepx(inputs, outputs):
    half, more = inputs // 2, inputs * 3 // 4
    kernels = inputs * half + half * more + 9 * more + more * half + half * outputs
    return kernels, 2 * (more + more + outputs)  # kernels; scales and offsets


def _by_hand(size):
    """Parameters and multiply-adds with three classes, from the widths."""
    side = size // 2
    parameters, work = 7 * 7 * 3 * 56 + 2 * 56, 7 * 7 * 3 * 56 * side**2
    side //= 2
    channels = 56
    for stage, (width, units) in enumerate(zip((56, 112, 216, 424), (3, 4, 6, 3))):
        parameters += channels * width + 2 * width  # the long-range connection
        work += channels * width * side**2
        side //= 2 if stage else 1
        for _ in range(units):
            kernels, norms = _pepx(channels, width)
            parameters += kernels + norms
            work += kernels * side**2
            channels = width
    for inputs, outputs in ((side**2 * channels, 512), (512, 3)):
        parameters += inputs * outputs + outputs
        work += inputs * outputs
    return parameters, work


def test_parameters_are_near_the_paper_s(model):
    found = counts.parameters(model.keras.trainable_weights)
    assert found == _by_hand(224)[0] == 12_065_512 + 3 * (512 + 1)
    assert found / 11.75e6 == pytest.approx(1.027, abs=5e-4)
    assert counts.parameters(model.keras.non_trainable_weights) == 16_544
    assert model.keras.get_layer("features").count_params() == 7 * 7 * 424 * 512 + 512


def test_multiply_adds_are_a_quarter_of_the_paper_s(model):
    # The paper's 7.50 billion are of images of 480 pixels; convolutions grow with the area.
    found = counts.multiply_adds(model.keras)
    assert found == _by_hand(224)[1]
    assert found / 1e9 == pytest.approx(0.418, abs=5e-4)
    scaled = 7.50e9 * (224 / 480) ** 2
    assert scaled / 1e9 == pytest.approx(1.63, abs=5e-3)
    assert found / scaled == pytest.approx(0.256, abs=5e-4)
    # At 480 pixels the dense layer alone is four times the paper's whole network.
    assert 15 * 15 * 424 * 512 > 4 * 11.75e6


def test_has_the_units_of_the_paper(model):
    depthwise = [x for x in model.keras.layers if isinstance(x, tf.keras.layers.DepthwiseConv2D)]
    assert len(depthwise) == 16
    sums = [
        model.keras.get_layer(f"stage{stage}_unit{units}_sum").output_shape
        for stage, units in enumerate(covidnet.UNITS, start=1)
    ]
    assert sums == [
        (None, 56, 56, 56),
        (None, 28, 28, 112),
        (None, 14, 14, 216),
        (None, 7, 7, 424),
    ]
    assert model.keras.get_layer("features").output_shape == (None, 512)


@functools.cache
def _trunk(size):
    """The network without `residual`'s scales of 0, behind which units give nothing at first."""
    tf.keras.utils.set_random_seed(0)
    return covidnet.trunk(size)


def test_a_unit_sees_the_link_and_every_unit_before_it():
    keras = _trunk(32)
    outputs = ("stage3_link_pool", *(f"stage3_unit{n}_extend_norm" for n in range(1, 6)))
    names = (*outputs, "stage3_unit5_sum")
    probe = tf.keras.Model(keras.input, [keras.get_layer(name).output for name in names])
    *parts, total = probe(np.random.default_rng(0).random((2, 32, 32, 1), np.float32))
    np.testing.assert_allclose(total, sum(part.numpy() for part in parts), rtol=1e-5, atol=1e-6)
    assert all(part.numpy().min() < 0 for part in parts[1:])  # A unit's end is linear.
    assert (
        keras.get_layer("stage3_unit6_project1").input is keras.get_layer("stage3_unit5_sum").output
    )


def test_maps_that_grad_cam_weighs_are_not_negative():
    keras = _trunk(75)
    maps = tf.keras.Model(keras.input, keras.get_layer(covidnet.GRADCAM_LAYER).output)(
        np.random.default_rng(0).random((2, 75, 75, 1), np.float32)
    )
    assert maps.shape == (2, 2, 2, 424)
    assert np.min(maps) >= 0 < np.max(maps)


@pytest.mark.parametrize("size", [32, 75])
def test_sizes_that_are_no_multiple_of_32_go_through(size):
    keras = _trunk(size)
    assert np.all(np.isfinite(keras(np.zeros((2, size, size, 1), np.float32))))
    assert keras.get_layer("flatten").output_shape == (None, (size // 32) ** 2 * 424)
