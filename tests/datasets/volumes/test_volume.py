"""Volumes keep their place in the patient, whatever the grid that they are seen on."""

import pathlib

import nibabel
import numpy as np
import pytest

from tffcxr.datasets.volumes import nifti, volume
from tffcxr.datasets.volumes.volume import Grid, Volume
from tffcxr.errors import InputError


def _ramp(shape, affine):
    """A volume whose value at each place is x + 10 y + 100 z."""
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)  # [I, J, K, 3]
    world = indices @ affine[:3, :3].T + affine[:3, 3]
    return Volume((world @ [1.0, 10.0, 100.0]).astype(np.float32), affine)


def _rotation(degrees):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[cos, -sin], [sin, cos]]
    return matrix


AXIAL_CT = np.array([[-2.0, 0, 0, 30], [0, -3.0, 0, 40], [0, 0, 5.0, -20], [0, 0, 0, 1]])
SAGITTAL = np.array([[0, 0, 4.0, -10], [-2.0, 0, 0, 20], [0, -3.0, 0, 30], [0, 0, 0, 1]])


class TestCanonical:
    @pytest.mark.parametrize(("affine", "directions"), [(AXIAL_CT, "LPS"), (SAGITTAL, "PIR")])
    def test_every_voxel_stays_where_it_is(self, affine, directions):
        found = _ramp((4, 5, 6), affine)
        assert found.grid.directions == directions
        turned = volume.canonical(found)
        assert turned.grid.directions == "RAS"
        # The ramp of the new grid is the ramp: values moved with their coordinates.
        np.testing.assert_allclose(turned.array, _ramp(turned.array.shape, turned.affine).array)

    def test_an_axial_ct_is_flipped(self):
        turned = volume.canonical(_ramp((4, 5, 6), AXIAL_CT))
        np.testing.assert_array_equal(turned.grid.spacing, [2, 3, 5])
        # The most right and front voxel of the file comes last; 3 * 2 mm and 4 * 3 mm lie between.
        np.testing.assert_array_equal(turned.affine[:3, 3], [30 - 6, 40 - 12, -20])

    def test_a_real_nifti(self):
        folder = pathlib.Path(nibabel.__file__).parent / "tests" / "data"
        found = nifti.read(folder / "anatomical.nii")
        assert found.array.shape == (33, 41, 25)
        assert found.grid.directions == "LAS"
        turned = volume.canonical(found)
        np.testing.assert_allclose(turned.affine[:3, :3], np.diag([2.0, 2.0, 2.0]))
        np.testing.assert_allclose(turned.affine[:3, 3], [32 - 32 * 2, -40, -16])
        np.testing.assert_array_equal(turned.array[::-1], found.array)


class TestResample:
    def test_linear_values_are_kept_under_any_shift_and_turn(self):
        source = _ramp((20, 20, 20), np.diag([1.5, 1.5, 1.5, 1.0]))
        grid = Grid((4, 5, 3), _rotation(20) @ np.diag([1.0, 1.2, 0.8, 1.0]))
        grid.affine[:3, 3] = [9.3, 12.1, 8.7]
        seen = volume.resample(source, grid, outside=0.0)
        expected = _ramp(grid.shape, grid.affine).array
        assert volume.covered(source.grid, grid).all()
        np.testing.assert_allclose(seen.array, expected, rtol=1e-4)

    def test_the_same_grid_changes_nothing(self):
        source = Volume(np.random.default_rng(0).normal(size=(5, 6, 7)).astype("f4"), AXIAL_CT)
        seen = volume.resample(source, source.grid, outside=-1.0)
        np.testing.assert_allclose(seen.array, source.array, atol=1e-5)

    def test_what_is_not_covered_is_outside(self):
        source = Volume(np.ones((2, 2, 2), np.float32), np.eye(4))
        grid = Grid((5, 2, 2), np.eye(4))
        seen = volume.resample(source, grid, outside=-1024.0)
        # Voxels 0 and 1 are there, 2 to 4 are not.
        np.testing.assert_array_equal(seen.array[:, 0, 0], [1, 1, -1024, -1024, -1024])

    def test_voxels_reach_half_a_voxel_beyond_their_centres(self):
        source = Grid((2, 2, 2), np.diag([2.0, 2.0, 2.0, 1.0]))
        line = Grid((8, 1, 1), np.diag([1.0, 1.0, 1.0, 1.0]))
        line.affine[:3, 3] = [-2.0, 1.0, 1.0]
        # Centres at 0 and 2 mm, faces at -1 and 3 mm; the line is at -2, -1, ..., 5 mm.
        found = volume.covered(source, line)[:, 0, 0]
        assert found.tolist() == [False, True, True, True, True, True, False, False]

    def test_linear_values_are_kept_in_a_sheared_volume(self):
        # As of a CT with a tilted gantry: each slice lies 0.6 mm further to the front.
        affine = _rotation(10) @ np.diag([0.8, 0.8, 3.0, 1.0])
        affine[:3, 2] += [0.0, 0.6, 0.0]
        source = _ramp((20, 20, 8), affine)
        grid = Grid((3, 4, 5), np.diag([0.7, 0.9, 1.1, 1.0]))
        grid.affine[:3, 3] = source.grid.centre - [1.0, 1.5, 2.0]
        assert volume.covered(source.grid, grid).all()
        seen = volume.resample(source, grid, outside=0.0)
        np.testing.assert_allclose(seen.array, _ramp(grid.shape, grid.affine).array, rtol=1e-4)

    def test_both_faces_show_the_nearest_centres(self):
        source = Volume(np.array([[[1.0]], [[3.0]]], np.float32), np.diag([2.0, 1.0, 1.0, 1.0]))
        line = Grid((6, 1, 1), np.eye(4))
        line.affine[0, 3] = -1.0
        # At -1 and 3 mm are the faces, at 0 and 2 mm the centres, at 4 mm is nothing.
        seen = volume.resample(source, line, outside=-9.0)
        assert seen.array[:, 0, 0].tolist() == [1, 1, 2, 3, 3, -9]

    def test_faces_are_interpolated_along_the_other_axes(self):
        slab = np.broadcast_to(np.array([[0.0], [4.0], [8.0]]), (3, 3, 2)).astype(np.float32)
        face = Grid((1, 2, 2), np.eye(4))  # Between the centres of j, on both faces of k.
        face.affine[:3, 3] = [1.0, 0.5, -0.5]
        face.affine[2, 2] = 2.0
        seen = volume.resample(Volume(slab, np.eye(4)), face, outside=-9.0)
        assert seen.array[0].tolist() == [[2, 2], [6, 6]]

    def test_masks_keep_their_values(self):
        mask = np.zeros((6, 6, 6), np.float32)
        mask[2:4] = 4.0
        grid = Grid((12, 6, 6), np.diag([0.5, 1.0, 1.0, 1.0]))
        grid.affine[0, 3] = -0.25
        seen = volume.resample(Volume(mask, np.eye(4)), grid, 0.0, is_mask=True)
        assert set(np.unique(seen.array)) == {0.0, 4.0}
        np.testing.assert_array_equal(seen.array[:, 0, 0], np.repeat(mask[:, 0, 0], 2))

    def test_a_fine_pattern_is_averaged_not_aliased(self):
        stripes = np.zeros((64, 4, 4), np.float32)
        stripes[::2] = 1.0
        grid = Grid((8, 4, 4), np.diag([8.0, 1.0, 1.0, 1.0]))
        grid.affine[0, 3] = 3.0  # On a dark stripe; every eighth voxel would be dark.
        seen = volume.resample(Volume(stripes, np.eye(4)), grid, 0.0)
        np.testing.assert_allclose(seen.array[1:-1, 1, 1], 0.5, atol=0.01)


class TestAxialGrid:
    def test_size_and_middle(self):
        reference = _ramp((4, 5, 6), AXIAL_CT).grid
        grid = volume.axial_grid(reference, 8, 32.0)
        assert grid.shape == (8, 8, 6)
        assert grid.directions == "RAS"
        np.testing.assert_allclose(grid.spacing, [4, 4, 5])
        np.testing.assert_allclose(grid.centre, reference.centre)
        # The slices are those of the reference.
        np.testing.assert_allclose(grid.affine[2, 3], -20)

    def test_slices_of_a_sagittal_volume_are_axial(self):
        grid = volume.axial_grid(_ramp((4, 5, 6), SAGITTAL).grid, 8, 32.0)
        assert grid.shape[2] == 5  # The second axis leads downwards, 3 mm a step.
        assert grid.spacing[2] == pytest.approx(3.0)

    def test_an_oblique_volume_is_covered(self):
        reference = Grid((8, 8, 8), _rotation(30) @ np.diag([1.0, 1.0, 4.0, 1.0]))
        grid = volume.axial_grid(reference, 16, 60.0)
        # Height: 7 mm * sin 30 + 28 mm * cos 30 = 27.7 mm, in steps of 4 mm: 7 slices.
        assert grid.shape[2] == 7
        np.testing.assert_allclose(grid.centre, reference.centre)

    @pytest.mark.parametrize(("size", "field"), [(0, 10.0), (8, 0.0), (8, float("inf"))])
    def test_no_size(self, size, field):
        with pytest.raises(InputError, match="above 0"):
            volume.axial_grid(Grid((2, 2, 2), np.eye(4)), size, field)


def test_pictures_are_seen_from_the_feet():
    array = np.zeros((2, 3, 2), np.float32)
    array[1, 2, 0] = 1.0  # Right, front, lowest slice.
    pictures = volume.axial_pictures(Volume(array, np.eye(4)))
    assert pictures.shape == (2, 3, 2)
    assert pictures[0].tolist() == [[1, 0], [0, 0], [0, 0]]  # Front at the top, right on the left.
    assert not pictures[1].any()


def test_pictures_of_another_orientation_are_refused():
    with pytest.raises(ValueError, match="LPS"):
        volume.axial_pictures(_ramp((2, 2, 2), AXIAL_CT))


@pytest.mark.parametrize(
    ("array", "affine", "message"),
    [
        (np.zeros((2, 2), "f4"), np.eye(4), r"\[I, J, K\]"),
        (np.full((2, 2, 2), np.nan, "f4"), np.eye(4), "8 that are NaN"),
        (np.zeros((2, 2, 2), "f4"), np.diag([1.0, 1.0, 0.0, 1.0]), "three axes"),
        (np.zeros((2, 2, 2), "f4"), np.eye(3), "affine"),
    ],
)
def test_what_is_no_volume(array, affine, message):
    with pytest.raises(InputError, match=message):
        Volume(array, affine)


def test_a_grid_of_too_many_slices_is_refused():
    reference = volume.Grid((2, 2, 100_000), np.diag([1.0, 1.0, 0.1, 1.0]))
    with pytest.raises(
        InputError, match="at most 536870912 voxels, found 100000 slices of 512x512"
    ):
        volume.axial_grid(reference, 512, 400.0)
