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
    for title, block in blocks(ordered):
        lines += textwrap.wrap(title, _WIDTH)
        for row in block:
            lines += _row_lines(row)
    lines += ["", *textwrap.wrap(_footnote(ordered), _WIDTH)]
    return "\n".join(line.rstrip() for line in lines)


def in_order(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows with titles and names, in the order in which they are read.

    Sorted by task, test set first, model, baselines before the federated model. A row's `title` is
    what it shares with the rows that it is compared with, its `name` is what tells them apart.
    """
    ordered = sorted(
        (dict(row) for row in rows),
        key=lambda row: (*_block(row), style.training_order(str(row["training"])), client(row)),
    )
    clients: dict[Any, set[str]] = {}
    for row in ordered:
        clients.setdefault(_block(row), set()).add(client(row))
    for row in ordered:
        name = style.training_name(str(row["training"]))
        place = f" at {client(row)}" if client(row) else ""
        if len(clients[_block(row)]) > 1:
            name, place = f"{name}{place}", ""
        # A task that several sites label carries the site's name already.
        task = str(row["task"])
        model = f"{row['model']} model, " if isinstance(row.get("model"), str) else ""
        row["name"] = name
        row["title"] = f"{task.removesuffix(place)}{place} ({model}{row['split']} images)"
    return ordered


def blocks(
    ordered: Iterable[dict[str, Any]],
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Groups the rows of `in_order` by title."""
    groups = itertools.groupby(ordered, key=lambda row: row["title"])
    return [(title, list(block)) for title, block in groups]


def client(row: Mapping[str, Any]) -> str:
    """Returns the client that a row is about, "" if it is about all of them."""
    value = row.get("client")
    # A null of the file is NaN, which is no name.
    return value if isinstance(value, str) else ""


def _block(row: Mapping[str, Any]) -> tuple:
    """Returns what the rows that are compared with each other have in common."""
    return str(row["task"]), style.split_order(str(row["split"])), str(row.get("model", ""))


def _footnote(rows: list[dict[str, Any]]) -> str:
    """Explains the columns that need it."""
    points = sorted({str(row["operating_point"]) for row in rows if row.get("operating_point")})
    notes = [f"Operating point of sensitivity and specificity: {'; '.join(points)}."]
    if any(row.get("baseline") for row in rows):
        notes.append(
            "p: against the baseline of the same task; DeLong's is the one to trust, the paired "
            "t-test's shrinks with the number of bootstrap replicates."
        )
    return " ".join(notes if points else notes[1:])


def _row_lines(row: Mapping[str, Any]) -> list[str]:
    """Returns a row's numbers, after further lines if its name is long."""
    names = textwrap.wrap(row["name"], _NAME_WIDTH - 2)
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
        cell.ljust(-width) if width < 0 else cell.rjust(width) for cell, width in zip(cells, widths)
    )
