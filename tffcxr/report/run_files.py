"""Files of a run directory, and one line for what is wrong with one."""

from __future__ import annotations

import json
import pathlib
from typing import Any
import zipfile
import zlib

import numpy as np
import pandas as pd

from tffcxr import errors, run_tables


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
      errors.InputError: if the file is not there or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise errors.InputError(
            f"expected a run directory with {path.name}, found {error.strerror}: {path}"
        ) from error
    except ValueError as error:
        raise errors.InputError(
            f"expected JSON in {path}, found {errors.one_line(error)}"
        ) from error
    if not isinstance(value, dict):
        raise errors.InputError(f"expected a JSON object in {path}, found {type(value).__name__}")
    return value


def read_table(
    run_dir: pathlib.Path, schema: run_tables.Table, file: str | None = None
) -> pd.DataFrame:
    """Reads a table of a run; an empty cell of a number is NaN.

    Args:
      run_dir: the run directory.
      schema: of the table.
      file: its name, if it is not that of the schema.

    Returns:
      The table, with the needed columns and no row if there is no such file.

    Raises:
      errors.InputError: if it is no table, lacks a column, or has text in a column of numbers.
    """
    path, needed = run_dir / (file or schema.file), schema.needed_by_readers
    if not path.exists():
        return pd.DataFrame({column: [] for column in needed})
    table = read_texts(path)  # First: an id such as "007" or "NA" is a name, no number or gap.
    missing = [column for column in needed if column not in table]
    if missing:
        raise errors.InputError(
            f"expected column {missing[0]!r} in {path}, found {', '.join(table.columns)}"
        )
    for column in table.columns.difference(list(schema.texts)):
        try:
            table[column] = pd.to_numeric(table[column].replace(["", "nan"], np.nan)).astype(float)
        except ValueError as error:
            raise errors.InputError(
                f"expected numbers in column {column!r} of {path}, found {errors.one_line(error)}"
            ) from error
    return table


def is_cut_off(path: pathlib.Path) -> bool:
    """Whether a table ends within a line; every line that a run writes ends with a line break.

    Raises:
      errors.InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 1))
            return file.read(1) not in (b"", b"\n")
    except OSError as error:
        raise errors.InputError(f"expected a table in {path}, found {error.strerror}") from error


def read_texts(path: pathlib.Path) -> pd.DataFrame:
    """Reads a table, every cell as it is written.

    Raises:
      errors.InputError: it cannot be read.
    """
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise errors.InputError(
            f"expected a table in {path}, found {errors.one_line(error)}"
        ) from error


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file.

    Raises:
      errors.InputError: if it is not there, damaged, or holds objects.
    """
    try:
        # A damaged header would make NumPy fail in many ways; the checksums find it first.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"damaged {damaged}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise errors.InputError(
            f"expected arrays in {path}, found {errors.one_line(error)}"
        ) from error
