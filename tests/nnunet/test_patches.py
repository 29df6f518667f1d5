"""Patches are where they should be, and each change is what nnU-Net's is."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.clients.fixtures import client_records
from tffcxr.clients import client_data
from tffcxr.clients.shards import preparation
from tffcxr.nnunet import patches
from tffcxr.nnunet.inference import standardise

_SEED = (3, 4)
_STANDARDISE = functools.partial(standardise, with_mask=False)


def _unchanged(images):
    """In place of a standardisation: all is inside, and values stay."""
    return images, tf.ones_like(images)


def _augmentation(patch, make=_unchanged, **options):
    return patches.NnUNetAugmentation(patch, make, **options)


def _numbered(count, size=12):
    """Images in which every pixel has another value, from 1 on, and masks of one pixel each."""
    images = np.arange(1, size * size + 1, dtype=np.float32).reshape(1, size, size, 1)
    masks = np.zeros((count, size, size, 1), np.float32)
    generator = np.random.default_rng(1)
    for mask in masks:
        mask[tuple(generator.integers(0, size, 2))] = 1
    return np.repeat(images, count, 0), masks


def _corner(patch, size=12):
    """The place that a patch of a numbered image was taken from."""
    top, left = divmod(int(patch[0, 0, 0]) - 1, size)
    expected = np.arange(1, size * size + 1).reshape(size, size)
    np.testing.assert_allclose(
        patch[..., 0], expected[top : top + patch.shape[0], left : left + patch.shape[1]], atol=1e-3
    )
    return top, left


class TestPlace:
    def test_a_patch_of_the_images_size_is_the_image(self):
        images = np.random.default_rng(0).uniform(0.1, 1, (3, 12, 12, 1)).astype(np.float32)
        _, masks = _numbered(3)
        found = _augmentation((12, 12), _STANDARDISE, changes=False).apply(images, _SEED, masks)
        np.testing.assert_allclose(found[0], _STANDARDISE(images)[0], atol=1e-5)
        np.testing.assert_array_equal(found[1], masks)

    def test_patches_lie_anywhere_in_the_image(self):
        images, masks = _numbered(600)
        patches, _ = _augmentation((8, 5), changes=False).apply(images, _SEED, masks * 0)
        corners = {_corner(patch) for patch in patches.numpy()}
        assert corners == {(top, left) for top in range(5) for left in range(8)}

    def test_a_third_is_around_the_region(self):
        images, masks = _numbered(90)
        patches, found = _augmentation((5, 5), changes=False).apply(images, _SEED, masks)
        assert np.all(found.numpy()[60:].sum((1, 2, 3)) == 1)
        for image, mask in zip(patches.numpy()[60:, ..., 0], masks[60:]):
            row, column = (int(place[0]) for place in np.nonzero(mask[..., 0]))
            # The middle, but for a region by the upper or left border.
            assert image[min(row, 2), min(column, 2)] == pytest.approx(row * 12 + column + 1)
        seen = found.numpy()[:60].sum((1, 2, 3)).mean()
        assert 0.05 < seen < 0.6  # Others see it by chance.

    def test_without_a_region_they_lie_anywhere(self):
        images, masks = _numbered(90)
        patches, _ = _augmentation((5, 5), changes=False).apply(images, _SEED, masks * 0)
        assert len({_corner(patch) for patch in patches.numpy()[60:]}) > 15

    def test_they_lie_in_what_is_not_empty(self):
        images, masks = _numbered(60)
        images[:, :, :4] = images[:, 9:] = 0

        def make(images):
            return images, _STANDARDISE(images)[1]

        patches, _ = _augmentation((8, 8), make, changes=False).apply(images, _SEED, masks * 0)
        # Nine rows from 0 on, eight columns from 4 on.
        corners = {int(patch[0, 0, 0]) for patch in patches.numpy()}
        assert corners == {5, 12 + 5}

    def test_a_larger_patch_has_the_image_in_its_middle(self):
        images, masks = _numbered(3)
        patches, found = _augmentation((16, 13), changes=False).apply(images, _SEED, masks)
        np.testing.assert_allclose(patches[:, 2:14, :12], images, atol=1e-3)
        assert np.count_nonzero(patches) == images.size
        np.testing.assert_array_equal(found[:, 2:14, :12], masks)

    def test_the_mask_is_rotated_scaled_and_mirrored_with_the_image(self):
        masks = np.zeros((200, 32, 32, 1), np.float32)
        masks[:, 4:14, 6:20] = 1
        patches, found = _augmentation((32, 32)).apply(masks * 100, _SEED, masks)
        patches, found = patches.numpy(), found.numpy()
        areas = found.sum((1, 2, 3))
        assert np.mean(np.abs(areas - 140) > 4) > 0.1  # Scaled by up to 1.4 either way.
        assert areas.max() < 140 / 0.7**2 * 1.1
        turned = [np.argwhere(mask[..., 0]).mean(0).round() for mask in found]
        assert len({tuple(centre) for centre in turned}) > 30
        inside = [
            patch[mask > 0].mean() > patch[mask == 0].mean()
            for patch, mask in zip(patches, found)
            if mask.any()
        ]
        assert np.mean(inside) == 1


class TestChanges:
    """On patches [B, 8, 8, 1] of random values."""

    @pytest.fixture(name="x")
    def _x(self):
        return tf.constant(np.random.default_rng(2).normal(1, 2, (3, 8, 8, 1)), tf.float32)

    def test_contrast_keeps_the_mean_and_the_range(self, x):
        lower = patches._stretch(x, tf.constant([[0.5]] * 3))
        np.testing.assert_allclose(np.mean(lower, (1, 2, 3)), np.mean(x, (1, 2, 3)), atol=1e-5)
        np.testing.assert_allclose(np.std(lower, (1, 2, 3)), np.std(x, (1, 2, 3)) / 2, rtol=1e-5)
        higher = patches._stretch(x, tf.constant([[1.5]] * 3))
        np.testing.assert_allclose(np.max(higher, (1, 2, 3)), np.max(x, (1, 2, 3)), rtol=1e-5)

    def test_gamma_by_hand(self):
        x = tf.reshape(tf.constant([0.0, 1.0, 2.0, 4.0]), [1, 2, 2, 1])
        bent = 4 * (np.array([0, 0.25, 0.5, 1]) ** 2)
        expected = (bent - bent.mean()) / bent.std() * np.std([0, 1, 2, 4]) + 7 / 4
        found = patches._bend(x, tf.constant([[2.0]]))
        np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-5)
        np.testing.assert_allclose(patches._bend(x, tf.constant([[1.0]])), x, atol=1e-5)

    def test_blur_is_a_gaussian_of_each_axis(self):
        x = np.zeros((1, 31, 31, 1), np.float32)
        x[0, 15, 15] = 1
        found = patches._blur(tf.constant(x), tf.constant([[0.5, 1.0]])).numpy()[0, ..., 0]
        across = np.exp(-(np.arange(-6, 7) ** 2) / 2)
        np.testing.assert_allclose(found[15, 9:22] / found[15].sum(), across / across.sum(), 1e-4)
        assert found[16, 15] / found[15, 15] == pytest.approx(np.exp(-2), rel=1e-4)
        assert found.sum() == pytest.approx(1, rel=1e-5)

    def test_blur_reflects_at_the_border(self, x):
        constant = tf.ones_like(x[:, :4, :5])
        found = patches._blur(constant, tf.constant([[1.0, 1.0]] * 3))
        np.testing.assert_allclose(found, constant, rtol=1e-3)

    def test_a_lower_resolution_by_hand(self):
        x = np.zeros((1, 8, 8, 1), np.float32)
        x[0, :, :, 0] = np.arange(8) ** 2
        found = patches._coarsen(tf.constant(x), tf.constant([[0.5]])).numpy()
        # The nearest pixels of four cells are 1, 3, 5 and 7; between them, linear in quarters.
        cells = np.array([1, 9, 25, 49])
        places = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
        np.testing.assert_allclose(found[0, 0, :, 0], np.interp(places, range(4), cells), 1e-5)
        np.testing.assert_allclose(found[0, 5], found[0, 0], rtol=1e-5)
        same = patches._coarsen(tf.constant(x), tf.constant([[1.0]]))
        np.testing.assert_allclose(same, x, atol=1e-4)

    def test_factors_are_below_1_as_often_as_above(self):
        draws = tf.constant(np.linspace(0, 1, 1001, endpoint=False), tf.float32)
        factors = patches._around_one((0.7, 1.5), draws).numpy()
        assert np.mean(factors < 1) == pytest.approx(0.5, abs=2e-3)
        assert (factors.min(), factors.max()) == pytest.approx((0.7, 1.5), abs=2e-3)
        assert factors[factors < 1].mean() == pytest.approx(0.85, abs=2e-3)
        assert factors[factors > 1].mean() == pytest.approx(1.25, abs=2e-3)

    def test_each_is_applied_as_often_as_nnu_net_says(self):
        x = tf.constant(np.random.default_rng(2).normal(0, 1, (1, 8, 8, 1)), tf.float32)
        changed = patches._change_values(tf.repeat(x, 4000, 0), _SEED).numpy()
        untouched = np.mean([np.array_equal(one, x[0]) for one in changed])
        # None of noise, blur, brightness, contrast, lower resolution, and two gammas.
        expected = 0.9 * 0.9 * 0.85 * 0.85 * 0.875 * 0.9 * 0.7
        assert untouched == pytest.approx(expected, abs=0.03)

    def test_half_is_mirrored_along_each_axis(self):
        x = tf.constant(np.arange(64).reshape(1, 8, 8, 1), tf.float32)
        batch = tf.repeat(x, 1000, 0)
        found, masks = patches._mirror(batch, batch, _SEED)
        np.testing.assert_array_equal(found, masks)
        first = found.numpy()[:, 0, 0, 0]
        for corner in (0, 7, 56, 63):
            assert np.mean(first == corner) == pytest.approx(0.25, abs=0.05)


def test_the_empty_stays_empty_where_the_plan_says_so():
    images = np.zeros((50, 16, 16, 1), np.float32)
    images[:, 4:12, 4:12] = np.random.default_rng(0).uniform(0.2, 1, (50, 8, 8, 1))
    make = functools.partial(standardise, with_mask=True)
    masked = _augmentation((16, 16), make, with_mask=True).apply(images, _SEED, images * 0)[0]
    assert np.all(masked.numpy()[:, 0] == 0)
    free = _augmentation((16, 16), make).apply(images, _SEED, images * 0)[0]
    assert np.any(free.numpy()[:, 0] != 0)


def test_only_the_seed_decides():
    images, masks = _numbered(20)
    apply = _augmentation((8, 8), _STANDARDISE).apply
    first, again, other = (apply(images / 200, seed, masks) for seed in (_SEED, _SEED, (3, 5)))
    for one, same in zip(first, again):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first[0], other[0])


def test_without_masks_there_are_no_patches():
    with pytest.raises(ValueError, match="expected masks"):
        _augmentation((8, 8)).apply(_numbered(1)[0], _SEED)


def test_clients_train_with_patches_and_are_measured_on_images(tmp_path):
    records = {"north": client_records(tmp_path / "north", 5, validation=2)}
    store = preparation.prepare(
        records, preparation.ShardSpec(16, (), with_mask=True), tmp_path / "cache"
    )

    def read(round_number):
        augmentation = _augmentation((8, 12), _STANDARDISE)
        data = client_data.ClientData(store, 2, 7, augmentation)
        assert data.element_spec["images"].shape == (None, 8, 12, 1)
        return list(data.train_dataset("north", round_number, 1).as_numpy_iterator()), data

    batches, data = read(1)
    assert [batch["images"].shape for batch in batches] == [(2, 8, 12, 1), (1, 8, 12, 1)]
    assert [batch["masks"].shape for batch in batches] == [(2, 8, 12, 1), (1, 8, 12, 1)]
    again, other = read(1)[0], read(2)[0]
    assert all(np.array_equal(a["images"], b["images"]) for a, b in zip(batches, again))
    assert not all(np.array_equal(a["images"], b["images"]) for a, b in zip(batches, other))
    (measured,) = data.evaluation_dataset("north", "validation").as_numpy_iterator()
    assert measured["images"].shape == (2, 16, 16, 1)
    assert 0 <= measured["images"].min() <= measured["images"].max() <= 1
