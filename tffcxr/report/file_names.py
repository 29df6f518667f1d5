"""Joins tables of single images with the files and patients that they are of.

The run keeps the names by client and row, and of volumes also by task and case: see `kept_names`.
What is joined is written beside them: `cache/` of a run's folder never leaves the hospital, see
`shared_copy`.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from tffcxr import errors, files, kept_names, run_tables
from tffcxr.report import page, run_files, run_reader

# What says of which image a row is, and of which volume.
_OF_IMAGES, _OF_CASES = ["client", "row"], ["task", "case"]


def write(run_dir: run_reader.PathLike) -> list[pathlib.Path]:
    """Writes every table of single images or volumes of a run again, with their names.

    These are `image`, `patient` and `split`, of volumes `site`, `patient` and `files`. Two more
    files have the names of all images, also of those in no table, and the command with its paths.

    Returns:
      The new files, `cache/<table>_with_files.csv`, and `cache/command_with_files.txt`.

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
    return [*written, *_all_images(run, names), *_command(run)]


def _all_images(run: pathlib.Path, names: pd.DataFrame) -> list[pathlib.Path]:
    path = (
        run / kept_names.FOLDER / f"{pathlib.PurePath(run_tables.IMAGES.file).stem}_with_files.csv"
    )
    files.write_table(path, names)
    return [path]


def _command(run: pathlib.Path) -> list[pathlib.Path]:
    words = kept_names.read_settings(run).get("command")
    if not words:  # Of an earlier version, or of a program that has none.
        return []
    path = run / kept_names.FOLDER / "command_with_files.txt"
    files.write_text(path, page.command(words) + "\n")
    return [path]


def _names(run: pathlib.Path, table: run_tables.Table, keys: list[str]) -> pd.DataFrame:
    path, found = kept_names.path_of(run, table), kept_names.read(run, table)
    if found is None:
        raise errors.InputError(f"expected a table of names in {path}, found none")
    names = _checked(found, keys, path)
    if names[keys].duplicated().any():
        raise errors.InputError(f"expected a row per image in {path}, found several of one")
    return names


def _join(
    run: pathlib.Path, table: run_tables.Table, names: pd.DataFrame, keys: list[str]
) -> list[pathlib.Path]:
    """Writes a table with the names; nothing if it is of an older run that does not say whose."""
    path = run / table.file
    if set(keys) <= table.optional and not {*keys} & {*run_files.read_texts(path)}:
        return []
    rows = _checked(run_files.read_texts(path), keys, path)
    joined = rows.merge(names.drop(columns=[*{*names} & {*rows} - {*keys}]), "left", keys)
    unknown = joined["patient"].isna()
    if unknown.any():
        first = joined[unknown].iloc[0]
        raise errors.InputError(
            f"expected the images of {path} in {run / kept_names.FOLDER}, found none for "
            f"{', '.join(f'{key} {first[key]}' for key in keys)}"
        )
    written = run / kept_names.FOLDER / f"{path.stem}_with_files.csv"
    files.write_table(written, joined)
    return [written]


def _checked(table: pd.DataFrame, keys: list[str], path: pathlib.Path) -> pd.DataFrame:
    """Returns a table that says of which image each row is."""
    missing = [name for name in keys if name not in table]
    if missing:
        raise errors.InputError(f"expected the column {missing[0]} in {path}, found none")
    return table
