"""Reads a DICOM series, a folder with a file per slice, as one volume.

Slices are put in the order of their positions along their common normal, and lie as far apart as
the positions say (DICOM PS3.3, C.7.6.2.1.1); Instance Number, Slice Thickness and Spacing Between
Slices are not trusted. A series that is not a complete stack of parallel slices is rejected; slices
missing at an end cannot be detected. SimpleITK's reader gives a whole series the same place, but
reads one with a missing or doubled slice, too, with a wrong distance between slices and a warning.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
from pydicom.dataset import Dataset

from tffcxr.datasets import limits
from tffcxr.datasets.imaging import dicom, dicom_elements
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.volumes import suv
from tffcxr.datasets.volumes.volume import Volume
from tffcxr.errors import InputError

# Of the distance between slices: how far a slice may be from its place in the stack.
_UNEVEN = 0.1
_SAME_DIRECTION = 1e-3
# From the origin to a pixel, in mm: beyond the largest field of view.
_FARTHEST = 1e5
# Of files that must be DICOM; many series have names without any ending.
_SUFFIXES = (".dcm", ".dicom")
# DICOM's x grows towards the patient's left, its y towards the back.
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NEEDED = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


@dataclasses.dataclass(frozen=True)
class Series:
    """A volume and where it comes from.

    Attributes:
      volume: in the units of the modality: Hounsfield units (CT), mostly Bq/ml (PET).
      headers: one per slice, without the pixels, in the order of the volume's last axis.
    """

    volume: Volume
    headers: tuple[Dataset, ...]

    @property
    def modality(self) -> str:
        """Modality, such as "CT"; empty if the files do not say."""
        return str(self.headers[0].get("Modality") or "")


@dataclasses.dataclass(frozen=True)
class _Slice:
    path: str
    values: np.ndarray  # float32 [rows, columns]
    header: Dataset
    position: np.ndarray  # of the first pixel's centre, mm, float64 [3]
    orientation: np.ndarray  # directions of a row and of a column, float64 [2, 3]
    spacing: tuple[float, float]  # between rows, between columns, mm


def read(folder: str | os.PathLike[str]) -> Series:
    """Reads the series that a folder holds, at any depth.

    Files that are neither DICOM nor named as such, such as a licence, are skipped.

    Args:
      folder: with the files of one series.

    Raises:
      ImageError: there is no such folder, no series or several, a file is empty, damaged or lacks
        its place or its unit (see `grey.to_modality`), or the slices are not a stack: of several
        sizes or directions, doubled, missing, or fewer than two. The message is one line that
        starts with a path.
    """
    slices = [found for path in files(folder) if (found := _read_slice(path)) is not None]
    if len(slices) < 2:
        raise ImageError(
            f"{folder}: expected a DICOM series of two or more slices, found {len(slices)}"
        )
    _check_alike(slices, folder)
    return _stack(slices, folder)


def files(folder: str | os.PathLike[str]) -> list[str]:
    """The files at any depth of a folder that may be of its series, sorted."""
    return sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".") and name != "DICOMDIR"
    )


def _read_slice(path: str) -> _Slice | None:
    data = pathlib.Path(path).read_bytes()
    if not dicom.is_dicom(data):
        if not data.strip(b"\0"):
            # If skipped, a first or last slice could be missing unnoticed.
            raise ImageError(
                f"{path}: expected a DICOM file, found "
                f"{f'{len(data)} bytes of zeros: truncated' if data else 'an empty file'}"
            )
        if path.lower().endswith(_SUFFIXES):
            raise ImageError(f"{path}: expected a DICOM file, found another or a damaged one")
        return None
    try:
        modality_values, header = dicom.decode_values(data, (*_NEEDED, *suv.KEYWORDS))
        values = modality_values.astype(np.float32)
        position, orientation, spacing = _place(header)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    del header.PixelData
    return _Slice(path, values, header, position, orientation, spacing)


def _place(header: Dataset) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Returns position, orientation and spacing as of `_Slice`."""
    position = dicom_elements.numbers(header, "ImagePositionPatient", 3)
    orientation = dicom_elements.numbers(header, "ImageOrientationPatient", 6)
    spacing = dicom_elements.spacing(header, "PixelSpacing")
    missing = [name for name in _NEEDED if not header.get(name)]
    if position is None or orientation is None or spacing is None or missing:
        raise ImageError(f"expected a slice with {', '.join(missing)}, found none")
    if max(map(abs, position)) > _FARTHEST:
        raise ImageError(f"expected a position of at most {_FARTHEST:g} mm, found {list(position)}")
    directions = np.array(orientation).reshape(2, 3)
    if not np.allclose(directions @ directions.T, np.eye(2), atol=_SAME_DIRECTION):
        raise ImageError(
            "expected an orientation of two directions at right angles, found "
            f"{directions.tolist()}"
        )
    return np.array(position), directions, spacing


def _check_alike(slices: list[_Slice], folder: object) -> None:
    series = {str(one.header.SeriesInstanceUID) for one in slices}
    if len(series) > 1:
        raise ImageError(
            f"{folder}: expected the files of one series, found {len(series)}: "
            f"{', '.join(sorted(series)[:2])}"
        )
    first = slices[0]
    for other in slices[1:]:
        for what, same, one, two in (
            (
                "a size of",
                first.values.shape == other.values.shape,
                first.values.shape,
                other.values.shape,
            ),
            (
                "a pixel spacing of",
                np.allclose(first.spacing, other.spacing, rtol=1e-3),
                first.spacing,
                other.spacing,
            ),
            (
                "an orientation of",
                np.allclose(first.orientation, other.orientation, atol=_SAME_DIRECTION),
                first.orientation.tolist(),
                other.orientation.tolist(),
            ),
        ):
            if not same:
                raise ImageError(
                    f"{other.path}: expected {what} {one} like {first.path}, found {two}"
                )


def _stack(slices: list[_Slice], folder: object) -> Series:
    row, column = slices[0].orientation
    normal = np.cross(row, column)
    slices = sorted(slices, key=lambda one: float(one.position @ normal))
    heights = np.array([one.position @ normal for one in slices])
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    twice = np.flatnonzero(gaps <= _UNEVEN * max(usual, 1e-6))
    if twice.size:
        one, two = slices[twice[0]], slices[twice[0] + 1]
        raise ImageError(
            f"{folder}: expected one slice at each position, found {one.path} and {two.path} "
            f"at {heights[twice[0]]:.2f} mm"
        )
    if usual > limits.SPACING_MM[1]:
        raise ImageError(
            f"{folder}: expected slices at most {limits.SPACING_MM[1]:g} mm apart, found "
            f"{usual:.2f} mm"
        )
    step = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    uneven = np.flatnonzero(np.abs(gaps - usual) > _UNEVEN * usual)
    if uneven.size:
        place = uneven[0]
        raise ImageError(
            f"{folder}: expected slices {usual:.2f} mm apart, found {gaps[place]:.2f} mm between "
            f"{slices[place].path} and {slices[place + 1].path}: slices are missing"
        )
    places = slices[0].position + np.arange(len(slices))[:, None] * step
    away = np.linalg.norm(np.stack([one.position for one in slices]) - places, axis=1)
    if away.max() > _UNEVEN * usual:
        worst = int(np.argmax(away))
        raise ImageError(
            f"{slices[worst].path}: expected a slice in line with the others, found it "
            f"{away[worst]:.2f} mm away"
        )
    affine = np.eye(4)
    affine[:3, 0] = row * slices[0].spacing[1]  # From column to column.
    affine[:3, 1] = column * slices[0].spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = slices[0].position
    array = np.stack([one.values.T for one in slices], axis=-1)
    try:
        volume = Volume(array, TO_RAS @ affine)
    except InputError as error:
        raise ImageError(f"{folder}: {error}") from None
    return Series(volume, tuple(one.header for one in slices))
