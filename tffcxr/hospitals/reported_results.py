"""What of a hospital's final results leaves it: numbers of many images, and names of the program's.

A row of `metrics.json` is reported if all counts of images in it are at least the policy's smallest
count; otherwise the whole row stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import logging
import math
from typing import Any

import numpy as np

from tffcxr.hospitals import wire

_COUNTS = ("images", "positives", "patients")
# What the program says, not the data; the names of tasks and sites are in the study.
_TEXTS = frozenset(
    {
        "baseline", "calibration", "calibration_remark", "chosen", "images_kind", "interval",
        "model", "operating_point", "proportion_interval", "report_round", "split", "task",
        "training",
    }
)  # fmt: skip
# Every row has these.
_NAMED = ("model", "split", "task", "training")
_NO_SCALING = "no scaling fits the validation images, see the hospital's own report"
_MOST_ROWS = 10_000
_LONGEST_TEXT = 200


def reported(rows: Sequence[Mapping[str, Any]], smallest_count: int) -> list[dict[str, Any]]:
    """The rows that leave, as JSON values.

    Args:
      rows: of `metrics.json`.
      smallest_count: of images, or of patients.
    """
    found = []
    for row in rows:
        counts = [row[name] for name in _COUNTS if row.get(name) is not None]
        if "positives" in row and "images" in row:
            counts.append(row["images"] - row["positives"])
        if min(counts, default=0) < smallest_count:
            logging.warning(
                "results of %s, %s: kept here, since policy.toml wants at least %d images or "
                "patients behind each number",
                *(row.get("task"), row.get("training"), smallest_count),
            )
            continue
        values = {name: _plain(value) for name, value in row.items() if _leaves(name, value)}
        if "calibration_remark" in values:
            values["calibration_remark"] = _without_counts(values["calibration_remark"])
        found.append(values)
    return found


def _without_counts(remark: str) -> str:
    """Why scores are not calibrated, without what that says of a few validation images."""
    expected, found, _ = remark.partition(", found ")
    return f"{expected}{found}fewer" if found else _NO_SCALING


def read(rows: Any) -> list[dict[str, Any]]:
    """The rows that a hospital has sent.

    Raises:
      wire.MessageError: these are no rows of `reported`.
    """
    if (
        isinstance(rows, list)
        and len(rows) <= _MOST_ROWS
        and all(isinstance(row, dict) and set(_NAMED) <= set(row) for row in rows)
        and all(_may_be_reported(name, value) for row in rows for name, value in row.items())
    ):
        return rows
    raise wire.MessageError("expected rows of results, found other values")


def _may_be_reported(name: str, value: Any) -> bool:
    if name == "binned":
        return isinstance(value, list) and all(map(_is_bin, value))
    if isinstance(value, str):
        return name in _TEXTS and len(value) <= _LONGEST_TEXT and value.isprintable()
    return name not in _NAMED and (value is None or isinstance(value, (bool, int, float)))


def _is_bin(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(number, (int, float)) and math.isfinite(number) for number in value)
    )


def _leaves(name: str, value: Any) -> bool:
    if name == "binned":
        return bool(value)
    if isinstance(value, str):
        return name in _TEXTS
    return value is None or isinstance(value, (bool, int, float, np.integer, np.floating))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
