"""What a report says of groups of patients, from `subgroups.csv`."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import Any, NamedTuple

import pandas as pd

from tffcxr.evaluation import registry
from tffcxr.report import style

# In a copy that leaves the hospital, groups have so many patients at least, or are not in it.
LEAST_PATIENTS = 10
_MODEL = ("task", "model", "images_kind", "training", "client")
_FEDERATED = "federated"


class Measured(NamedTuple):
    """What groups are measured by, which depends on the kind of study.

    Attributes:
      main: by which groups are compared.
      others: the other columns with an interval.
      counts: columns of numbers, and their headings.
      few: what small groups have fewer than 10 of.
      has_calls: whether images are called positive or negative.
    """

    main: registry.Metric
    others: tuple[registry.Metric, ...]
    counts: tuple[tuple[str, str], ...]
    few: str
    has_calls: bool = False

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Columns of `subgroups.csv` that have an interval, and their headings."""
        gap = (f"{self.main.name}_gap", "Below the best group")
        found = [(self.main.name, self.main.title), gap]
        for metric in self.others:
            found.append((metric.name, metric.title))
            if not self.has_calls:
                found.append((f"{metric.name}_gap", gap[1]))
        return found


_SCORES = Measured(
    registry.AUROC,
    (registry.SENSITIVITY, registry.SPECIFICITY),
    (("images", "Images"), ("positives", "Positive"), ("patients", "Patients")),
    "images with or without the finding",
    has_calls=True,
)
_MASKS = Measured(
    registry.JACCARD,
    (registry.DICE,),
    (("images", "Images"), ("patients", "Patients")),
    "images with the region",
)
_VOLUMES = Measured(
    registry.DICE,
    (registry.OVERLAP,),
    (("images", "Cases"), ("patients", "Patients")),
    "cases with the region",
)


@dataclasses.dataclass(frozen=True)
class Block:
    """The groups of one attribute, of a federated model on one test set.

    Attributes:
      title: task, test set, model and attribute.
      lines: of `subgroups.csv`, with the texts of the cells as `cells`.
    """

    title: str
    lines: Sequence[dict[str, Any]]


def of(table: pd.DataFrame) -> Measured:
    """What the groups of a run are measured by, as its columns tell."""
    for measured in (_MASKS, _VOLUMES):
        if measured.main.name in table:
            return measured
    return _SCORES


def blocks(table: pd.DataFrame) -> list[Block]:
    """Returns the groups of the federated models; those of others are in the file alone."""
    mine, measured = _federated(table), of(table)
    several = _several(mine)
    return [
        Block(
            _title(rows.iloc[0], several),
            [_line(row, measured) for row in rows.to_dict("records")],
        )
        for _, rows in mine.groupby([*_keys(mine), "attribute"], sort=False, dropna=False)
    ]


def headings(table: pd.DataFrame) -> list[str]:
    """What stands over the cells of a line."""
    rows = [{"interval": "95 % percentile interval"}] if len(table) else []
    measured = of(table)
    return [
        *(heading for _, heading in measured.counts),
        *(style.interval_heading(heading, rows) for _, heading in measured.columns),
    ]


def largest_gaps(table: pd.DataFrame) -> list[str]:
    """Returns a sentence per federated model and test set: where its main metric differs most."""
    sentences = []
    mine, main = _federated(table), of(table).main
    several = _several(mine)
    for _, rows in mine.groupby(_keys(mine), sort=False, dropna=False):
        gap = _largest(rows, main.name)
        if gap is not None:
            worst, best = gap
            sentences.append(
                f"{_name(worst, several)}: the largest gap in {main.title} is between "
                f"{best['group']} ({style.number(best[main.name])}) and {worst['group']} "
                f"({style.number(worst[main.name])}), by {worst['attribute']}: "
                f"{style.with_interval(worst, f'{main.name}_gap')}."
            )
    return sentences


def warnings(table: pd.DataFrame) -> list[str]:
    """Returns the gaps whose interval is above 0, and how many groups are too small."""
    result = []
    mine, measured = _federated(table), of(table)
    several, main = _several(mine), measured.main
    for row in mine.to_dict("records"):
        low = row.get(f"{main.name}_gap_low")
        if style.is_number(low) and low > 0:
            result.append(
                f"{_name(row, several)}: the {main.title} of the group {row['group']} "
                f"({row['attribute']}) is below that of the best group by "
                f"{style.with_interval(row, f'{main.name}_gap')}."
            )
    small = int((mine["too_small"] == 1).sum())
    if small:
        result.append(
            f"{small} of {style.counted(len(mine), 'subgroup')} of the federated models have fewer "
            f"than 10 {measured.few}: too few to compare."
        )
    return result


def to_share(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the attributes all of whose groups are large, so that no small count can be inferred.

    A group that is left out alone could be calculated from the others and the whole.
    """
    if table.empty:
        return table
    is_large = (table["too_small"] == 0) & (table["patients"] >= LEAST_PATIENTS)
    groups = [table[name].fillna("") for name in [*_keys(table), "attribute"]]
    return table[is_large.groupby(groups, sort=False).transform("all")]


def _keys(table: pd.DataFrame) -> list[str]:
    return [name for name in _MODEL if name in table]


def _federated(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the federated models; of volumes there may be several."""
    return table[table["training"].astype(str).str.startswith(_FEDERATED)]


def _several(mine: pd.DataFrame) -> bool:
    return len(mine[["model", "training"]].drop_duplicates()) > 1


def _largest(rows: pd.DataFrame, metric: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The group that is furthest below the best one of its attribute, and that one."""
    if f"{metric}_gap" not in rows:
        return None
    known = rows[rows[f"{metric}_gap"].notna()]
    if known.empty:
        return None
    worst = known.loc[known[f"{metric}_gap"].idxmax()]
    rivals = rows[(rows["attribute"] == worst["attribute"]) & (rows["too_small"] == 0)]
    return worst.to_dict(), rivals.loc[rivals[metric].idxmax()].to_dict()


def _name(row: Any, several: bool) -> str:
    """The task with the site, and the network where there are several."""
    task, client = str(row["task"]), row.get("client")
    at = f" at {client}" if isinstance(client, str) and client else ""
    name = f"{task.removesuffix(at)}{at}"
    if several:
        kind = row.get("images_kind")
        model = f"{row['model']} {kind}" if isinstance(kind, str) and kind else str(row["model"])
        name += f", {style.training_name(model)}"
        if row["training"] != _FEDERATED:
            name += f", {style.training_name(row['training'])}"
    return name


def _title(row: Any, several: bool) -> str:
    return f"{_name(row, several)}: by {row['attribute']}"


def _line(row: dict[str, Any], measured: Measured) -> dict[str, Any]:
    counts = [style.number(row.get(name), 0) for name, _ in measured.counts]
    metrics = [style.with_interval(row, name) for name, _ in measured.columns]
    name = f"{row['group']} (few)" if row["too_small"] == 1 else str(row["group"])
    return {**row, "name": name, "cells": [*counts, *metrics]}
