"""Patients with volumes: the images of a case, and how each is read."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.volumes import dicom_series, intensity, nifti, suv
from tffcxr.datasets.volumes.volume import Volume
from tffcxr.errors import InputError

# Kind of an image to its modality in DICOM.
MODALITIES = {"ct": "CT", "mri": "MR", "pet": "PT"}
_FEWEST_COVERED = 0.99  # Of a region, that every image of the case must show.


@dataclasses.dataclass(frozen=True)
class Channel:
    """One image of a case.

    Attributes:
      path: a NIfTI file ("mri") or the folder of a DICOM series ("ct", "pet").
      kind: "mri", "ct" or "pet": what its values mean.
    """

    path: pathlib.Path
    kind: str


@dataclasses.dataclass(frozen=True)
class Case:
    """One patient's images and the mask of the region.

    Attributes:
      patient: identifier, unique in its dataset.
      channels: the images, in the order in which a model gets them.
      mask: a NIfTI file of whole numbers; above 0 is the region.
      stratum: one of the dataset's strata, such as the grade of the tumour; "" where unknown.
    """

    patient: str
    channels: tuple[Channel, ...]
    mask: pathlib.Path
    stratum: str = ""

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """Files and folders that the case is read from."""
        return (*(channel.path for channel in self.channels), self.mask)


@dataclasses.dataclass(frozen=True)
class GreyScale:
    """How the units of each modality become grey.

    Attributes:
      ct_centre: of the CT window, Hounsfield units.
      ct_width: of the CT window, Hounsfield units, above 0.
      suv_maximum: the SUV by body weight that is white, g/ml, above 0.
    """

    ct_centre: float = 40.0
    ct_width: float = 400.0
    suv_maximum: float = 7.0

    def __post_init__(self):
        for name in ("ct_width", "suv_maximum"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"expected {name} above 0, found {getattr(self, name)}")

    def apply(self, kind: str, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Returns uint8 of the shape of `values`.

        Args:
          kind: as of `Channel`.
          values: in the units of the modality, on any grid.
          reference: the whole volume as it was read; MRI is normalised by it.
        """
        if kind == "ct":
            return intensity.from_hounsfield(values, self.ct_centre, self.ct_width)
        if kind == "pet":
            return intensity.from_suv(values, self.suv_maximum)
        return intensity.to_grey(intensity.z_scores(values, reference), *intensity.Z_RANGE)

    def describe(self, kind: str) -> str:
        """What is black and what is white, in words."""
        if kind == "ct":
            low, high = self.ct_centre - self.ct_width / 2, self.ct_centre + self.ct_width / 2
            return f"CT from {low:g} to {high:g} Hounsfield units"
        if kind == "pet":
            return f"SUV by body weight from 0 to {self.suv_maximum:g} g/ml"
        low, high = intensity.Z_RANGE
        return (
            f"MRI from {low:g} to {high:g} standard deviations around the mean of the volume's "
            "voxels that are not 0"
        )


def outside(kind: str) -> float:
    """The value outside an image of a kind: air, no uptake, no signal."""
    return -1024.0 if kind == "ct" else 0.0


def read(channel: Channel) -> Volume:
    """Reads one image in the units of its modality: Hounsfield units, SUV by body weight, none.

    Raises:
      ImageError: it cannot be read, is of another modality, or its header gives no SUV.
    """
    if channel.kind == "mri":
        return nifti.read(channel.path)
    series = dicom_series.read(channel.path)
    expected = MODALITIES[channel.kind]
    if series.modality != expected:
        raise ImageError(
            f"{channel.path}: expected a series of modality {expected}, found "
            f"{series.modality or 'none'}"
        )
    if channel.kind == "ct":
        return series.volume
    try:
        with np.errstate(over="ignore"):  # `Volume` refuses what is not finite.
            values = series.volume.array * np.float32(suv.factor(series.headers))
        return Volume(values, series.volume.affine)
    except InputError as error:
        raise ImageError(f"{channel.path}: {error}") from None


def read_region(path: pathlib.Path) -> Volume:
    """Reads a mask as a volume of 0 and 1.

    Raises:
      ImageError: it cannot be read, or its values are not the numbers of regions.
    """
    mask = nifti.read(path)
    if (mask.array < 0).any() or (mask.array != np.rint(mask.array)).any():
        odd = mask.array[(mask.array < 0) | (mask.array != np.rint(mask.array))]
        raise ImageError(
            f"{path}: expected a mask of whole numbers of 0 and more, found {odd.flat[0]:g}"
        )
    return Volume((mask.array > 0).astype(np.float32), mask.affine)


def check_shown(region: np.ndarray, shown: np.ndarray, what: str, path: pathlib.Path) -> None:
    """Checks that no image, too small or elsewhere, cuts a region off.

    Args:
      region: bool array.
      shown: bool array of the same shape, where there is something to see.
      what: what shows it, for the message.
      path: the file of the region.

    Raises:
      ImageError: less than 99 % of the region is shown.
    """
    total = int(np.count_nonzero(region))
    if total and np.count_nonzero(region & shown) < _FEWEST_COVERED * total:
        part = np.count_nonzero(region & shown) / total
        raise ImageError(f"{path}: expected the region within {what}, found {part:.0%} of it there")
