"""Standardised images by hand, and a sliding window that gives back what a network says."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.nnunet import inference, plain_unet
from tffcxr.nnunet.topology import Topology


def _standardise(image, with_mask=False):
    found = inference.standardise(np.float32(image)[np.newaxis, ..., np.newaxis], with_mask)
    return tuple(array.numpy()[0, ..., 0] for array in found)


class TestStandardise:
    def test_the_rectangle_around_what_is_not_zero(self):
        image = np.zeros((6, 7))
        image[1:4, 2:6] = [[0.2, 0, 0.4, 0.6]] * 3
        x, inside = _standardise(image)
        assert inside.sum() == 12
        crop = image[1:4, 2:6]
        np.testing.assert_allclose(x[1:4, 2:6], (crop - crop.mean()) / crop.std(), rtol=1e-5)
        assert np.all(x[inside == 0] == 0)

    def test_the_mask_has_its_holes_but_not_the_border(self):
        image = np.array([[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 1, 0]])
        x, inside = _standardise(image / 2, with_mask=True)
        expected = np.array([[0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 1, 0]])
        np.testing.assert_array_equal(inside, expected)
        values = (image / 2)[expected == 1]
        np.testing.assert_allclose(x[expected == 1], (values - values.mean()) / values.std(), 1e-5)

    @pytest.mark.parametrize("with_mask", [False, True])
    @pytest.mark.parametrize("value", [0.0, 0.3])
    def test_an_image_of_one_value_is_zero(self, value, with_mask):
        x, inside = _standardise(np.full((5, 5), value), with_mask)
        np.testing.assert_allclose(x, 0, atol=0.1)
        assert inside.all()

    def test_every_image_has_its_own(self):
        images = np.random.default_rng(0).random((2, 8, 8, 1), np.float32) * [[[[1]]], [[[0.1]]]]
        x, _ = inference.standardise(np.float32(images), False)
        np.testing.assert_allclose(np.std(x, axis=(1, 2, 3)), 1, rtol=1e-4)


class TestWindow:
    def test_steps_are_those_of_nnunetv2(self):
        # The example in its source.
        assert inference.starts(110, 64) == [0, 23, 46]
        assert inference.starts(64, 64) == [0]
        assert inference.starts(65, 64) == [0, 1]

    def test_importance_is_a_gaussian(self):
        found = inference.gaussian((8, 16))
        assert found.shape == (8, 16, 1)
        assert found[4, 8] == 1
        # A deviation is 1 pixel down and 2 across.
        assert found[5, 8, 0] == pytest.approx(np.exp(-0.5))
        assert found[4, 10, 0] == pytest.approx(np.exp(-0.5))
        assert found.min() > 0


def _pixelwise(patch):
    """A network whose region's logit is each pixel, and whose background's is 1."""
    images = tf.keras.Input((*patch, 1))
    layer = tf.keras.layers.Conv2D(2, 1, name="head1")
    network = tf.keras.Model(images, [layer(images), tf.keras.layers.AveragePooling2D()(images)])
    layer.set_weights([np.array([[[[0.0, 1.0]]]]), np.array([1.0, 0.0])])
    return network


class TestInference:
    @pytest.mark.parametrize("patch", [(8, 8), (20, 12), (32, 32), (20, 20)])
    def test_what_is_the_same_everywhere_is_given_back(self, patch):
        model = inference.inference_model(_pixelwise(patch), 20, False)
        images = np.random.default_rng(0).uniform(0.1, 1, (2, 20, 20, 1)).astype(np.float32)
        x, _ = inference.standardise(images, False)
        np.testing.assert_allclose(model(images), x - 1, atol=1e-5)

    def test_outside_is_no_region(self):
        images = np.zeros((1, 20, 20, 1), np.float32)
        images[:, 3:9, 4:15] = np.random.default_rng(0).uniform(0.1, 1, (6, 11, 1))
        logits = inference.inference_model(_pixelwise((8, 8)), 20, False)(images).numpy()
        assert np.all(logits[:, 3:9, 4:15] > -20)
        assert np.count_nonzero(logits == -20) == 20 * 20 - 6 * 11

    def test_mirroring_is_the_mean_of_four(self):
        network = plain_unet.network(Topology((8, 8), ((1, 1), (2, 2)), ((3, 3), (3, 3)), (2, 3)))
        model = inference.inference_model(network, 8, False)
        images = np.random.default_rng(0).uniform(0.1, 1, (1, 8, 8, 1)).astype(np.float32)
        x = inference.standardise(images, False)[0].numpy()
        expected = np.zeros((8, 8))
        for rows in (slice(None), slice(None, None, -1)):
            for columns in (slice(None), slice(None, None, -1)):
                background, region = np.moveaxis(network(x[:, rows, columns]).numpy()[0], -1, 0)
                expected += (region - background)[rows, columns] / 4
        np.testing.assert_allclose(model(images)[0, ..., 0], expected, atol=1e-5)
        mirrored = model(images[:, ::-1]).numpy()[:, ::-1]
        np.testing.assert_allclose(model(images), mirrored, atol=1e-5)

    def test_has_the_networks_weights_and_is_saved_with_them(self, tmp_path):
        network = plain_unet.network(Topology((8, 8), ((1, 1), (2, 2)), ((3, 3), (3, 3)), (2, 3)))
        model = inference.inference_model(network, 12, True)
        assert [id(w) for w in model.weights] == [id(w) for w in network.weights]
        model.save(tmp_path / "model.keras")
        again = tf.keras.models.load_model(tmp_path / "model.keras", compile=False)
        images = np.random.default_rng(0).random((2, 12, 12, 1)).astype(np.float32)
        np.testing.assert_array_equal(model(images), again(images))
