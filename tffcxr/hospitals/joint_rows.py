"""The rows of the coordinator's `metrics.json`: those of the hospitals, and what they are together.

A task of several hospitals bears the hospital's name in each of their rows. Where these labelled
the same finding, a row of all of them follows, with the AUROC of their binned scores, see
`evaluation.binned`; each hospital's model is scored on its own images, as in the rows above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
from typing import Any

from tffcxr.evaluation import binned

ALL = "all hospitals"
_BINNED = "binned"
_IN_ONE_BIN = (
    "one bin has the scores of all hospitals, since a bin of some hospital would have held fewer "
    "images than its policy allows; more test images, or models whose scores differ more, give "
    "more bins"
)
_KEYS = ("task", "model", "training", "split")
_KEPT = ("chosen", "report_round", "round", "rounds", "planned_rounds")


def joined(rows_of: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of all hospitals.

    Args:
      rows_of: by hospital, as `reported_results.reported` has made them.
    """
    hospitals_of: dict[Any, set[str]] = {}
    for site, rows in rows_of.items():
        for row in rows:
            hospitals_of.setdefault(row.get("task"), set()).add(site)
    found: list[dict[str, Any]] = []
    together: dict[Any, list[Mapping[str, Any]]] = {}
    for site, rows in rows_of.items():
        for row in rows:
            task = row.get("task")
            is_shared = len(hospitals_of[task]) > 1
            named = f"{task} at {site}" if is_shared else task
            values = {name: value for name, value in row.items() if name != _BINNED}
            found.append({**values, "client": site, "task": named})
            if is_shared and row.get(_BINNED):
                key = tuple(row.get(name) for name in _KEYS)
                together.setdefault(key, []).append(row)
    return [*found, *(_of_all(rows) for rows in together.values() if len(rows) > 1)]


def _of_all(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row for the same task, model and training at several hospitals."""
    first = rows[0]
    bins = binned.pooled([[tuple(each) for each in row[_BINNED]] for row in rows])
    positives = sum(each[2] for each in bins)
    auroc = binned.auroc(bins)
    in_one = sum(each[2] + each[3] > 0 for each in bins) == 1
    reason = {"auroc_remark": _IN_ONE_BIN} if in_one and math.isnan(auroc) else {}
    return {
        **{name: first[name] for name in (*_KEYS, *_KEPT) if name in first},
        "client": ALL,
        "images": positives + sum(each[3] for each in bins),
        "positives": positives,
        "auroc": auroc,
        **reason,
        "interval": f"none for {ALL}, whose AUROC is that of scores in {len(bins)} bins",
    }
