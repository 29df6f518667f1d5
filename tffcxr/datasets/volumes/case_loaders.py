"""Datasets of volumes by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import importlib
import os
import pathlib

from tffcxr.datasets.volumes.cases import Case
from tffcxr.errors import InputError

# Name -> module and function from a folder to its cases.
LOADERS = {
    "brats": ("tffcxr.datasets.volumes.brats", "load_cases"),
    "breast_mri": ("tffcxr.datasets.volumes.breast_mri", "load_cases"),
    "ct": ("tffcxr.datasets.volumes.petct", "load_ct"),
    "pet": ("tffcxr.datasets.volumes.petct", "load_pet"),
}


def strata(loader: str) -> tuple[str, ...]:
    """The strata that the cases of a loader may have, none for most."""
    module, _ = LOADERS[loader]
    return getattr(importlib.import_module(module), "STRATA", ())


def load_cases(loader: str, root: str | os.PathLike[str]) -> list[Case]:
    """Returns the cases of a dataset; no voxel is read yet.

    Args:
      loader: one of `LOADERS`.
      root: the dataset's folder, in the layout that the loader's module describes.

    Raises:
      InputError: there is no such loader, or the folder holds no complete case.
    """
    if loader not in LOADERS:
        raise InputError(f"expected a loader among {', '.join(LOADERS)}, found {loader!r}")
    root = pathlib.Path(root)
    if not root.exists():
        raise InputError(f"{loader}: expected a dataset at {root}, found nothing")
    module, function = LOADERS[loader]
    load: Callable[[pathlib.Path], Sequence[Case]] = getattr(
        importlib.import_module(module), function
    )
    return list(load(root))
