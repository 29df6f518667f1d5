"""NIH ChestX-ray14, as the NIH Clinical Center ships it.

    Data_Entry_2017.csv or Data_Entry_2017_v2020.csv
        Image Index, Finding Labels, Follow-up #, Patient ID, Patient Age, Patient Gender,
        View Position, ...; the findings of an image are separated by "|"
    images/*.png, or images_001/images/*.png to images_012/images/*.png

Records: images of 1024 x 1024 and 8 bits. All fourteen findings are known for every image, "No
Finding" being 0 for all of them: labels are mined from reports (Wang et al. estimate 90 % accuracy)
and name what a report mentions. `mask` is unknown: the boxes that exist for 880 images belong to
one finding each, not to an image.
"""

from __future__ import annotations

import logging
import math
import pathlib

import pandas as pd

from tffcxr.datasets import findings, records
from tffcxr.datasets.sources import source_files
from tffcxr.errors import InputError

_SOURCE = "nih"
_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
_NO_FINDING = "No Finding"
_SUFFIXES = (".png", ".jpg", ".jpeg")
_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
_SEX = ("Patient Gender", "Patient Sex")


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8: Hospital-scale Chest "
        "X-ray Database and Benchmarks on Weakly-Supervised Classification and Localization of "
        "Common Thorax Diseases. CVPR 2017:3462-3471. doi:10.1109/CVPR.2017.369"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of the labelled images that are on disk.

    Args:
      root: the folder that holds the files above.

    Raises:
      InputError: a file or column is missing, a value is not what it should be, rows contradict
        each other, or no labelled image is on disk.
    """
    source_files.require_folder(root, _SOURCE)
    path = source_files.first_existing(root, _TABLES, _SOURCE)
    df = source_files.read_csv(path, _COLUMNS, _SOURCE)
    sex = next((name for name in _SEX if name in df.columns), None)
    if sex is None:
        raise InputError(
            f"{_SOURCE}: {path}: expected the column {' or '.join(map(repr, _SEX))}, found "
            f"{', '.join(map(repr, df.columns))}"
        )
    table = pd.DataFrame(
        {
            "name": df["Image Index"],
            "patient": _patients(path, df),
            "view": df["View Position"].replace("", None),
            "age": _ages(path, df),
            "sex": _sexes(path, df, sex),
        }
    ).join(_labels(path, df))
    bad = df.duplicated("Image Index") | (df["Image Index"] == "")
    if bad.any():
        raise source_files.bad_row(path, df, bad, "each Image Index once", _SOURCE)
    folders = sorted(folder for folder in root.glob("images*") if folder.is_dir())
    if not folders:
        raise InputError(f"{_SOURCE}: expected images/ or images_001/ in {root}, found neither")
    files = source_files.find_files(folders, _SUFFIXES)
    table = records.drop_missing_images(table, table["name"].map(files), _SOURCE, root / "images*")
    rows = [
        {str(name): value for name, value in row.items()}
        for row in table.drop(columns="name").to_dict("records")
    ]
    return records.build(rows, findings.NIH, _SOURCE)


def _patients(path: pathlib.Path, df: pd.DataFrame) -> pd.Series:
    bad = ~df["Patient ID"].str.fullmatch(r"\d+")
    if bad.any():
        raise source_files.bad_row(path, df, bad, "a whole number as Patient ID", _SOURCE)
    return df["Patient ID"].map(int).map(str)  # "00000001" and "1" are one patient.


def _ages(path: pathlib.Path, df: pd.DataFrame) -> pd.Series:
    """Returns years. Some lists have impossible ages such as 414, which are taken as unknown."""

    def parse(text: str) -> float | None:
        try:
            return records.parse_age(text)
        except ValueError:
            return None

    ages = [parse(text) for text in df["Patient Age"]]
    bad = pd.Series([age is None for age in ages], index=df.index)
    if bad.any():
        raise source_files.bad_row(path, df, bad, "a Patient Age such as 58 or 058Y", _SOURCE)
    impossible = sum(
        math.isnan(age) for age, text in zip(ages, df["Patient Age"]) if text and age is not None
    )
    if impossible:
        logging.getLogger(__name__).warning(
            "%s: %d ages above %g years are taken as unknown",
            _SOURCE,
            impossible,
            records.MAXIMUM_AGE,
        )
    return pd.Series(ages, index=df.index, dtype=float)


def _sexes(path: pathlib.Path, df: pd.DataFrame, column: str) -> pd.Series:
    bad = ~df[column].isin(["F", "M", ""])
    if bad.any():
        raise source_files.bad_row(path, df, bad, f"F or M as {column}", _SOURCE)
    return df[column].replace("", None)


def _labels(path: pathlib.Path, df: pd.DataFrame) -> pd.DataFrame:
    """Returns a float column per finding."""
    by_name = {name.replace(" ", "_"): name for name in findings.NIH}
    present = df["Finding Labels"].str.split("|")
    known = {*by_name, *findings.NIH, _NO_FINDING}
    bad = ~present.map(lambda labels: set(labels) <= known)
    if bad.any():
        raise source_files.bad_row(path, df, bad, "the findings of ChestX-ray14", _SOURCE)
    bad = present.map(lambda labels: _NO_FINDING in labels and len(labels) > 1)
    if bad.any():
        raise source_files.bad_row(path, df, bad, "findings or No Finding, not both", _SOURCE)
    named = present.map(lambda labels: {by_name.get(label, label) for label in labels})
    return pd.DataFrame(
        {name: [float(name in labels) for labels in named] for name in findings.NIH},
        index=df.index,
    )
