"""Cases of MRI in a folder each, `<case>/<case>_<name>.nii.gz`, as BraTS has them."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import logging
import os
import pathlib

from tffcxr.datasets.sources import source_files
from tffcxr.datasets.volumes import nifti
from tffcxr.datasets.volumes.cases import Case, Channel
from tffcxr.errors import InputError

_MASK = "seg"
_GRADES = "name_mapping.csv"  # Of BraTS: Grade, BraTS_2020_subject_ID, …


def load_cases(
    root: pathlib.Path, names: Sequence[str], source: str, strata: Sequence[str]
) -> list[Case]:
    """Returns the cases below a folder, at any depth, in the order of their names.

    A case without a mask is left out, with a warning: such are the cases of a challenge's test.

    Args:
      root: what holds the folders of the cases.
      names: of the images, in the order of the channels.
      source: the dataset's name.
      strata: of the cases. A case is in the one that its folder or one above it, up to the root,
        has as its name, or that `name_mapping.csv` gives it.

    Raises:
      InputError: there is no case with a mask, a case lacks an image, or two have one name; a table
        of grades has others.
    """
    source_files.require_folder(root, source)
    stratum_of: dict[str, str] = {}
    found: dict[str, Case] = {}
    without = []
    for parent, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        folder = pathlib.Path(parent)
        name = folder.name
        if _GRADES in files:
            stratum_of.update(_read_grades(folder / _GRADES, source, strata))
        if not any(file.startswith(f"{name}_") and ".nii" in file for file in files):
            continue
        mask = nifti.find(folder, f"{name}_{_MASK}")
        if mask is None:
            without.append(name)
            continue
        if name in found:
            raise InputError(
                f"{source}: expected one case {name}, found {found[name].mask.parent} and {folder}"
            )
        channels = []
        for image in names:
            path = nifti.find(folder, f"{name}_{image}")
            if path is None:
                raise InputError(
                    f"{source}: expected {name}_{image}.nii.gz in {folder}, found none"
                )
            channels.append(Channel(path, "mri"))
        above = (part for part in (root.name, *folder.relative_to(root).parts) if part in strata)
        found[name] = Case(name, tuple(channels), mask, next(above, ""))
    if not found:
        raise InputError(
            f"{source}: expected <case>/<case>_{_MASK}.nii.gz in {root}, found {len(without)} "
            "cases without such a mask"
        )
    if without:
        logging.getLogger(__name__).warning(
            "%s: %d cases have no mask and are left out, such as %s",
            source,
            len(without),
            without[0],
        )
    return [
        dataclasses.replace(found[name], stratum=stratum_of.get(name, found[name].stratum))
        for name in sorted(found)
    ]


def _read_grades(path: pathlib.Path, source: str, strata: Sequence[str]) -> dict[str, str]:
    """Reads the stratum of each case by all of its names."""
    table = source_files.read_csv(path, ["Grade"], source)
    bad = ~table["Grade"].isin(strata)
    if bad.any():
        raise source_files.bad_row(path, table, bad, f"a Grade of {' or '.join(strata)}", source)
    names = [column for column in table.columns if column.lower().endswith("subject_id")]
    return {name: grade for column in names for name, grade in zip(table[column], table["Grade"])}
