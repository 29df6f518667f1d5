"""Small volumes on disk for tests: an MRI case of NIfTI files, a PET/CT patient."""

from __future__ import annotations

import pathlib

import numpy as np

from tffcxr.datasets.phantoms import phantom_series
from tffcxr.datasets.volumes import nifti
from tffcxr.datasets.volumes.volume import Volume

# 8 x 8 pixels of 4 mm, 6 slices of 5 mm; rows to the left, columns to the back.
SHAPE = (8, 8, 6)
AFFINE = np.array([[-4.0, 0, 0, 14], [0, -4.0, 0, 14], [0, 0, 5.0, 0], [0, 0, 0, 1]])
FIELD_OF_VIEW = 32.0


def region(low: int = 2, high: int = 4) -> np.ndarray:
    """A cuboid of 2 x 3 voxels in the slices `low` to `high` - 1, float32 of `SHAPE`."""
    mask = np.zeros(SHAPE, np.float32)
    mask[1:3, 4:7, low:high] = 1.0
    return mask


def write_mri(root: pathlib.Path, name: str, channels: tuple[str, ...], seed: int = 0) -> None:
    """Writes a case in which the region is bright in the second channel."""
    rng = np.random.default_rng(seed)
    folder = root / name
    folder.mkdir(parents=True)
    for number, channel in enumerate(channels):
        values = rng.normal(100, 10, SHAPE) + 200 * region() * (number == 1)
        nifti.write(folder / f"{name}_{channel}.nii.gz", Volume(values, AFFINE), np.int16)
    nifti.write(folder / f"{name}_seg.nii.gz", Volume(2 * region(), AFFINE), np.uint8)


def write_petct(
    root: pathlib.Path, name: str, seed: int = 0, slices: tuple[int, int] = (2, 4)
) -> None:
    """Writes a patient whose kidneys, in `slices`, are 200 HU and SUV 5 in tissue of 40 and 1."""
    kidneys = region(*slices)
    phantom_series.write_ct(
        root / name / "CT", Volume(40 + 160 * kidneys, AFFINE), f"id {name}", seed
    )
    dose, weight, minutes = 3e8, 70.0, 60.0
    left = dose * 2.0 ** (-60 * minutes / phantom_series.HALF_LIFE)
    activity = (1 + 4 * kidneys) * left / (1000 * weight)
    phantom_series.write_pet(
        root / name / "PET", Volume(activity, AFFINE), f"id {name}", seed, weight, dose, minutes
    )
    nifti.write(root / name / "kidneys.nii.gz", Volume(kidneys, AFFINE), np.uint8)
