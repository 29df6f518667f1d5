"""Joins tables of single images with the files and patients that they are of.

The names stand in `cache/images.csv`, by client and row, and of volumes also in
`cache/case_files.csv`, by task and case. What is joined is written beside it: `cache/` of a run's
folder never leaves the hospital, see `shared_copy`.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from tffcxr import errors, files, run_tables
from tffcxr.report import run_files, run_reader

FOLDER = "cache"
# What says of which image a row is, and of which volume.
_OF_IMAGES, _OF_CASES = ["client", "row"], ["task", "case"]


def write(run_dir: run_reader.PathLike) -> list[pathlib.Path]:
    """Writes every table of single images or volumes of a run again, with their names.

    These are `image`, `patient` and `split`, of volumes `site`, `patient` and `files`.

    Returns:
      The new files, `cache/<table>_with_files.csv`.

    Raises:
      errors.InputError: the run has no table of images, no other one, or they do not fit together.
      OSError: a file cannot be written.
    """
    run = pathlib.Path(run_dir)
    written = []
    names = _names(run, run_tables.IMAGES, _OF_IMAGES)
    for table in run_tables.OF_IMAGES:
        if set(_OF_IMAGES) <= {*table.columns} and (run / table.file).exists():
            written += _join(run, table, names, _OF_IMAGES)
    if (run / run_tables.CASES.file).exists():
        cases = _names(run, run_tables.CASE_FILES, _OF_CASES)
        written += _join(run, run_tables.CASES, cases, _OF_CASES)
    if not written:
        raise errors.InputError(
            f"expected a table of single images in {run}, such as "
            f"{run_tables.PREDICTIONS.file}, found none"
        )
    return written


def _names(run: pathlib.Path, table: run_tables.Table, keys: list[str]) -> pd.DataFrame:
    names = _read(run / FOLDER / table.file, keys)
    if names[keys].duplicated().any():
        raise errors.InputError(
            f"expected a row per image in {run / FOLDER / table.file}, found several of one"
        )
    return names


def _join(
    run: pathlib.Path, table: run_tables.Table, names: pd.DataFrame, keys: list[str]
) -> list[pathlib.Path]:
    """Writes a table with the names; nothing if it is of an older run that does not say whose."""
    path = run / table.file
    if set(keys) <= table.optional and not {*keys} & {*run_files.read_texts(path)}:
        return []
    rows = _read(path, keys)
    joined = rows.merge(names.drop(columns=[*{*names} & {*rows} - {*keys}]), "left", keys)
    unknown = joined["patient"].isna()
    if unknown.any():
        first = joined[unknown].iloc[0]
        raise errors.InputError(
            f"expected the images of {path} in {run / FOLDER}, found none for "
            f"{', '.join(f'{key} {first[key]}' for key in keys)}"
        )
    written = run / FOLDER / f"{path.stem}_with_files.csv"
    files.write_table(written, joined)
    return [written]


def _read(path: pathlib.Path, keys: list[str]) -> pd.DataFrame:
    """Reads a table that says of which image each row is."""
    table = run_files.read_texts(path)
    missing = [name for name in keys if name not in table]
    if missing:
        raise errors.InputError(f"expected the column {missing[0]} in {path}, found none")
    return table
