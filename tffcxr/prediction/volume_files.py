"""The volumes that a user means by files and folders, and which of a model's kinds each is of.

image.nii.gz            one volume
a folder of DICOM       one series, which says its modality
<case>/<case>_t1.nii.gz, <case>/<case>_t1ce.nii.gz, …      the images of one case of MRI
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import os
import pathlib
from typing import Any

from tffcxr.datasets.sources import dicom_header
from tffcxr.datasets.volumes import brats, breast_mri, nifti
from tffcxr.datasets.volumes.cases import MODALITIES, Channel
from tffcxr.errors import InputError
from tffcxr.prediction import image_files

# Loaders of cases with several images, and the ends of the names of these.
_FILES = {"brats": brats.CHANNELS, "breast_mri": breast_mri.CHANNELS}


def find(operands: Iterable[str]) -> Iterator[pathlib.Path]:
    """NIfTI files as they were named, and the volumes below folders, sorted.

    Below a folder, these are the folders with DICOM files; without any, the cases of MRI; without
    any of these, all NIfTI files: masks often lie beside their images.

    Raises:
      InputError: there is no volume below a folder.
    """
    what = "DICOM series, NIfTI files or cases of MRI"
    return image_files.found_by(operands, _volumes, what)


def _volumes(folder: pathlib.Path) -> list[pathlib.Path]:
    folders = [pathlib.Path(parent) for parent, _, _ in os.walk(folder, followlinks=True)]
    inside = [each for each in folders if _has_dicom(each)]
    inside = inside or [each for each in folders if _case_files(each)]
    return inside or [path for path in folder.rglob("*") if path.name.endswith(nifti.SUFFIXES)]


def identify(
    path: pathlib.Path, slices: Mapping[str, Mapping[str, Any]], node: str | None
) -> tuple[str, list[Channel]]:
    """Returns the node whose volumes one is like, and its images, in the order of the channels.

    Args:
      path: of `find`.
      slices: of the model's metadata.
      node: of a NIfTI file, as the user says; None if that is not needed.

    Raises:
      InputError: it is of no kind that the model knows, or the user must say of which.
    """
    if path.is_dir():
        cases = _case_files(path)
        if cases and not _has_dicom(path):
            return _of_case(path, cases, slices)
        return _of_series(path, slices)
    if not path.name.endswith(nifti.SUFFIXES):
        found = "another file" if path.exists() else "nothing"
        raise InputError(f"{path}: expected a NIfTI file or a folder, found {found}")
    known = [name for name, about in slices.items() if len(about["channels"]) == 1]
    if not known:
        raise InputError(
            f"{path}: expected the folder of a case with several images, found one NIfTI file"
        )
    if node is not None and node in known:
        known = [node]
    elif node is not None or len({_kind(slices[name]) for name in known}) > 1:
        raise InputError(
            f"{path}: expected --node={' or '.join(known)} with a NIfTI file, which does not say "
            f"what it shows, found {node or 'none'}"
        )
    return known[0], [Channel(path, _kind(slices[known[0]]))]


def takes_series(slices: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a model has a kind of volumes that DICOM series are of, by its metadata's slices."""
    return any(len(about.get("channels", ())) == 1 for about in slices.values())


def _of_series(
    path: pathlib.Path, slices: Mapping[str, Mapping[str, Any]]
) -> tuple[str, list[Channel]]:
    """See `identify`, of the folder of a DICOM series."""
    file = next(file for file in sorted(path.iterdir()) if image_files.is_dicom(file))
    modality = (dicom_header.texts(str(file), ["Modality"]) or {}).get("Modality", "none")
    wanted: dict[str, str] = {}
    for name, about in slices.items():
        if len(about["channels"]) == 1:
            wanted.setdefault(MODALITIES[_kind(about)], name)
    join = " or ".join(wanted)
    if modality not in wanted:
        raise InputError(
            f"{path}: expected "
            f"{f'a series of {join}' if wanted else 'a case of NIfTI files'}, "
            f"found a series of {modality:.16}"
        )
    return wanted[modality], [Channel(path, _kind(slices[wanted[modality]]))]


def _of_case(
    path: pathlib.Path,
    found: Mapping[str, Sequence[pathlib.Path]],
    slices: Mapping[str, Mapping[str, Any]],
) -> tuple[str, list[Channel]]:
    """See `identify`, of the folder of a case, with its files by loader."""
    for name, about in slices.items():
        if about["loader"] in found:
            files = found[about["loader"]]
            kinds = [channel["kind"] for channel in about["channels"]]
            return name, [Channel(file, kind) for file, kind in zip(files, kinds)]
    raise InputError(
        f"{path}: expected a volume like those of {', '.join(slices)}, found a case like those of "
        f"the loader {' or '.join(found)}"
    )


def _kind(about: Mapping[str, Any]) -> str:
    return about["channels"][0]["kind"]


def _has_dicom(folder: pathlib.Path) -> bool:
    return any(image_files.is_dicom(file) for file in folder.iterdir() if file.is_file())


def _case_files(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """The files of a case by the loaders whose names they have, in the order of the channels."""
    found = {}
    for loader, names in _FILES.items():
        files = [nifti.find(folder, f"{folder.name}_{name}") for name in names]
        known = [file for file in files if file is not None]
        if len(known) == len(names):
            found[loader] = known
    return found
