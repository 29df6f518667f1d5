"""Reads what a table says of patients and images: who, how old, which view, which scanner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import math
import re
from typing import Any

import pandas as pd

from tffcxr.datasets import limits, records, scanners
from tffcxr.datasets.tables import label_values, table_files
from tffcxr.errors import InputError

_DIGITS = re.compile(r"0*(\d+)([.,]0+)?")
_ROUNDED = re.compile(r"\d([.,]\d+)?[eE]\+\d+")
_SEXES = {
    **dict.fromkeys(("f", "female", "w", "woman", "weiblich"), "F"),
    **dict.fromkeys(("m", "male", "man", "männlich"), "M"),
    **dict.fromkeys(("o", "other", "u", "x", "d", "divers"), None),
}
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "validate"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read(table: table_files.Table, roles: Mapping[str, str]) -> dict[str, pd.Series]:
    """Returns what a table says of the image in each row, None where it is silent.

    Returns:
      `patient`, `view`, `age`, `sex`, `scanner` and `split`, object.

    Raises:
      InputError: a value is none that the column may have; the message names row and column.
    """
    found = {
        "patient": _column(table, roles.get("patient"), _patient),
        "view": _column(table, roles.get("view"), lambda text: text),
        "age": _column(table, roles.get("age"), _age),
        "sex": _column(table, roles.get("sex"), _sex),
        "scanner": _column(table, roles.get("scanner"), scanners.name),
        "split": _column(table, roles.get("split"), _split),
    }
    if "split" in roles and found["split"].isna().any():
        expected = "one of train, validation, test in every row"
        raise error(table, roles["split"], found["split"].isna(), expected)
    return found


def error(table: table_files.Table, column: str, bad: pd.Series, expected: str) -> InputError:
    """Returns the error for the first bad cell of a column.

    Args:
      table: what was read.
      column: its name there.
      bad: bool per row, at least one True.
      expected: what was expected.
    """
    row = bad.idxmax()
    more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
    return InputError(
        f"{table.where}: {column}: expected {expected}, found {table.cells[column][row]!r:.80} in "
        f"row {row}{more}"
    )


def patient(text: str) -> str:
    """Returns a patient's identifier in one spelling.

    Numbers lose leading zeros and decimals: a spreadsheet makes 123 or 123.0 of 00123, in some rows
    or in all. This may join two patients, but divides none.
    """
    match = _DIGITS.fullmatch(text.strip())
    return match[1] if match else text.strip()


def _column(table: table_files.Table, name: str | None, convert: Callable[[str], Any]) -> pd.Series:
    index = table.cells.index
    if name is None:
        return pd.Series([None] * len(index), index, dtype=object)
    values = []
    for row, text in table.cells[name].items():
        try:
            if len(text) > limits.MAXIMUM_TEXT:
                raise ValueError(f"expected at most {limits.MAXIMUM_TEXT} characters, found more")
            values.append(None if label_values.is_empty(text) else convert(text))
        except ValueError as problem:
            raise InputError(f"{table.where}: {name}: row {row}: {problem}") from None
    return pd.Series(values, index, dtype=object)


def _patient(text: str) -> str:
    if isinstance(text, table_files.Date):
        raise ValueError(
            f"expected a patient, found the date {text}; a spreadsheet may have made it of another "
            "text, so format the column as text and enter the patients again"
        )
    if _ROUNDED.fullmatch(text):
        raise ValueError(
            f"expected a patient, found {text}, a number that a spreadsheet has rounded; format "
            "the column as numbers without decimals, or as text, before saving"
        )
    return patient(text)


def _age(text: str) -> float:
    years = records.parse_age(re.sub(r"(\d),(\d)", r"\1.\2", text))
    if math.isnan(years):
        raise ValueError(f"expected an age of 0 to {records.MAXIMUM_AGE:g} years, found {text!r}")
    return years


def _sex(text: str) -> str | None:
    try:
        return _SEXES[text.casefold()]
    except KeyError:
        raise ValueError(f"expected F or M, or female or male, found {text!r:.60}") from None


def _split(text: str) -> str:
    try:
        return _SPLITS[text.casefold()]
    except KeyError:
        raise ValueError(f"expected train, validation or test, found {text!r:.60}") from None
