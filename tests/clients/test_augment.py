"""Augmentation against results worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.clients.augment import Augmentation, project
from tffcxr.errors import InputError

EVERYTHING = Augmentation(flip=True, rotation_degrees=20, translation=0.1, scale=0.2, shear=10)


def _images(count: int = 4, size: int = 8) -> np.ndarray:
    return np.random.default_rng(0).random((count, size, size, 1), np.float32)


def _moved(augmentation: Augmentation, draws: list[float], image: np.ndarray) -> np.ndarray:
    """One image [H, W] under the given draws in [-1, 1) instead of random ones."""
    size = tf.constant(image.shape)
    transforms = augmentation._transforms(tf.constant([draws], tf.float32), size)
    return project(image[None, :, :, None], transforms, "BILINEAR").numpy()[0, :, :, 0]


def test_nothing_moves_by_default():
    images = _images()
    augmented, masks = Augmentation().apply(images, [1, 2], images)
    np.testing.assert_array_equal(augmented, images)
    np.testing.assert_array_equal(masks, images)


def test_draws_of_zero_are_the_identity():
    image = _images()[0, :, :, 0]
    still = [0.5, 0, 0, 0, 0, 0]  # A first draw of 0.5 does not flip.
    np.testing.assert_array_equal(_moved(EVERYTHING, still, image), image)


@pytest.mark.parametrize("translation", [0.0, 1e-6], ids=["flip alone", "within the affine map"])
def test_flip(translation):
    images = _images(64)
    augmented = Augmentation(flip=True, translation=translation).apply(images, [1, 2])[0].numpy()
    flipped = np.array([np.array_equal(a, i[:, ::-1]) for a, i in zip(augmented, images)])
    kept = np.array([np.array_equal(a, i) for a, i in zip(augmented, images)])
    assert np.all(flipped ^ kept)
    assert 16 < flipped.sum() < 48  # Binomial(64, 1/2) has a standard deviation of 4.


def test_rotation_by_a_right_angle():
    image = _images()[0, :, :, 0]
    rotated = _moved(Augmentation(rotation_degrees=90), [0.5, 0.9999999, 0, 0, 0, 0], image)
    # x points right and y down, so a positive angle turns clockwise as seen.
    np.testing.assert_allclose(rotated, np.rot90(image, -1), atol=1e-5)


def test_translation_moves_right_and_down_and_fills_with_black():
    image = _images()[0, :, :, 0]
    moved = _moved(Augmentation(translation=0.5), [0.5, 0, 0, 0, 0.5, 0.25], image)
    expected = np.zeros_like(image)
    expected[1:, 2:] = image[:-1, :-2]  # Half of half of 8 pixels right, a quarter of it down.
    np.testing.assert_array_equal(moved, expected)


def test_scale_enlarges_about_the_centre():
    image = np.zeros((9, 9), np.float32)
    image[3:6, 3:6] = 1
    enlarged = _moved(Augmentation(scale=0.5), [0.5, 0, 0.9999999, 0, 0, 0], image)
    # 1.5 times as large: pixel 2 is at 4 - 2 / 1.5 = 2.667 of the input, between 0 and 1.
    assert enlarged[4, 4] == 1
    assert enlarged[4, 2] == pytest.approx(2 / 3, abs=1e-5)
    np.testing.assert_allclose(enlarged, enlarged[::-1, ::-1], atol=1e-5)


def test_shear_leans_the_vertical_axis():
    image = np.zeros((9, 9), np.float32)
    image[:, 4] = 1
    leaning = _moved(Augmentation(shear=45), [0.5, 0, 0, 0.99999994, 0, 0], image)
    np.testing.assert_allclose(leaning, np.eye(9), atol=1e-5)


def test_mask_moves_with_its_image():
    images = np.zeros((32, 33, 33, 1), np.float32)
    images[:, 8:20, 5:14] = 1
    augmented, masks = EVERYTHING.apply(images, [3, 4], images)
    assert masks is not None
    augmented, masks = augmented.numpy(), masks.numpy()
    assert set(np.unique(masks)) == {0, 1}
    # Nearest and bilinear agree on which side of one half a pixel is, but for ties.
    assert np.mean((augmented >= 0.5) == (masks == 1)) > 0.995
    assert np.mean(masks != images) > 0.02


def test_function_of_the_seed():
    images = _images()
    first, again, other = (EVERYTHING.apply(images, seed)[0] for seed in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    tf.random.set_seed(99)
    in_graph = tf.function(lambda i, s: EVERYTHING.apply(i, s)[0])(images, tf.constant([1, 2]))
    np.testing.assert_array_equal(first, in_graph)


def test_images_of_a_batch_move_differently():
    images = np.repeat(_images(1), 8, axis=0)
    augmented = EVERYTHING.apply(images, [1, 2])[0].numpy()
    assert len({image.tobytes() for image in augmented}) == 8


@pytest.mark.parametrize(
    "arguments",
    [
        {"rotation_degrees": 181},
        {"translation": -0.1},
        {"scale": 1.0},
        {"shear": 90},
        {"scale": float("nan")},
    ],
)
def test_ranges(arguments):
    with pytest.raises(InputError, match=f"augmentation: expected {next(iter(arguments))}"):
        Augmentation(**arguments)
