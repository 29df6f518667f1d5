"""The records table: one row per image, the same for all sources.

Columns: `image` (path, see `images.read_image`), `patient`, `site`, `view` ("PA", "AP", ... or
None), `age` (years, NaN unknown), `sex` ("F", "M" or None), `scanner` (manufacturer and model, see
`scanners`, or None), `mask` and `lungs` (an annotation of `annotations`, or None where nobody
annotated), then one float column per finding: 1 present, 0 absent, NaN unknown. After splitting
there is also `split`. An unknown label is never a 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import contextvars
import dataclasses
import logging
import re

import numpy as np
import pandas as pd

from tffcxr.datasets import limits
from tffcxr.errors import InputError

COLUMNS = ("image", "patient", "site", "view", "age", "sex", "scanner", "mask", "lungs")
SPLIT = "split"
SPLITS = ("train", "validation", "test")
MAXIMUM_AGE = 120.0  # Years. NIH ChestX-ray14 has typing errors such as 414.

_LENGTHS = {
    "image": limits.MAXIMUM_PATH,
    "patient": limits.MAXIMUM_TEXT,
    "site": limits.MAXIMUM_TEXT,
    "view": limits.MAXIMUM_TEXT,
    "scanner": limits.MAXIMUM_TEXT,
}
_OPTIONAL = ("view", "sex", "scanner", "mask", "lungs")
_YEARS_PER_UNIT = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25, "": 1.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([YMWD]?)", re.IGNORECASE)


def findings(df: pd.DataFrame) -> list[str]:
    """Returns the names of the finding columns, in the table's order."""
    return [name for name in df.columns if name not in COLUMNS and name != SPLIT]


def has_labels(df: pd.DataFrame) -> bool:
    """Whether a table has something to train on: a finding, or an outline."""
    return bool(findings(df)) or bool(df[["mask", "lungs"]].notna().any(axis=None))


def parse_age(text: str) -> float:
    """Returns an age in years from "062Y", "018M", "006W", "010D", or plain years such as "62".

    An empty text is unknown (NaN), and so is more than `MAXIMUM_AGE` years.

    Raises:
      ValueError: the text is none of these.
    """
    text = text.strip(" \0")
    if not text:
        return float("nan")
    match = _AGE.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an age such as 062Y, 018M or 62, found {text!r}")
    years = float(match[1]) * _YEARS_PER_UNIT[match[2].upper()]
    return years if years <= MAXIMUM_AGE else float("nan")


def build(rows: Iterable[Mapping[str, object]], names: Sequence[str], source: str) -> pd.DataFrame:
    """Makes a validated records table from one mapping per image.

    Args:
      rows: mappings with at least `image` and `patient`; other columns of the table that a mapping
        lacks become unknown.
      names: the finding columns, in order. A finding that a mapping lacks is NaN. A source of
        masks alone has none.
      source: the dataset's name, for error messages and as `site` until a site is given.
    """
    columns = [*COLUMNS, *names]
    df = pd.DataFrame.from_records([dict(row) for row in rows])
    for missing in set(columns) - set(df.columns):
        df[missing] = source if missing == "site" else None
    extra = [SPLIT] if SPLIT in df.columns else []
    df = df[columns + extra]
    return validate(df)


def validate(df: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with exact types and a fresh index.

    Raises:
      InputError: a column is missing, there is no image, an image is listed twice or has no
        patient, a text is too long, or a value is outside what the column may hold.
    """
    missing = [name for name in COLUMNS if name not in df.columns]
    if missing:
        raise InputError(
            f"expected records with the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}"
        )
    if df.columns.has_duplicates:
        twice = df.columns[df.columns.duplicated()].tolist()
        raise InputError(f"expected each column of the records once, found twice: {twice}")
    names = findings(df)
    if df.empty:
        raise InputError("expected records of at least one image, found none")
    df = df.reset_index(drop=True).copy()
    for name in ("image", "patient", "site"):
        df[name] = _texts(df, name)
    if df["image"].duplicated().any():
        twice = df["image"][df["image"].duplicated()].iloc[0]
        raise InputError(f"expected one row per image, found several for {twice}")
    for name in _OPTIONAL:
        df[name] = _optional(df[name])
    for name, longest in _LENGTHS.items():
        _check_length(df, name, longest)
    _check_values(df)
    df["age"] = _numbers(df, "age")
    if ((df["age"] < 0) | (df["age"] > MAXIMUM_AGE)).any():
        raise InputError(
            f"expected ages of 0 to {MAXIMUM_AGE:g} years, found {df['age'].min():g} to "
            f"{df['age'].max():g}"
        )
    for name in names:
        df[name] = _numbers(df, name)
        known = df[name].dropna()
        if not known.isin([0.0, 1.0]).all():
            found = sorted(set(known) - {0.0, 1.0})[:3]
            raise InputError(f"expected {name} to be 0, 1 or unknown, found {found}")
    return df


@dataclasses.dataclass(frozen=True)
class Missing:
    """Images that a source labels and that are not on disk.

    Attributes:
      missing: how many are missing.
      labelled: how many the source labels.
      folder: where they were looked for.
      names: what the source calls those that are missing; empty where that is not known.
    """

    missing: int
    labelled: int
    folder: str
    names: Sequence[str]


_MISSING: contextvars.ContextVar[list[Missing] | None] = contextvars.ContextVar(
    "missing", default=None
)


@contextlib.contextmanager
def collected_missing() -> Iterator[list[Missing]]:
    """Collects the images that sources leave out, instead of logging them."""
    collected: list[Missing] = []
    token = _MISSING.set(collected)
    try:
        yield collected
    finally:
        _MISSING.reset(token)


def drop_missing_images(
    df: pd.DataFrame,
    paths: pd.Series,
    source: str,
    folder: object,
    example: pd.Series | None = None,
) -> pd.DataFrame:
    """Keeps the rows whose image is on disk, and logs or collects those that are not.

    Args:
      df: one row per image.
      paths: the file of each row, or None; same index.
      source: the dataset's name.
      folder: where the images were looked for.
      example: what the source calls each image, to name one that is missing; same index.

    Raises:
      InputError: no image is on disk.
    """
    found = paths.notna()
    such_as = (
        f", such as {example[~found].iloc[0]!r}" if example is not None and not found.all() else ""
    )
    if not found.any():
        raise InputError(
            f"{source}: expected images in {folder}, found none of the {len(df)} that are labelled"
            f"{such_as}"
        )
    collected = _MISSING.get()
    if collected is not None and not found.all():
        names = [] if example is None else example[~found].astype(str).tolist()
        collected.append(Missing(int((~found).sum()), len(df), str(folder), names))
    elif not found.all():
        logging.getLogger(__name__).warning(
            "%s: %d of %d labelled images are not in %s and are left out%s",
            *(source, int((~found).sum()), len(df), folder, such_as),
        )
    return df[found].assign(image=paths[found].astype(str))


def _texts(df: pd.DataFrame, name: str) -> pd.Series:
    values = df[name]
    bad = values.isna() | values.map(lambda value: not str(value).strip())
    if bad.any():
        raise InputError(
            f"expected every record to have a {name}, found none in row {int(np.argmax(bad))}"
        )
    return values.astype(str).astype(object)


def _check_length(df: pd.DataFrame, name: str, longest: int) -> None:
    lengths = df[name].map(lambda value: 0 if value is None else len(str(value)))
    if lengths.max() > longest:
        row = int(lengths.argmax())
        raise InputError(
            f"expected at most {longest} characters as {name}, found {lengths[row]} in row {row}: "
            f"{df[name][row]!s:.40}..."
        )


def _optional(values: pd.Series) -> pd.Series:
    """NaN and None both become None."""
    plain = values.astype(object)
    return plain.where(plain.notna(), None)


def _numbers(df: pd.DataFrame, name: str) -> pd.Series:
    try:
        values = df[name].astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected numbers in the column {name}: {error}") from None
    if np.isinf(values).any():
        raise InputError(f"expected finite numbers in the column {name}, found infinity")
    return values


def _check_values(df: pd.DataFrame) -> None:
    sexes = set(df["sex"].dropna()) - {"F", "M"}
    if sexes:
        raise InputError(f"expected sex to be F, M or unknown, found {sorted(map(str, sexes))[:3]}")
    for name in ("mask", "lungs"):
        for value in df[name]:
            if value is not None and not hasattr(value, "to_array"):
                raise InputError(
                    f"expected the column {name} to hold annotations or None, found {value!r:.60}"
                )
    if SPLIT in df.columns:
        unknown = set(df[SPLIT].dropna()) - set(SPLITS)
        if unknown or df[SPLIT].isna().any():
            raise InputError(
                f"expected split to be one of {', '.join(SPLITS)}, found "
                f"{sorted(map(str, unknown))[:3] or 'rows without one'}"
            )
