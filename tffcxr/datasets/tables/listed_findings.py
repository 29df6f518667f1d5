"""Findings that stand as a list in one column: "Pneumonia|Effusion", "No Finding".

As in the table of NIH ChestX-ray14, a list is complete: what it does not name is absent. An empty
cell is unknown, as everywhere. Names are divided by bars where any cell of the column has one,
otherwise by semicolons where any has one, otherwise by commas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import logging
import math

import pandas as pd

from tffcxr.datasets import findings as finding_names
from tffcxr.datasets.tables import cells, label_values, table_files
from tffcxr.datasets.tables.columns import Columns
from tffcxr.errors import InputError, did_you_mean

_SEPARATORS = ("|", ";", ",")
_NONE = ("no finding", "no findings", "normal", "kein befund", "ohne befund", "o.b.")
_UNCLEAR = "none"  # Absent, or what a program wrote for an empty cell.
# Reports, which are no lists, have longer parts and more different ones.
_LONGEST = 60
_MOST_NAMES = 60


def read(
    table: table_files.Table, column: str, own: Columns, canonical: Callable[[str], str]
) -> dict[str, pd.Series]:
    """Returns a float series per finding: 1 named, 0 not named in a list, NaN in an empty cell.

    Args:
      table: as read.
      column: that has the lists.
      own: what the user says; its findings choose among the names, and rename them.
      canonical: gives the vocabulary's name, or the name itself.

    Raises:
      InputError: the column has labels or reports instead, "No Finding" beside a finding, or
        "None", which may mean either of absent and unknown.
    """
    texts = table.cells[column]
    known = texts[~texts.map(label_values.is_empty)]
    if label_values.share_of_labels(texts) == 1:
        raise InputError(
            f"{table.where}: {column}: expected lists of findings, found labels such as "
            f"{known.iloc[0]!r}; a column of labels needs no line in the file of --columns"
        )
    separator = next(
        (each for each in _SEPARATORS if known.str.contains(each, regex=False).any()), "|"
    )
    parts = known.map(lambda text: [part.strip() for part in text.split(separator) if part.strip()])
    is_long = parts.map(lambda names: any(len(name) > _LONGEST for name in names))
    if is_long.any():
        raise cells.error(
            *(table, column, is_long.reindex(texts.index, fill_value=False)),
            f"names of findings of up to {_LONGEST} characters, divided by {separator!r}",
        )
    is_none = parts.map(lambda names: any(name.casefold() in _NONE for name in names))
    both = is_none & parts.map(lambda names: any(name.casefold() not in _NONE for name in names))
    if both.any():
        raise cells.error(
            *(table, column, both.reindex(texts.index, fill_value=False)),
            f"findings or {finding_names.NO_FINDING}, not both",
        )
    unclear = parts.map(lambda names: any(name.casefold() == _UNCLEAR for name in names))
    if unclear.any():
        raise cells.error(
            *(table, column, unclear.reindex(texts.index, fill_value=False)),
            f"findings, {finding_names.NO_FINDING}, or an empty cell where it is unknown",
        )
    names = parts.map(
        lambda names: {
            canonical(name).casefold(): canonical(name)
            for name in names
            if name.casefold() not in _NONE
        }
    )
    shown: dict[str, str] = {}
    for of_row in names:
        for key, name in of_row.items():
            shown.setdefault(key, name)
    if not 1 <= len(shown) <= _MOST_NAMES:
        raise InputError(
            f"{table.where}: {column}: expected lists of 1 to {_MOST_NAMES} different findings, "
            f"found {len(shown)}: {table_files.listed(sorted(shown.values()))}"
        )
    chosen = shown if own.findings is None else _chosen(table, column, own, canonical, shown)
    return {
        name: names.map(lambda of_row, key=key: float(key in of_row)).reindex(
            texts.index, fill_value=math.nan
        )
        for key, name in sorted(chosen.items(), key=lambda item: item[1].casefold())
    }


def _chosen(
    table: table_files.Table,
    column: str,
    own: Columns,
    canonical: Callable[[str], str],
    shown: Mapping[str, str],
) -> dict[str, str]:
    """The findings that the user chose, by their names in small letters, and what to call them."""
    chosen = {}
    for written, name in own.findings or ():
        key = canonical(written).casefold()
        if key not in shown:
            logging.getLogger(__name__).warning(
                "%s: findings: no image of %s has %r in %s%s",
                *(own.path, table.where, written, column),
                did_you_mean(written, list(shown.values())),
            )
        chosen[key] = name or canonical(written)
    return chosen
