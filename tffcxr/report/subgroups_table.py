"""What a report says of groups of patients, from `subgroups.csv`."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import Any

import pandas as pd

from tffcxr.report import style

# In a copy that leaves the hospital, groups have so many patients at least, or are not in it.
LEAST_PATIENTS = 10
_MODEL = ("task", "model", "images_kind", "training", "client")
_METRICS = ("auroc", "auroc_gap", "sensitivity", "specificity")


@dataclasses.dataclass(frozen=True)
class Block:
    """The groups of one attribute, of a federated model on one test set.

    Attributes:
      title: task, test set, model and attribute.
      lines: of `subgroups.csv`, with the texts of the cells as `cells`.
    """

    title: str
    lines: Sequence[dict[str, Any]]


def blocks(table: pd.DataFrame) -> list[Block]:
    """Returns the groups of the federated models; those of others are in the file alone."""
    mine = table[table["training"] == "federated"]
    several = mine["model"].nunique() > 1
    return [
        Block(_title(rows.iloc[0], several), [_line(row) for row in rows.to_dict("records")])
        for _, rows in mine.groupby([*_keys(mine), "attribute"], sort=False, dropna=False)
    ]


def headings(table: pd.DataFrame) -> list[str]:
    """What stands over the cells of a line."""
    rows = [{"interval": "95 % percentile interval"}] if len(table) else []
    metrics = ("AUROC", "Below the best group", "Sensitivity", "Specificity")
    return [
        "Images", "Positive", "Patients",
        *(style.interval_heading(metric, rows) for metric in metrics),
    ]  # fmt: skip


def largest_gaps(table: pd.DataFrame) -> list[str]:
    """Returns a sentence per federated model and test set: where its AUROC differs most."""
    sentences = []
    mine = table[table["training"] == "federated"]
    several = mine["model"].nunique() > 1
    for _, rows in mine.groupby(_keys(mine), sort=False, dropna=False):
        gap = _largest(rows)
        if gap is not None:
            worst, best = gap
            sentences.append(
                f"{_name(worst, several)}: the largest gap in AUROC is between {best['group']} "
                f"({style.number(best['auroc'])}) and {worst['group']} "
                f"({style.number(worst['auroc'])}), by {worst['attribute']}: "
                f"{style.with_interval(worst, 'auroc_gap')}."
            )
    return sentences


def warnings(table: pd.DataFrame) -> list[str]:
    """Returns the gaps whose interval is above 0, and how many groups are too small."""
    result = []
    mine = table[table["training"] == "federated"]
    several = mine["model"].nunique() > 1
    for row in mine.to_dict("records"):
        low = row["auroc_gap_low"]
        if style.is_number(low) and low > 0:
            result.append(
                f"{_name(row, several)}: the AUROC of the group {row['group']} "
                f"({row['attribute']}) is below that of the best group by "
                f"{style.with_interval(row, 'auroc_gap')}."
            )
    small = int((mine["too_small"] == 1).sum())
    if small:
        result.append(
            f"{small} of {style.counted(len(mine), 'subgroup')} of the federated models have fewer "
            "than 10 images with or without the finding: too few to compare."
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


def _largest(rows: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The group that is furthest below the best one of its attribute, and that one."""
    known = rows[rows["auroc_gap"].notna()]
    if known.empty:
        return None
    worst = known.loc[known["auroc_gap"].idxmax()]
    rivals = rows[(rows["attribute"] == worst["attribute"]) & (rows["too_small"] == 0)]
    return worst.to_dict(), rivals.loc[rivals["auroc"].idxmax()].to_dict()


def _name(row: Any, several: bool) -> str:
    """The task with the site, and the network where there are several."""
    task, client = str(row["task"]), row.get("client")
    at = f" at {client}" if isinstance(client, str) and client else ""
    name = f"{task.removesuffix(at)}{at}"
    if several:
        kind = row.get("images_kind")
        model = f"{row['model']} {kind}" if isinstance(kind, str) and kind else str(row["model"])
        name += f", {style.training_name(model)}"
    return name


def _title(row: Any, several: bool) -> str:
    return f"{_name(row, several)}: by {row['attribute']}"


def _line(row: dict[str, Any]) -> dict[str, Any]:
    counts = [style.number(row[name], 0) for name in ("images", "positives", "patients")]
    metrics = [style.with_interval(row, name) for name in _METRICS]
    name = f"{row['group']} (few)" if row["too_small"] == 1 else str(row["group"])
    return {**row, "name": name, "cells": [*counts, *metrics]}
