"""Geometry of the phantom: pixels to centimetres and back, curves, fields, splats."""

import numpy as np
import pytest

from tffcxr.datasets.phantoms.chest import frame as pf


def test_upright_frame_is_centred_and_scaled():
    frame = pf.make_frame(4, width=8.0, centre=(1.0, 10.0), degrees=0.0)
    np.testing.assert_allclose(frame.x[0], [-2, 0, 2, 4])
    np.testing.assert_allclose(frame.y[:, 0], [7, 9, 11, 13])
    assert frame.pixel == 2.0


def test_to_pixels_inverts_the_frame():
    frame = pf.make_frame(64, width=36.0, centre=(1.0, 12.0), degrees=7.0, stretch=1.1)
    point = np.array([frame.x[20, 50], frame.y[20, 50], 1.0])
    np.testing.assert_allclose(frame.to_pixels @ point, [50, 20], atol=1e-4)


def test_window_holds_every_pixel_of_a_rectangle():
    frame = pf.make_frame(64, width=36.0, centre=(0.0, 12.0), degrees=-8.0)
    inside = (np.abs(frame.x - 3) < 2) & (np.abs(frame.y - 9) < 4)
    covered = np.zeros_like(inside)
    covered[frame.window(1, 5, 5, 13)] = True
    assert inside.any() and not (inside & ~covered).any() and covered.mean() < 0.1


def test_window_off_the_image_is_empty():
    frame = pf.make_frame(64, width=36.0, centre=(0.0, 12.0), degrees=0.0)
    assert frame.x[frame.window(30, 34, 0, 5)].size == 0


def test_curve_passes_through_its_knots_and_stays_flat_beyond():
    table = pf.Curve("y", [0, 2, 5])([1.0, 3.0, 2.0])
    np.testing.assert_allclose(
        pf.at_y(table, np.array([0, 2, 5, -9, 20])), [1, 3, 2, 1, 2], atol=0.03
    )


def test_curves_of_both_sides_are_told_apart():
    frame = pf.make_frame(8, width=8.0, centre=(0.0, 0.0), degrees=0.0)
    pair = np.stack([np.full(pf.TABLE, 1.0), np.full(pf.TABLE, 2.0)])
    np.testing.assert_array_equal(frame.along_y(pair)[0], [1, 1, 1, 1, 2, 2, 2, 2])


def test_splat_keeps_mass_and_place():
    frame = pf.make_frame(16, width=8.0, centre=(0.0, 0.0), degrees=0.0)
    centre = np.array([[frame.x[5, 9], frame.y[5, 9]]])
    drawn = pf.splat(centre, np.array([3.0]), frame, (16, 16))
    assert drawn.sum() * frame.pixel**2 == pytest.approx(3.0, rel=1e-5)
    assert np.unravel_index(drawn.argmax(), drawn.shape) == (5, 9)


def test_splat_between_four_pixels_is_shared_and_off_the_image_is_lost():
    frame = pf.make_frame(4, width=4.0, centre=(0.0, 0.0), degrees=0.0)
    drawn = pf.splat(np.array([[0.0, 0.0], [9.0, 0.0]]), np.array([4.0, 1.0]), frame, (4, 4))
    np.testing.assert_allclose(drawn[1:3, 1:3], 1.0, rtol=1e-5)
    assert drawn.sum() == pytest.approx(4.0)


def test_binomial_blur_of_a_point():
    field = np.zeros((5, 5), np.float32)
    field[2, 2] = 16
    expected = np.outer([1, 2, 1], [1, 2, 1])
    np.testing.assert_allclose(pf.binomial_blur(field, 1)[1:4, 1:4], expected)
    assert field[2, 2] == 16  # The input stays as it was.


def test_binomial_blur_keeps_a_constant_at_the_border():
    np.testing.assert_allclose(pf.binomial_blur(np.full((6, 6), 2.0, np.float32), 3), 2.0)


def test_smooth_field_has_unit_spread_and_is_smooth():
    field = pf.smooth_field(np.random.default_rng(0), 16, (128, 128))
    assert field.dtype == np.float32 and 0.7 < field.std() < 1.3
    assert np.abs(np.diff(field, axis=0)).max() < 0.6
