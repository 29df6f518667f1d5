"""Writes phantom PET/CT and MRI as DICOM series and NIfTI files.

The layouts are those of `petct`, `brats` and `breast_mri`. Volumes are small, so that a program
without data runs quickly: 12 slices of 64 x 64 pixels; PET has a coarser grid than CT, and MRI lies
in the orientations that are usual for it, left to right in the brain's files, right to left in the
breast's. Tumours of both grades look alike, and so do benign and malignant masses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import functools
import pathlib

import numpy as np

from tffcxr.datasets.phantoms import phantom_drawing, phantom_series
from tffcxr.datasets.phantoms.body import canvas as canvas
from tffcxr.datasets.phantoms.body import lesions, torso
from tffcxr.datasets.volumes import brats, breast_mri, nifti, petct
from tffcxr.datasets.volumes.volume import Grid, Volume

_SLICES = 12
_TORSO = (400.0, 13.0)  # Side of a slice and distance of slices, mm.
_PET_COARSER = 1.25
_BRAIN, _BREAST = (200.0, 11.0), (200.0, 11.0)


def write_petct(
    root: pathlib.Path, patients: int, seed: int, size: int = 64, workers: int | None = None
) -> None:
    """Writes patients with a CT, a PET and the outlines of their kidneys; see `petct`.

    Args:
      root: new folder; reused when it already holds exactly this.
      patients: how many.
      seed: of everything.
      size: pixels per side of a CT slice.
      workers: processes; None takes one per usable core. The files do not depend on it.

    Raises:
      InputError: `root` holds something else or cannot be written, or an argument is out of range.
    """
    _write(root, "petct", patients, seed, size, _write_patient, workers)


def write_brats(
    root: pathlib.Path, patients: int, seed: int, size: int = 64, workers: int | None = None
) -> None:
    """Writes brains with a tumour; see `brats` for the layout and `write_petct` for arguments."""
    _write(root, "brats", patients, seed, size, _write_brain, workers)


def write_breast_mri(
    root: pathlib.Path, patients: int, seed: int, size: int = 64, workers: int | None = None
) -> None:
    """Writes breasts with a mass; see `breast_mri` and `write_petct`."""
    _write(root, "breast_mri", patients, seed, size, _write_breast, workers)


def _write(
    root: pathlib.Path,
    layout: str,
    patients: int,
    seed: int,
    size: int,
    write_patient: Callable[[pathlib.Path, int, phantom_drawing.Plan], tuple],
    workers: int | None,
) -> None:
    made_by = phantom_drawing.settings(layout, patients, seed, size)
    plan = functools.partial(_plan, layout, patients, seed)
    phantom_drawing.write(root, made_by, plan, write_patient, None, workers, None)


def _plan(layout: str, patients: int, seed: int) -> Iterator[phantom_drawing.Plan]:
    tag = {"petct": 11, "brats": 12, "breast_mri": 13}[layout]
    rng = np.random.Generator(np.random.SFC64([seed, tag]))
    for number in range(patients):
        yield phantom_drawing.Plan(f"phantom_{number + 1:03d}", int(rng.integers(2**62)))


def _grid(size: int, extent: tuple[float, float], lps: bool, coarser: float = 1.0) -> Grid:
    side, distance = extent
    pixels, slices = round(size / coarser), round(_SLICES / coarser)
    return canvas.centred_grid(
        (pixels, pixels, slices), (side / pixels, side / pixels, distance * coarser), lps
    )


def _write_patient(folder: pathlib.Path, size: int, plan: phantom_drawing.Plan) -> tuple:
    drawn = torso.draw(
        plan.seed, _grid(size, _TORSO, True), _grid(size, _TORSO, True, _PET_COARSER)
    )
    rng = np.random.default_rng([plan.seed, 4])
    patient = folder / plan.patient
    phantom_series.write_ct(patient / petct.CT, drawn.ct, plan.patient, plan.seed)
    # Bq/ml from SUV: what is left of the dose at the scan, in the weight of the body.
    dose, minutes = rng.uniform(2.5e8, 4.0e8), rng.uniform(50, 75)
    left = dose * 2.0 ** (-60.0 * minutes / phantom_series.HALF_LIFE)
    activity = drawn.pet.array * (left / (1000.0 * drawn.weight))
    phantom_series.write_pet(
        patient / petct.PET,
        Volume(activity, drawn.pet.affine),
        plan.patient,
        plan.seed,
        drawn.weight,
        dose,
        minutes,
    )
    nifti.write(patient / f"{petct.MASK}.nii.gz", drawn.kidneys, np.uint8)
    return (plan.patient,)


def _write_brain(folder: pathlib.Path, size: int, plan: phantom_drawing.Plan) -> tuple:
    lesion = lesions.draw_brain(plan.seed, _grid(size, _BRAIN, False))
    return _write_mri(folder / _stratum(plan, brats.STRATA), plan.patient, lesion, brats.CHANNELS)


def _write_breast(folder: pathlib.Path, size: int, plan: phantom_drawing.Plan) -> tuple:
    lesion = lesions.draw_breast(plan.seed, _grid(size, _BREAST, True))
    below = folder / _stratum(plan, breast_mri.STRATA)
    return _write_mri(below, plan.patient, lesion, breast_mri.CHANNELS)


def _stratum(plan: phantom_drawing.Plan, strata: Sequence[str]) -> str:
    """The strata take turns, so that their sizes differ by one at most."""
    return strata[int(plan.patient.rpartition("_")[2]) % len(strata)]


def _write_mri(
    folder: pathlib.Path,
    patient: str,
    lesion: lesions.Lesion,
    names: tuple[str, ...],
) -> tuple:
    (folder / patient).mkdir(parents=True)
    for name, volume in zip(names, lesion.channels):
        nifti.write(folder / patient / f"{patient}_{name}.nii.gz", volume, np.int16)
    nifti.write(folder / patient / f"{patient}_seg.nii.gz", lesion.labels, np.uint8)
    return (patient,)
