"""Kidneys in PET/CT: a folder per patient with a DICOM series of each and a mask.

    <patient>/CT/...              files of one CT series, at any depth, of any names
    <patient>/PET/...             files of one PET series in BQML
    <patient>/kidneys.nii.gz      above 0 are the kidneys; on a grid of its own, such as the CT's

PET and CT are datasets of their own (loaders `pet` and `ct`), since the paper has a node for each;
a folder may lack the series that is not asked for. Patients are named by their folders. The layout
is ours: the paper's data are not public.
"""

from __future__ import annotations

import logging
import pathlib

from tffcxr.datasets.sources import source_files
from tffcxr.datasets.volumes import nifti
from tffcxr.datasets.volumes.cases import Case, Channel
from tffcxr.errors import InputError

CT, PET, MASK = "CT", "PET", "kidneys"


def cite() -> str:
    """Returns the reference of the kind of data."""
    return (
        "Parekh VS, Lai S, Braverman V, Leal J, Rowe S, Pillai JJ, Jacobs MA. Cross-Domain "
        "Federated Learning in Medical Imaging. MIDL 2022. arXiv:2112.10001."
    )


def load_ct(root: pathlib.Path) -> list[Case]:
    """Returns a case per patient with a CT and a mask; see `_load`."""
    return _load(root, CT, "ct")


def load_pet(root: pathlib.Path) -> list[Case]:
    """Returns a case per patient with a PET and a mask; see `_load`."""
    return _load(root, PET, "pet")


def _load(root: pathlib.Path, series: str, kind: str) -> list[Case]:
    """Returns the cases in the order of the patients.

    A series without a mask is left out, with a warning.

    Raises:
      InputError: no patient has the series and a mask.
    """
    source_files.require_folder(root, kind)
    found, without = [], []
    for folder in sorted(root.iterdir()):
        if not (folder / series).is_dir():
            continue
        mask = nifti.find(folder, MASK)
        if mask is None:
            without.append(folder.name)
            continue
        found.append(Case(folder.name, (Channel(folder / series, kind),), mask))
    if not found:
        raise InputError(
            f"{kind}: expected <patient>/{series} and <patient>/{MASK}.nii.gz in {root}, found "
            f"{len(without)} patients with a series and no mask"
        )
    if without:
        logging.getLogger(__name__).warning(
            "%s: %d patients have no mask and are left out, such as %s",
            kind,
            len(without),
            without[0],
        )
    return found
