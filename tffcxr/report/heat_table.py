"""The table of the heat over all images that a model calls positive, from `heat.csv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

import pandas as pd

from tffcxr.report import style

# Column of `heat.csv`, its heading, factor and decimals.
_MEASURES = (
    ("heat_in_lungs", "Heat in the lungs, %", 100, 1),
    ("heat_in_annotation", "Heat in the annotation, %", 100, 1),
    ("entropy", "Entropy, nats", 1, 2),
    ("half_area", "Area with half of the heat, %", 100, 1),
)


@dataclasses.dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
      name: of the model, or of the two that are compared.
      colour: of the model; None for a difference and for evenly spread heat.
      images: how many, and how many of them have no heat; empty for evenly spread heat.
      cells: a text per heading.
    """

    name: str
    colour: str | None
    images: str
    cells: list[str]


@dataclasses.dataclass(frozen=True)
class Block:
    """The rows of one finding on the images of one site.

    Attributes:
      title: what images these are.
      lines: models, then differences, then evenly spread heat.
    """

    title: str
    lines: list[Line]


def headings(heat: pd.DataFrame) -> list[str]:
    """Returns the headings of the measures that are defined for some images."""
    return [heading for name, heading, _, _ in _measures(heat)]


def has_lungs(heat: pd.DataFrame) -> bool:
    """Whether heat in lungs is defined for some images."""
    return "heat_in_lungs" in heat and bool(heat["heat_in_lungs"].notna().any())


def blocks(heat: pd.DataFrame) -> list[Block]:
    """Returns the table of a run, in the order of `heat.csv`.

    Images of which no model calls one positive have no block.

    Args:
      heat: as `run_files.read_table` reads it.
    """
    if heat.empty:
        return []
    several = heat["model"].nunique() > 1
    colours = style.colours(sorted(heat["training"].unique(), key=style.training_order))
    found = []
    for (task, model, site, cases), rows in heat.groupby(
        ["task", "model", "site", "cases"], sort=False
    ):
        if not (rows[["images", "without_heat"]] > 0).any(axis=None):
            continue
        title = f"{task}, {style.training_name(model)}" if several else task
        records = sorted(rows.to_dict("records"), key=_order)
        lines = [_line(row, heat, colours) for row in records]
        found.append(Block(f"{title}: {cases} at {site}", [*lines, _even(records, heat)]))
    return found


def _measures(heat: pd.DataFrame) -> list[tuple[str, str, int, int]]:
    return [
        measure for measure in _MEASURES if measure[0] in heat and heat[measure[0]].notna().any()
    ]


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """A sort key: models before differences."""
    key = style.training_order
    return bool(row["compared_with"]), key(row["training"]), key(row["compared_with"])


def _line(row: Mapping[str, Any], heat: pd.DataFrame, colours: Mapping[str, str]) -> Line:
    training, other = row["training"], row["compared_with"]
    cells = [
        _cell(row, name, factor, digits, bool(other)) for name, _, factor, digits in _measures(heat)
    ]
    images = f"{row['images']:.0f}"
    if row["without_heat"]:
        images += f", {row['without_heat']:.0f} without heat"
    if not other:
        return Line(style.training_name(training), colours[training], images, cells)
    name = f"{style.training_name(training)} − {style.training_name(other).lower()}"
    return Line(name, None, images, cells)


def _cell(row: Mapping[str, Any], name: str, factor: int, digits: int, is_signed: bool) -> str:
    """Returns a mean and its interval: "61.2 (57.0 to 65.1)"."""
    write = style.signed if is_signed else style.number
    mean, low, high = (row[f"{name}{end}"] * factor for end in ("", "_low", "_high"))
    text = write(mean, digits)
    if style.is_number(low) and style.is_number(high):
        text += f" ({write(low, digits)} to {write(high, digits)})"
    p_value: Any = row.get(f"{name}_p_holm")
    if is_signed and style.is_number(p_value):
        text += f", p {'' if p_value < 0.001 else '= '}{style.p_value(p_value)}"
    return text


def _even(rows: Sequence[Mapping[str, Any]], heat: pd.DataFrame) -> Line:
    """The row of heat that is the same everywhere, in the images of the first model with heat."""
    pixels = rows[0]["pixels"]
    areas = {
        name: next((row[name] for row in rows if style.is_number(row[name])), math.nan)
        for name in ("lungs_area", "annotation_area")
    }
    values = {
        "heat_in_lungs": areas["lungs_area"],
        "heat_in_annotation": areas["annotation_area"],
        "entropy": math.log(pixels) if pixels > 0 else math.nan,
        "half_area": 0.5,
    }
    cells = [
        style.number(values[name] * factor, digits) for name, _, factor, digits in _measures(heat)
    ]
    return Line("Evenly spread heat", None, "", cells)
