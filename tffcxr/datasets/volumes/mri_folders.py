"""Cases of MRI in a folder each, `<case>/<case>_<name>.nii.gz`, as BraTS has them."""

from __future__ import annotations

from collections.abc import Sequence
import logging
import os
import pathlib

from tffcxr.datasets.sources import source_files
from tffcxr.datasets.volumes import nifti
from tffcxr.datasets.volumes.cases import Case, Channel
from tffcxr.errors import InputError

_MASK = "seg"


def load_cases(root: pathlib.Path, names: Sequence[str], source: str) -> list[Case]:
    """Returns the cases below a folder, at any depth, in the order of their names.

    A case without a mask is left out, with a warning: such are the cases of a challenge's test.

    Args:
      root: what holds the folders of the cases.
      names: of the images, in the order of the channels.
      source: the dataset's name.

    Raises:
      InputError: there is no case with a mask, a case lacks an image, or two have one name.
    """
    source_files.require_folder(root, source)
    found: dict[str, Case] = {}
    without = []
    for parent, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        folder = pathlib.Path(parent)
        name = folder.name
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
        found[name] = Case(name, tuple(channels), mask)
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
    return [found[name] for name in sorted(found)]
