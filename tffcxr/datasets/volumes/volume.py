"""Volumes of voxels with their position in the patient, and resampling to another grid.

World coordinates are those of NIfTI, in millimetres: x grows towards the patient's right (R), y
towards the front (A), z towards the head (S). DICOM's coordinates differ in the sign of x and y
(`dicom_series` turns them). A volume is canonical, "RAS+", when its axes run in these directions as
closely as they can; axial slices are then `array[:, :, k]`, from foot to head.
"""

from __future__ import annotations

import dataclasses
import math

import nibabel
import numpy as np
from scipy import ndimage
import SimpleITK

from tffcxr.datasets import limits
from tffcxr.errors import InputError

# Two voxel sizes, or directions, that differ less than this are the same.
_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Volume:
    """Voxels and their position.

    Attributes:
      array: float32 [I, J, K].
      affine: float64 [4, 4], from voxel indices (i, j, k, 1) to world coordinates in mm (x, y, z,
        1); an index stands for the voxel's centre.

    Raises:
      InputError: the array is not [I, J, K], holds values that are not finite, or the affine is
        not one of a grid.
    """

    array: np.ndarray
    affine: np.ndarray

    def __post_init__(self):
        if self.array.ndim != 3 or not self.array.size:
            raise InputError(f"expected a volume [I, J, K], found shape {list(self.array.shape)}")
        check_affine(self.affine)
        if not np.isfinite(self.array).all():
            count = int(np.count_nonzero(~np.isfinite(self.array)))
            raise InputError(f"expected finite voxels, found {count} that are NaN or infinite")

    @property
    def grid(self) -> Grid:
        """Where the voxels are."""
        return Grid(self.array.shape, self.affine)


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume are.

    Attributes:
      shape: (I, J, K).
      affine: as of `Volume`.
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Distance of neighbouring voxels along each axis in mm, float64 [3]."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def centre(self) -> np.ndarray:
        """World coordinates of the middle, float64 [3]."""
        middle = (np.asarray(self.shape, float) - 1.0) / 2.0
        return self.affine[:3, :3] @ middle + self.affine[:3, 3]

    @property
    def directions(self) -> str:
        """Where the axes lead, such as "RAS" for a canonical grid, "LPS" for an axial CT."""
        return "".join(nibabel.aff2axcodes(self.affine))


def check_affine(affine: np.ndarray) -> None:
    """Raises InputError unless a matrix maps voxel indices to places in space."""
    affine = np.asarray(affine)
    is_affine = affine.shape == (4, 4) and np.isfinite(affine).all()
    if not is_affine or not np.allclose(affine[3], [0, 0, 0, 1]):
        raise InputError(
            f"expected a finite affine [4, 4], found {affine.round(3).tolist()!s:.120}"
        )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    volume = abs(np.linalg.det(affine[:3, :3]))
    if spacing.min() <= 0 or volume < _TOLERANCE * spacing.prod():
        raise InputError(
            f"expected three axes that span a space, found {affine[:3, :3].round(3).tolist()}"
        )
    low, high = limits.SPACING_MM
    if not (low <= spacing.min() and spacing.max() <= high):
        raise InputError(
            f"expected voxels of {low:g} to {high:g} mm, found "
            f"{' x '.join(f'{one:g}' for one in spacing)}"
        )


def canonical(volume: Volume) -> Volume:
    """Returns the same voxels with axes in the order and direction of R, A, S.

    Nothing is interpolated: axes are swapped and flipped to the nearest such order, so a volume
    that lies obliquely still does.
    """
    orientation = nibabel.io_orientation(volume.affine)
    array = nibabel.apply_orientation(volume.array, orientation)
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(orientation, volume.array.shape)
    return Volume(np.ascontiguousarray(array), affine)


def axial_grid(reference: Grid, image_size: int, field_of_view: float) -> Grid:
    """The grid of square axial slices around the middle of another one.

    Slices are perpendicular to the patient's long axis, also where those of the reference are not,
    as far apart as the reference's and as many as it takes to cover it.

    Args:
      reference: any grid.
      image_size: rows and columns of a slice.
      field_of_view: side of a slice in mm, from border to border.

    Returns:
      A grid in RAS+ of `[image_size, image_size, K]`, parallel to the axes of the world.

    Raises:
      InputError: no positive size.
    """
    if image_size < 1 or not 0 < field_of_view < math.inf:
        raise InputError(
            f"expected an image size and a field of view above 0, found {image_size} pixels and "
            f"{field_of_view} mm"
        )
    # The voxel axis that is the nearest to the long axis, and how far one step of it leads up.
    axis = int(np.argmax(np.abs(reference.affine[2, :3]) / reference.spacing))
    step = float(reference.spacing[axis])
    corners = np.array(
        [[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float
    ) * np.append(np.asarray(reference.shape, float) - 1.0, 1.0)  # [8, 4]
    heights = corners @ reference.affine[2]  # z of each corner's voxel
    slices = int(math.floor((heights.max() - heights.min()) / step + 1e-3)) + 1
    if image_size**2 * slices > limits.MAXIMUM_VOXELS:
        raise InputError(
            f"expected at most {limits.MAXIMUM_VOXELS} voxels, found {slices} slices of "
            f"{image_size}x{image_size}"
        )
    pixel = field_of_view / image_size
    affine = np.diag([pixel, pixel, step, 1.0])
    shape = (image_size, image_size, slices)
    affine[:3, 3] = reference.centre - affine[:3, :3] @ ((np.asarray(shape, float) - 1.0) / 2.0)
    return Grid(shape, affine)


def resample(volume: Volume, grid: Grid, outside: float, is_mask: bool = False) -> Volume:
    """Returns the volume as seen on another grid.

    SimpleITK interpolates images linearly; along axes on which they become coarser they are
    smoothed before, with the Gaussian of scikit-image's `resize`, so that nothing is seen that is
    not there (aliasing). Masks get the value of the nearest voxel.

    Args:
      volume: any.
      grid: where to look.
      outside: the value of places that the volume does not cover.
      is_mask: whether the voxels are labels.
    """
    array = volume.array
    if not is_mask:
        # Our voxels per voxel of the grid, along each of our axes.
        to_source = np.linalg.inv(volume.affine) @ grid.affine
        factors = np.abs(to_source[:3, :3]).max(axis=1)
        sigma = np.maximum(0.0, (factors - 1.0) / 2.0)
        if sigma.any():
            # SimpleITK's Gaussians are others: with a sigma of 1, the peak of the discrete one is
            # 59 % higher and that of the recursive one 1 %.
            array = ndimage.gaussian_filter(array, sigma, mode="nearest")
    # Within the outermost half voxel the nearest centres count, also on the faces. SimpleITK takes
    # the upper face for outside, so every voxel at the border is there twice.
    image = SimpleITK.GetImageFromArray(np.pad(array, 1, mode="edge").T)
    shift = np.eye(4)
    shift[:3, 3] = -1.0
    origin, spacing, directions = _placement(volume.affine @ shift)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(directions)
    interpolator = SimpleITK.sitkNearestNeighbor if is_mask else SimpleITK.sitkLinear
    moved = SimpleITK.Resample(
        image, grid.shape, SimpleITK.Transform(), interpolator, *_placement(grid.affine)
    )
    seen = SimpleITK.GetArrayFromImage(moved).T  # SimpleITK's arrays are [K, J, I].
    seen[~covered(volume.grid, grid)] = outside
    return Volume(seen, grid.affine)


def _placement(affine: np.ndarray) -> tuple[list[float], list[float], list[float]]:
    """Origin, spacing and directions as SimpleITK takes them, in our coordinates on both sides."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return affine[:3, 3].tolist(), spacing.tolist(), (affine[:3, :3] / spacing).ravel().tolist()


def covered(source: Grid, grid: Grid) -> np.ndarray:
    """Which voxels of a grid lie within another one, bool of `grid.shape`.

    The source reaches to the faces of its voxels, half a voxel beyond their centres.
    """
    to_source = np.linalg.inv(source.affine) @ grid.affine
    axes = [np.arange(count, dtype=float) for count in grid.shape]
    inside = np.ones(grid.shape, bool)
    for row, count in zip(to_source[:3], source.shape):
        index = (
            row[0] * axes[0][:, None, None]
            + row[1] * axes[1][None, :, None]
            + row[2] * axes[2][None, None, :]
            + row[3]
        )
        inside &= (index > -0.5 - _TOLERANCE) & (index < count - 0.5 + _TOLERANCE)
    return inside


def axial_pictures(volume: Volume) -> np.ndarray:
    """The axial slices as radiologists hang them, [K, rows, columns] from foot to head.

    The patient's front is at the top and the patient's right is on the left of the picture, as if
    one looked up from the feet.

    Args:
      volume: canonical.

    Raises:
      ValueError: it is not.
    """
    if volume.grid.directions != "RAS":
        raise ValueError(f"expected a canonical volume, found {volume.grid.directions}")
    return np.ascontiguousarray(volume.array[::-1, ::-1].transpose(2, 1, 0))


def from_axial_pictures(pictures: np.ndarray, grid: Grid) -> Volume:
    """The volume of which `axial_pictures` makes some pictures [K, rows, columns].

    Args:
      pictures: float32.
      grid: of the volume.
    """
    array = np.ascontiguousarray(pictures.transpose(2, 1, 0)[::-1, ::-1])
    return Volume(array, grid.affine)
