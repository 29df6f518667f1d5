"""Reads volumes from NIfTI files.

NIfTI-1 and -2: https://nifti.nimh.nih.gov. Scale factors of the header are applied.
"""

from __future__ import annotations

from collections.abc import Callable
import logging
import math
import os
import pathlib
from typing import TypeVar
import zlib

import nibabel
import numpy as np

from tffcxr.datasets import limits
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.volumes.volume import Volume
from tffcxr.errors import InputError, one_line

SUFFIXES = (".nii.gz", ".nii")
# Of the header's units of length; most programs write none and mean millimetres.
_MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_LARGEST_HEADER = 16 << 20  # Bytes, with its extensions.
_Result = TypeVar("_Result")
# Exceptions that nibabel raises on damaged files; a damaged size can be terabytes.
_PARSING_ERRORS = (
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    TypeError,
    ValueError,
    zlib.error,
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
)
# nibabel also prints what it raises; here it is reported once, with the path.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)


def read(path: str | os.PathLike[str]) -> Volume:
    """Reads one volume.

    Where the header has both of its transformations, sform is taken, as nibabel does.

    Args:
      path: a `.nii` or `.nii.gz` file.

    Returns:
      The volume as it lies in the file, in millimetres; see `volume.canonical`.

    Raises:
      ImageError: there is no such file, it is damaged, holds more than one volume or voxels that
        are not real numbers, or does not say how it lies in the patient. The message is one line
        that starts with the path.
    """
    _of_nibabel(lambda: _check_offset(path), path)
    image = _of_nibabel(lambda: nibabel.load(path), path)
    shape = _check_header(image, path)
    unit = _of_nibabel(lambda: image.header.get_xyzt_units()[0], path)
    with np.errstate(over="ignore"):  # `Volume` refuses what is not finite.
        array = _of_nibabel(lambda: np.asarray(image.dataobj, np.float32), path).reshape(shape)
    affine = np.asarray(image.affine, np.float64).copy()
    affine[:3] *= _MILLIMETRES[unit]
    try:
        return Volume(array, affine)
    except InputError as error:
        raise ImageError(f"{path}: {error}") from None


def _of_nibabel(call: Callable[[], _Result], path: object) -> _Result:
    """Makes one call of nibabel, which raises exceptions of many classes on damaged files."""
    try:
        return call()
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path}: expected a NIfTI file, found nothing") from None
    except _PARSING_ERRORS as error:
        reason = one_line(error)
        if isinstance(error, KeyError):  # Of nibabel's tables of codes.
            reason = f"the unknown code {reason}"
        elif isinstance(error, MemoryError):
            reason = "a header of more voxels than fit in memory"
        raise ImageError(f"{path}: expected a NIfTI file, found: {reason:.200}") from None


def _check_offset(path: str | os.PathLike[str]) -> None:
    """Rejects a header so large that a small compressed file could fill the memory."""
    with nibabel.openers.ImageOpener(path, "rb") as file:
        start = file.read(nibabel.Nifti2Header.sizeof_hdr)
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if kind.may_contain_header(start):
            offset = float(kind(start[: kind.sizeof_hdr], check=False)["vox_offset"])
            if not offset <= _LARGEST_HEADER:
                raise ImageError(
                    f"{path}: expected voxels after a header of at most {_LARGEST_HEADER} bytes, "
                    f"found them after {offset:g}"
                )


def _check_header(
    image: nibabel.filebasedimages.FileBasedImage, path: object
) -> tuple[int, int, int]:
    """Returns the shape of a file's only volume of real numbers; raises ImageError otherwise."""
    if not isinstance(image, nibabel.Nifti1Image):  # Nifti2Image is one, too.
        raise ImageError(f"{path}: expected a NIfTI file, found {type(image).__name__}")
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise ImageError(f"{path}: expected one volume [I, J, K], found shape {image.shape}")
    if math.prod(shape) > limits.MAXIMUM_VOXELS:
        raise ImageError(
            f"{path}: expected a volume of at most {limits.MAXIMUM_VOXELS} voxels, found shape "
            f"{list(shape)}"
        )
    dtype = _of_nibabel(image.get_data_dtype, path)
    if dtype.kind not in "iuf":
        code = _of_nibabel(lambda: image.header.get_value_label("datatype"), path)
        raise ImageError(f"{path}: expected voxels of integers or real numbers, found {code}")
    if not image.header["sform_code"] and not image.header["qform_code"]:
        raise ImageError(
            f"{path}: expected a volume whose header says how it lies in the patient, found "
            "neither sform nor qform"
        )
    return shape


def write(path: pathlib.Path, volume: Volume, dtype: type[np.generic]) -> None:
    """Writes a volume, with the affine as sform and qform.

    Args:
      path: ends in one of `SUFFIXES`.
      volume: finite voxels in the range of the type.
      dtype: of the voxels in the file; integers are rounded.
    """
    array = np.rint(volume.array) if np.issubdtype(dtype, np.integer) else volume.array
    image = nibabel.Nifti1Image(array.astype(dtype), volume.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.affine, 1)
    image.set_qform(volume.affine, 1)
    nibabel.save(image, path)


def find(folder: pathlib.Path, stem: str) -> pathlib.Path | None:
    """Returns the file `<stem>.nii.gz` or `<stem>.nii` of a folder, None if there is none.

    Raises:
      InputError: there are both.
    """
    found = [folder / f"{stem}{suffix}" for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        raise InputError(f"expected one file {stem} in {folder}, found {found[0]} and {found[1]}")
    return found[0] if found else None
