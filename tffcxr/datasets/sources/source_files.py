"""Locates and reads the files of a dataset as it was downloaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
import pathlib
import warnings

import pandas as pd

from tffcxr.datasets import limits, records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.errors import InputError, one_line


def require_folder(root: pathlib.Path, source: str) -> pathlib.Path:
    """Returns the folder.

    Raises:
      InputError: there is none.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise InputError(f"{source}: expected a folder at {root}, found {found}")
    return root


def first_existing(root: pathlib.Path, names: Sequence[str], source: str) -> pathlib.Path:
    """Returns the first of the names that exists below a folder.

    Raises:
      InputError: none does.
    """
    for name in names:
        if (root / name).exists():
            return root / name
    raise InputError(f"{source}: expected {' or '.join(names)} in {root}, found none")


def read_csv(
    path: pathlib.Path, columns: Sequence[str], source: str, long: Sequence[str] = ()
) -> pd.DataFrame:
    """Reads a CSV file as text.

    Spaces around column names and values do not matter.

    Args:
      path: the file.
      columns: the columns that it must have; others are kept.
      source: the dataset's name, for error messages.
      long: those of `columns` whose values may have more than `limits.MAXIMUM_TEXT` characters.

    Returns:
      A table of strings; an empty field is "".

    Raises:
      InputError: there is no such file, it is no CSV file, it has no rows or lacks a column, or a
        value is too long.
    """
    try:
        with warnings.catch_warnings():
            # Without index_col=False, rows that are longer than the header would shift every
            # column; with it, pandas cuts them and only warns.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            df = pd.read_csv(
                path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig"
            )
    except pd.errors.ParserWarning:
        raise InputError(
            f"{source}: {path}: expected rows as long as the header, found longer ones"
        ) from None
    except (ValueError, OSError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else one_line(error)
        raise InputError(f"{source}: {path}: expected a CSV file, found: {reason}") from None
    df.columns = [str(name).strip() for name in df.columns]
    missing = [name for name in columns if name not in df.columns]
    if missing:
        raise InputError(
            f"{source}: {path}: expected the column {', '.join(map(repr, missing))}, found "
            f"{', '.join(map(repr, df.columns))}"
        )
    if df.empty:
        raise InputError(f"{source}: {path}: expected at least one row, found none")
    df = df.fillna("")
    for name in columns:
        df[name] = df[name].str.strip()
        too_long = df[name].str.len() > limits.MAXIMUM_TEXT
        if name not in long and too_long.any():
            expected = f"at most {limits.MAXIMUM_TEXT} characters as {name}"
            raise bad_row(path, df, too_long, expected, source)
    return df


def ages(path: pathlib.Path, df: pd.DataFrame, column: str, source: str) -> list[float]:
    """Returns the ages in a column in years, NaN where it is empty.

    Raises:
      InputError: one is no age; see `bad_row`.
    """
    found = []
    for text in df[column]:
        try:
            found.append(records.parse_age(text))
        except ValueError:
            raise bad_row(path, df, df[column] == text, f"an {column} such as 58", source) from None
    return found


def find_files(folders: Sequence[pathlib.Path], suffixes: Sequence[str]) -> dict[str, str]:
    """Returns the path of every file with one of the suffixes at any depth, by file name.

    Raises:
      InputError: two files have the same name, so that the name does not say which is meant.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for parent, children, names in os.walk(folder, followlinks=True):
            children.sort()
            for name in sorted(names):
                if not name.lower().endswith(tuple(suffixes)) or name.startswith("."):
                    continue
                path = os.path.join(parent, name)
                if name in found:
                    raise InputError(
                        f"expected one file named {name}, found {found[name]} and {path}"
                    )
                found[name] = path
    return found


def lung_masks(root: pathlib.Path) -> dict[str, areas.MaskFile]:
    """Returns the masks in `<root>/lung_masks/<name>.png` by name, none without the folder."""
    files = find_files([root / "lung_masks"], [".png"])
    return {name[: -len(".png")]: areas.MaskFile(path) for name, path in files.items()}


def listed_patients(path: pathlib.Path, images: Mapping[str, str], source: str) -> dict[str, str]:
    """Reads which patient each image is of, from a CSV file with `filename` and `patientid`.

    Args:
      path: the file. A filename may have another suffix than the image.
      images: paths of the images by name without suffix.
      source: the dataset's name, for error messages.

    Returns:
      The patient of each of the images, by the same names.

    Raises:
      InputError: see `read_csv`; a field is empty, a file has two patients, or an image no row.
    """
    df = read_csv(path, ["filename", "patientid"], source)
    bad = (df["filename"] == "") | (df["patientid"] == "")
    if bad.any():
        raise bad_row(path, df, bad, "a filename and a patientid", source)
    by_stem = df.assign(stem=df["filename"].map(lambda name: pathlib.PurePath(name).stem))
    by_stem = by_stem.drop_duplicates(["stem", "patientid"])
    bad = by_stem["stem"].duplicated()
    if bad.any():
        raise bad_row(path, by_stem, bad, "one patientid per filename", source)
    known = dict(zip(by_stem["stem"], by_stem["patientid"]))
    missing = [stem for stem in images if stem not in known]
    if missing:
        raise InputError(
            f"{source}: {path}: expected a row for every image, found none for "
            f"{images[missing[0]]} ({len(missing)} of {len(images)} images)"
        )
    return {stem: known[stem] for stem in images}


def bad_row(
    path: pathlib.Path, df: pd.DataFrame, bad: pd.Series, expected: str, source: str
) -> InputError:
    """Returns the error for the first bad row of a table that `read_csv` returned.

    Args:
      path: the file.
      df: the table, or some of its rows.
      bad: bool per row of `df`, at least one True.
      expected: what was expected.
      source: the dataset's name.
    """
    row = int(bad.to_numpy().nonzero()[0][0])
    values = ", ".join(f"{name}={value!s:.40}" for name, value in df.iloc[row].items())
    # Line 1 of the file is the header, and the index counts from 0.
    return InputError(
        f"{source}: {path}: expected {expected}, found in line {df.index[row] + 2}: {values}"
    )
