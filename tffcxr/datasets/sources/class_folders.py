"""Images in a folder per class, with or without a division into splits above.

    <class>/**/*.png                  or .jpg, .jpeg, .dcm; any names of classes, links are followed
    train/<class>/**/*.png            instead: with val/ (validation/, valid/) and test/ beside
    lung_masks/<name>.png             optional: masks of the lungs of <class>/**/<name>.*
    metadata.csv                      optional; filename, patientid: which patient an image is of

Classes are mutually exclusive: every image is 1 in its own and 0 in the others. A name that
`findings.NAMES` has, in whatever case, becomes the vocabulary's ("NORMAL", "covid19"); any other
stays as it is.

Without `metadata.csv`, patients are identified by file names: by the patient's number in names of
NIH ChestX-ray14 ("00000061_012"), of Kermany et al. ("person1_bacteria_2", "IM-0115-0001",
"NORMAL2-IM-0927-0001", "VIRUS-1043-0001"), of MIDRC-RICORD or of BIMCV; otherwise by the name
without endings such as "-day2" (`lungs.patient_of`), within its class. This joins a few patients
too many rather than too few. With names of another form, every image counts as a patient of its
own, so a hospital with several images per patient needs `metadata.csv`. If a patient is in several
splits, the source's division is not used, and there is no column `split`: patients are then divided
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import logging
import os
import pathlib
import re

import pandas as pd

from tffcxr.datasets import findings, records
from tffcxr.datasets.sources import lungs, source_files
from tffcxr.errors import InputError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")
_SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_LUNGS = "lung_masks"
_METADATA = "metadata.csv"
# For each source, the beginning of its file names, which identifies the patient.
_PATIENTS = (
    re.compile(r"0*(?P<patient>\d+)_\d{3}"),  # NIH ChestX-ray14; as its loader writes it.
    re.compile(r"(?P<patient>person\d+)_(bacteria|virus)_\d+"),
    # Kermany et al. number the two kinds of normal names alike.
    re.compile(r"(NORMAL2-)?(?P<patient>IM-\d+)-\d+(-\d+)?"),
    # The third version of their data: class, patient, image.
    re.compile(r"(NORMAL|BACTERIA|VIRUS)-(?P<patient>\d+)-\d+"),
    re.compile(r"MIDRC-RICORD-1C-(?P<patient>\w+-\d+)-.+"),
    re.compile(r"sub-(?P<patient>S\d+)_ses-.+"),  # BIMCV
)


def read(
    root: pathlib.Path,
    source: str,
    expected: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
) -> pd.DataFrame:
    """Returns the records table of all images.

    Args:
      root: the folder that holds the folders above.
      source: the dataset's name, for error messages.
      expected: the classes that there must be, and no others; None for any two or more.
      ignore: folders in `root` that are neither splits nor classes.

    Raises:
      InputError: there are no two classes, or others than expected, a class is there twice or has
        no image, a file is in several classes or splits, or `metadata.csv` lacks an image.
    """
    source_files.require_folder(root, source)
    files = _files(root, source, ignore)
    names = list(dict.fromkeys(kind for _, kind, _ in files))
    if expected is not None and set(names) != set(expected):
        raise InputError(
            f"{source}: expected the classes {', '.join(expected)} in {root}, found "
            f"{', '.join(names)}"
        )
    names = list(expected or _in_order(names))
    if len(names) < 2:
        raise InputError(
            f"{source}: expected a folder per class, at least two, in {root}, found "
            f"{', '.join(names)}"
        )
    paths = [path for *_, path in files]
    _check_different(paths, source)
    regions = _lungs(root, paths, source)
    patients = _patients(root, files, source)
    table = records.build(
        [
            {
                "image": str(path),
                "patient": patient,
                "lungs": regions.get(path.stem),
                **{name: float(name == kind) for name in names},
                **({records.SPLIT: split} if split else {}),
            }
            for (split, kind, path), patient in zip(files, patients)
        ],
        names,
        source,
    )
    return _without_leaking_splits(table, source)


def patient_of(stem: str, kind: str) -> str:
    """Returns the patient that a file name identifies.

    Args:
      stem: the file's name without its suffix.
      kind: the class, within which a name of no known form identifies the patient.
    """
    for pattern in _PATIENTS:
        match = pattern.fullmatch(stem)
        if match:
            return match["patient"]
    return f"{kind}/{lungs.patient_of(stem)}"


def _files(
    root: pathlib.Path, source: str, ignore: Sequence[str]
) -> list[tuple[str, str, pathlib.Path]]:
    """Returns split (or ""), class and path of every image, in a fixed order."""
    folders = {name: folder for name, folder in _folders(root).items() if name not in ignore}
    splits = {name: folder for name, folder in folders.items() if name.lower() in _SPLITS}
    if not splits:
        return _of_classes(folders, root, "", source)
    others = [name for name in folders if name not in splits]
    if others:
        raise InputError(
            f"{source}: expected folders per class either in {root} or in {', '.join(splits)} "
            f"there, found {', '.join(others)} beside them"
        )
    named = [_SPLITS[name.lower()] for name in splits]
    if len(set(named)) != len(named):
        raise InputError(f"{source}: expected each split once in {root}, found {', '.join(splits)}")
    found = []
    for name, folder in splits.items():
        found += _of_classes(_folders(folder), folder, _SPLITS[name.lower()], source)
    return found


def _folders(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the folders in a folder by name, without those of operating systems."""
    return {
        path.name: path
        for path in sorted(root.iterdir())
        if path.is_dir() and not path.name.startswith((".", "__")) and path.name != _LUNGS
    }


def _of_classes(
    folders: Mapping[str, pathlib.Path], root: pathlib.Path, split: str, source: str
) -> list[tuple[str, str, pathlib.Path]]:
    found: list[tuple[str, str, pathlib.Path]] = []
    classes: dict[str, str] = {}
    if not folders:
        raise InputError(f"{source}: expected a folder per class in {root}, found none")
    for name, folder in folders.items():
        kind = _class_name(name)
        if kind in classes:
            raise InputError(
                f"{source}: expected one folder for the class {kind} in {root}, found "
                f"{classes[kind]} and {name}"
            )
        classes[kind] = name
        paths = _images(folder)
        if not paths:
            raise InputError(
                f"{source}: expected images ({', '.join(_SUFFIXES)}) in {folder}, found none"
            )
        found += [(split, kind, path) for path in paths]
    return found


def _class_name(folder: str) -> str:
    """Returns the vocabulary's name of a class, or the folder's where the vocabulary has none."""
    try:
        return findings.canonical(folder)
    except InputError:
        return folder


def _in_order(names: Sequence[str]) -> list[str]:
    """Returns the classes in the order of `findings.COVID`, others after these by name."""
    known = list(findings.COVID)
    return sorted(names, key=lambda name: (known.index(name) if name in known else 99, name))


def _images(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the images in a folder at any depth."""
    found = []
    for parent, children, names in os.walk(folder, followlinks=True):
        children.sort()
        found += [
            pathlib.Path(parent, name)
            for name in sorted(names)
            if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
        ]
    return found


def _check_different(paths: Sequence[pathlib.Path], source: str) -> None:
    """Raises InputError if two are the same file, which then would be in two classes or splits."""
    seen: dict[str, pathlib.Path] = {}
    for path in paths:
        real = os.path.realpath(path)
        if real in seen:
            raise InputError(f"{source}: expected each image once, found {seen[real]} and {path}")
        seen[real] = path


def _patients(
    root: pathlib.Path, files: Sequence[tuple[str, str, pathlib.Path]], source: str
) -> list[str]:
    """Returns the patient of each image, and logs how they were identified."""
    paths = [path for *_, path in files]
    table = root / _METADATA
    if table.exists():
        listed = source_files.listed_patients(table, _by_name(paths, table, source), source)
        return [listed[path.stem] for path in paths]
    patients = [patient_of(path.stem, kind) for _, kind, path in files]
    logging.getLogger(__name__).info(
        "%s: %d images of %d patients, identified by the names of the files in %s",
        source,
        len(patients),
        len(set(patients)),
        root,
    )
    return patients


def _by_name(paths: Sequence[pathlib.Path], wanted: object, source: str) -> dict[str, str]:
    """Returns the images by name without suffix.

    Raises:
      InputError: two have one name, so that `wanted` does not say which is meant.
    """
    found: dict[str, str] = {}
    for path in paths:
        if path.stem in found:
            raise InputError(
                f"{source}: expected one image named {path.stem} where there is {wanted}, found "
                f"{found[path.stem]} and {path}"
            )
        found[path.stem] = str(path)
    return found


def _lungs(root: pathlib.Path, paths: Sequence[pathlib.Path], source: str) -> Mapping[str, object]:
    """Returns the masks of the lungs by the names of their images, none without the folder."""
    masks = source_files.lung_masks(root)
    _by_name([path for path in paths if path.stem in masks], root / _LUNGS, source)
    return masks


def _without_leaking_splits(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Drops the source's division, with a warning, if a patient is in several of its splits."""
    if records.SPLIT not in table:
        return table
    splits = table.groupby("patient")[records.SPLIT].nunique()
    shared = splits.index[splits > 1]
    if shared.empty:
        return table
    logging.getLogger(__name__).warning(
        "%s: %d of %d patients, such as %s, are in several of the source's splits; its division is "
        "not used",
        source,
        len(shared),
        len(splits),
        shared[0],
    )
    return table.drop(columns=records.SPLIT)
