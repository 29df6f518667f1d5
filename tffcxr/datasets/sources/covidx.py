"""COVIDx, the data of COVID-Net, with its lists as the COVID-Net repository has them.

    train_COVIDx9A.txt   or train_split.txt, train.txt: a line per image, without a header:
    test_COVIDx9A.txt    patient, file name, class and (since the third version) source
    train/*, test/*      the images; also data/train, data/test, or all in images/
    lung_masks/*.png     optional, not part of the data: masks of the lungs, by the images' names

Three mutually exclusive classes: "normal", "pneumonia" (any but COVID-19; "viral" and "bacteria" in
the first version) and "COVID-19". Lists of two classes ("positive", "negative": the versions with a
B) do not distinguish normal from pneumonia and are rejected.

Records: the classes of `findings.COVID`, known for all; `split` as in the lists. The numbers of
patients are their sources', so that patients of different sources are different. COVIDx is put
together from others' images: its normal and pneumonia images are largely those of `rsna`, which
calls an examination a patient, so that some patients may be in both splits unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
import pathlib
import re

import pandas as pd

from tffcxr.datasets import findings, records
from tffcxr.datasets.sources import source_files
from tffcxr.errors import InputError

_SOURCE = "covidx"
_SPLITS = ("train", "test")
_SUFFIXES = (".png", ".jpg", ".jpeg")
_CLASSES = {
    "normal": "Normal",
    "pneumonia": "Pneumonia",
    "viral": "Pneumonia",
    "bacteria": "Pneumonia",
    "COVID-19": "COVID-19",
}
_TWO_CLASSES = ("positive", "negative")
_LINE = re.compile(
    rf"(?P<patient>\S+)\s+(?P<name>\S.*?)\s+(?P<kind>{'|'.join((*_CLASSES, *_TWO_CLASSES))})"
    r"(\s+(?P<source>\S+))?",
    re.IGNORECASE,
)


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Wang L, Lin ZQ, Wong A. COVID-Net: a tailored deep convolutional neural network design "
        "for detection of COVID-19 cases from chest X-ray images. Scientific Reports "
        "2020;10:19549. doi:10.1038/s41598-020-76550-z"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of the listed images that are on disk.

    Args:
      root: the folder that holds the files above.

    Raises:
      InputError: a list is missing, there are several, a line is not what it should be, an image is
        listed twice, an image or a patient is in both lists, or no listed image is on disk.
    """
    source_files.require_folder(root, _SOURCE)
    lists = {split: _list_of(root, split) for split in _SPLITS}
    table = pd.concat(
        [_read(path).assign(split=split) for split, path in lists.items()], ignore_index=True
    )
    if table["source"].notna().all():  # Without sources, equal numbers may be two patients.
        table["patient"] = table["source"].str.lower() + "/" + table["patient"]
    _check_apart(table, "name", "image", lists)
    _check_apart(table, "patient", "patient", lists)
    images = {split: _images(root, split) for split in _SPLITS}
    paths = pd.Series(
        [images[split].get(name) for split, name in zip(table["split"], table["name"])],
        dtype=object,
    )
    table = records.drop_missing_images(table, paths, _SOURCE, root)
    lungs = source_files.lung_masks(root)
    return records.build(
        [
            {
                "image": row.image,
                "patient": row.patient,
                "lungs": lungs.get(pathlib.PurePath(row.name).stem),
                records.SPLIT: row.split,
                **{kind: float(kind == row.kind) for kind in findings.COVID},
            }
            for row in table.itertuples(index=False, name="Row")
        ],
        findings.COVID,
        _SOURCE,
    )


def _list_of(root: pathlib.Path, split: str) -> pathlib.Path:
    """Returns the list of a split: the only .txt file whose name starts with it."""
    found = sorted(root.glob(f"{split}*.txt")) or sorted((root / "labels").glob(f"{split}*.txt"))
    if len(found) != 1:
        raise InputError(
            f"{_SOURCE}: expected one list {split}*.txt in {root}, found "
            f"{', '.join(path.name for path in found) or 'none'}"
        )
    return found[0]


def _read(path: pathlib.Path) -> pd.DataFrame:
    """Returns `patient`, `name`, `kind` (of `findings.COVID`) and `source` or None by line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{_SOURCE}: {path}: expected a text file, found: {error}") from None
    classes = {name.lower(): kind for name, kind in _CLASSES.items()}
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise InputError(
                f"{_SOURCE}: {path}: expected patient, file name, class (one of "
                f"{', '.join(_CLASSES)}) and perhaps source, found in line {number}: {line:.80}"
            )
        kind = match["kind"].lower()
        if kind in _TWO_CLASSES:
            raise InputError(
                f"{_SOURCE}: {path}: expected the three classes normal, pneumonia and COVID-19 (a "
                f"version with an A, such as COVIDx 9A), found {kind!r} in line {number}"
            )
        row = {key: match[key] for key in ("patient", "name", "source")}
        rows.append({**row, "kind": classes[kind]})
    if not rows:
        raise InputError(f"{_SOURCE}: {path}: expected a line per image, found none")
    table = pd.DataFrame(rows)
    twice = table["name"].duplicated()
    if twice.any():
        raise InputError(
            f"{_SOURCE}: {path}: expected each image once, found {table['name'][twice].iloc[0]} "
            f"several times ({int(twice.sum())} such lines)"
        )
    return table


def _check_apart(
    table: pd.DataFrame, column: str, what: str, lists: Mapping[str, pathlib.Path]
) -> None:
    """Raises InputError if an image or a patient is in both lists: results would be wrong."""
    splits = table.groupby(column, sort=False)["split"].nunique()
    shared = splits.index[splits > 1]
    if len(shared):
        names = " and ".join(path.name for path in lists.values())
        raise InputError(
            f"{_SOURCE}: expected each {what} in one of {names}, found {len(shared)} in both, such "
            f"as {shared[0]}"
        )


def _images(root: pathlib.Path, split: str) -> dict[str, str]:
    """Returns the images of a split by file name, from the first folder that is there."""
    for folder in (root / split, root / "data" / split, root / "images"):
        if folder.is_dir():
            return source_files.find_files([folder], _SUFFIXES)
    raise InputError(
        f"{_SOURCE}: expected images in {split}/, data/{split}/ or images/ of {root}, found none "
        "of these folders"
    )
