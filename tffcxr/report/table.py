"""The paper's Table 1 as aligned text, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import itertools
import textwrap
from typing import Any

from tffcxr.report import style

_WIDTH = 100
_NAME_WIDTH = 23


def format_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns the results as text for a terminal: a block per task and test set.

    Args:
      rows: of `metrics.json`; an undefined number may be NaN or None.

    Returns:
      Lines of at most 100 columns, without a final line break; undefined numbers are dashes.
    """
    ordered = in_order(rows)
    if not ordered:
        return "No results."
    heading = _line(
        "", "images", "loss", "sens.", "spec.", "AUPR", style.interval_heading(ordered),
        "p t-test", "p DeLong",
    )  # fmt: skip
    lines = [heading, "-" * len(heading)]
    for title, group in itertools.groupby(ordered, block_title):
        lines += textwrap.wrap(title, _WIDTH)
        for row in group:
            lines += _row_lines(row)
    lines += ["", *textwrap.wrap(_footnote(ordered), _WIDTH)]
    return "\n".join(line.rstrip() for line in lines)


def in_order(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sorts rows by task, test set first, model, baselines before the federated model."""
    return sorted(
        (dict(row) for row in rows),
        key=lambda row: (
            str(row["task"]),
            style.split_order(str(row["split"])),
            str(row.get("model", "")),
            style.training_order(str(row["training"])),
            client(row),
        ),
    )


def client(row: Mapping[str, Any]) -> str:
    """Returns the client that a row is about, "" if it is about all of them."""
    value = row.get("client")
    # A null of the file is NaN, which is no name.
    return value if isinstance(value, str) else ""


def name(row: Mapping[str, Any]) -> str:
    """Returns what distinguishes a row among those of its task: training and client."""
    training = style.training_name(str(row["training"]))
    return f"{training}, {client(row)}" if client(row) else training


def block_title(row: Mapping[str, Any]) -> str:
    """Returns what the rows of a block have in common: task, test set and model."""
    model = row.get("model")
    return f"{row['task']} ({row['split']}{f', {model}' if isinstance(model, str) else ''})"


def _footnote(rows: list[dict[str, Any]]) -> str:
    """Explains the columns that need it."""
    points = sorted({str(row["operating_point"]) for row in rows if row.get("operating_point")})
    notes = [f"Sensitivity and specificity at the operating point: {'; '.join(points)}."]
    if any(row.get("baseline") for row in rows):
        notes.append(
            "p: against the baseline of the same task; DeLong's is the one to trust, the paired "
            "t-test's shrinks with the number of bootstrap replicates."
        )
    return " ".join(notes if points else notes[1:])


def _row_lines(row: Mapping[str, Any]) -> list[str]:
    """Returns a row's numbers, after further lines if its name is long."""
    names = textwrap.wrap(name(row), _NAME_WIDTH - 2, break_long_words=True) or [""]
    numbers = _line(
        f"  {names[-1]}",
        style.number(row.get("images"), 0),
        style.number(row.get("loss")),
        style.number(row.get("sensitivity")),
        style.number(row.get("specificity")),
        style.number(row.get("aupr")),
        style.auroc(dict(row)),
        style.p_value(row.get("p_ttest")),
        style.p_value(row.get("p_delong")),
    )
    return [f"  {line}" for line in names[:-1]] + [numbers]


def _line(*cells: str) -> str:
    """Aligns the cells of a line."""
    widths = (-_NAME_WIDTH, 7, 6, 6, 6, 6, 20, 9, 9)
    return " ".join(
        cell.ljust(-width) if width < 0 else cell.rjust(width)
        for cell, width in zip(cells, widths)
    )
