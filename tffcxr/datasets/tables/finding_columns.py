"""Which columns of a table are findings, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
import logging

import pandas as pd

from tffcxr import options
from tffcxr.datasets import findings as finding_names
from tffcxr.datasets import records
from tffcxr.datasets.tables import columns, label_values, listed_findings, table_files
from tffcxr.datasets.tables.columns import Columns
from tffcxr.errors import InputError

# A column with more labels among its values than this is one of a finding, with errors in it.
_MOSTLY = 0.5
_MOST_CLASSES = 20


def find(
    table: table_files.Table,
    roles: Mapping[str, str],
    own: Columns,
    uncertain: options.Uncertain,
) -> pd.DataFrame:
    """Returns a float column per finding: 1 present, 0 absent, NaN unknown; the table's index.

    Where the user names the column that lists the findings of each image, they are those of that
    column alone. Otherwise, a column is a finding if the user says so, or if all its values are
    labels. One of other values is ignored, and a message names it, unless its name is a known
    finding or most of its values are labels: then a label is misspelt, which is an error.

    Args:
      table: as read.
      roles: the columns that are something else.
      own: what the user says.
      uncertain: what -1 means.

    Raises:
      InputError: a value of a finding is no label, two columns are one finding, or neither a
        finding nor a mask is there.
    """
    found: dict[str, pd.Series] = {}
    chosen: dict[str, str] = {}
    ignored: list[str] = []
    if "labels" in roles:
        listed = listed_findings.read(table, roles["labels"], own, canonical)
        for name, labels in listed.items():
            _add(found, name, labels, table, roles["labels"])
        ignored = [name for name in table.cells.columns if name not in roles.values()]
    elif own.findings is not None:
        chosen = dict(own.findings)
    else:
        chosen, ignored = _chosen(table, roles, own)
    for column, name in chosen.items():
        _add(found, name or canonical(column), _labels(table, column, uncertain), table, column)
    if "class" in roles:
        for name, labels in _of_classes(table, roles["class"]).items():
            _add(found, name, labels, table, roles["class"])
    if not found and not {"mask", "lungs"} & set(roles):
        raise InputError(
            f"{table.where}: expected a column of labels ({label_values.EXPECTED}), found the "
            f"columns {table_files.listed(table.cells.columns)}; if one of them lists the findings "
            'of each image, such as "Effusion|Mass", write labels = "…" in a file for --columns'
        )
    if ignored:
        logging.getLogger(__name__).warning(
            "csv: %s: the findings are %s; not used: %s",
            *(table.where, ", ".join(found) or "none", table_files.listed(ignored)),
        )
    return pd.DataFrame(found, index=table.cells.index, dtype=float)


def _chosen(
    table: table_files.Table, roles: Mapping[str, str], own: Columns
) -> tuple[dict[str, str], list[str]]:
    """The columns that are findings, and those that are not used."""
    chosen, ignored = {}, []
    for column in table.cells.columns:
        if column in roles.values():
            continue
        share = label_values.share_of_labels(table.cells[column])
        is_known = canonical(column) in finding_names.NAMES
        is_finding = (
            share >= 0 if is_known else share > _MOSTLY
        )  # Neither for NaN, an empty column.
        if is_finding and column not in own.ignore and not columns.is_never_a_finding(column):
            chosen[column] = ""
        else:
            ignored.append(column)
    return chosen, ignored


def _labels(table: table_files.Table, column: str, uncertain: options.Uncertain) -> pd.Series:
    values = []
    for row, text in table.cells[column].items():
        try:
            values.append(label_values.parse(text, uncertain))
        except ValueError as problem:
            raise InputError(
                f"{table.where}: {column}: row {row}: {problem}; if it is no finding, write "
                f'ignore = ["{column}"] in a file for --columns'
            ) from None
    return pd.Series(values, table.cells.index, dtype=float)


def _of_classes(table: table_files.Table, column: str) -> dict[str, pd.Series]:
    """A finding for each value of the column of classes, of which an image has one."""
    texts = table.cells[column]
    if label_values.share_of_labels(texts) == 1:
        raise InputError(
            f"{table.where}: {column}: expected names of classes, found labels such as "
            f'{texts[texts != ""].iloc[0]!r}; write findings = {{"{column}" = "…"}} in a file for '
            "--columns"
        )
    known = texts[~texts.map(label_values.is_empty)]
    names = {text: canonical(text) for text in sorted(set(known))}
    kinds = sorted(set(names.values()), key=str.casefold)
    if not 2 <= len(kinds) <= _MOST_CLASSES:
        raise InputError(
            f"{table.where}: {column}: expected 2 to {_MOST_CLASSES} classes, found {len(kinds)}"
        )
    of_row = known.map(names).reindex(texts.index)
    return {kind: (of_row == kind).astype(float).where(of_row.notna()) for kind in kinds}


def _add(
    found: dict[str, pd.Series], name: str, labels: pd.Series, table: table_files.Table, column: str
) -> None:
    if name in found:
        raise InputError(
            f"{table.where}: expected one column for {name!r}, found {column!r} as well; give one "
            "another name under findings in a file for --columns"
        )
    if name in (*records.COLUMNS, records.SPLIT):
        raise InputError(
            f"{table.where}: {column}: expected a finding of another name than {name!r}, which "
            "records have; rename it under findings in a file for --columns"
        )
    found[name] = labels


def canonical(name: str) -> str:
    """The vocabulary's name, or the name itself."""
    try:
        return finding_names.canonical(name)
    except InputError:
        return name
