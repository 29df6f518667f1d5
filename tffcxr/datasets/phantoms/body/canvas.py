"""Solids that are painted over each other in the world coordinates of a volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from tffcxr.datasets.volumes.volume import Grid, Volume


class Canvas:
    """Several images of one anatomy on one grid, such as T1 and T2.

    Attributes:
      grid: where the voxels are; its third axis is z.
      points: float32 [I, J, K, 3], world coordinates of the voxels, mm.
      images: float32 [I, J, K, N].
    """

    def __init__(self, grid: Grid, background: Sequence[float]):
        """Starts with one value per image everywhere."""
        self.grid = grid
        indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
        points = indices @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        self.points = points.astype(np.float32)
        self.images = np.full((*grid.shape, len(background)), background, np.float32)

    def ellipsoid(
        self,
        centre: Sequence[float],
        radii: Sequence[float],
        tilt: float = 0.0,
        wobble: np.ndarray | None = None,
    ) -> np.ndarray:
        """How much of each voxel lies in an ellipsoid, 0 to 1, float32 [I, J, K].

        Args:
          centre: x, y, z in mm.
          radii: along x, y and z in mm.
          tilt: turn about the y axis in degrees, as kidneys lean against the spine.
          wobble: [I, J, K], added to the distance from the centre in units of the radius; above
            -0.5.
        """
        # Only the slices that it can reach.
        reach = 1.6 * (max(radii[0], radii[2]) if tilt else radii[2]) + self.grid.spacing[2]
        near = np.abs(self.points[0, 0, :, 2] - float(centre[2])) <= reach
        x, y, z = (self.points[:, :, near, axis] - float(centre[axis]) for axis in range(3))
        if tilt:
            cos, sin = float(np.cos(np.radians(tilt))), float(np.sin(np.radians(tilt)))
            x, z = cos * x + sin * z, cos * z - sin * x
        x, y, z = x / float(radii[0]), y / float(radii[1]), z / float(radii[2])
        distance = np.sqrt(x * x + y * y + z * z)
        if wobble is not None:
            distance = distance + wobble[:, :, near]
        # The border is as wide as a voxel in its plane.
        edge = min(radii) / float(self.grid.spacing[:2].max())
        part = np.zeros(self.grid.shape, np.float32)
        part[:, :, near] = np.clip((1.0 - distance) * edge + 0.5, 0.0, 1.0)
        return part

    def paint(self, part: np.ndarray, values: Sequence[float]) -> None:
        """Puts a tissue with one value per image where `part`, 0 to 1, says."""
        near = part.any(axis=(0, 1))
        part = part[:, :, near, np.newaxis]
        self.images[:, :, near] *= 1.0 - part
        self.images[:, :, near] += np.asarray(values, np.float32) * part

    def texture(self, rng: np.random.Generator, size: float) -> np.ndarray:
        """Smooth random values of standard deviation 1, [I, J, K], with grains of `size` mm."""
        grains = ndimage.gaussian_filter(
            rng.normal(size=self.grid.shape), size / self.grid.spacing, mode="wrap"
        )
        return ((grains - grains.mean()) / grains.std()).astype(np.float32)

    def volume(self, image: int) -> Volume:
        """One of the images."""
        return Volume(self.images[..., image], self.grid.affine)


def centred_grid(shape: tuple[int, int, int], spacing: Sequence[float], lps: bool) -> Grid:
    """A grid around the origin, stored as DICOM has axial slices (`lps`) or as RAS."""
    sign = -1.0 if lps else 1.0
    affine = np.diag([sign * spacing[0], sign * spacing[1], spacing[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape, float) - 1.0) / 2.0)
    return Grid(shape, affine)
