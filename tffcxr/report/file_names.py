"""Joins tables of single images with the files and patients that they are of.

The names stand in one table, `cache/images.csv`, and what is joined is written beside it: `cache/`
of a run's folder never leaves the hospital, see `shared_copy`.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from tffcxr import errors, files, run_tables
from tffcxr.report import run_files, run_reader

FOLDER = "cache"
_KEYS = ["client", "row"]


def write(run_dir: run_reader.PathLike) -> list[pathlib.Path]:
    """Writes every table of single images of a run again, with `image`, `patient` and `split`.

    Returns:
      The new files, `cache/<table>_with_files.csv`.

    Raises:
      errors.InputError: the run has no table of images, no other one, or they do not fit together.
      OSError: a file cannot be written.
    """
    run = pathlib.Path(run_dir)
    names = _read(run / FOLDER / run_tables.IMAGES.file)
    if names[_KEYS].duplicated().any():
        raise errors.InputError(f"expected a row per image in {run / FOLDER}, found several of one")
    tables = [run / table.file for table in run_tables.OF_IMAGES if set(_KEYS) <= {*table.columns}]
    written = []
    for path in tables:
        if not path.exists():
            continue
        table = _read(path)
        joined = table.merge(names.drop(columns=[*{*names} & {*table} - {*_KEYS}]), "left", _KEYS)
        unknown = joined["image"].isna()
        if unknown.any():
            row = joined[unknown].iloc[0]
            raise errors.InputError(
                f"expected the images of {path} in {run / FOLDER / run_tables.IMAGES.file}, found "
                f"none for client {row['client']}, row {row['row']}"
            )
        written.append(run / FOLDER / f"{path.stem}_with_files.csv")
        files.write_table(written[-1], joined)
    if not written:
        raise errors.InputError(
            f"expected a table of single images in {run}, such as "
            f"{run_tables.PREDICTIONS.file}, found none"
        )
    return written


def _read(path: pathlib.Path) -> pd.DataFrame:
    """Reads a table that says of which image each row is."""
    table = run_files.read_texts(path)
    missing = [name for name in _KEYS if name not in table]
    if missing:
        raise errors.InputError(f"expected the column {missing[0]} in {path}, found none")
    return table
