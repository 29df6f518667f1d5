"""The tables of a sweep, as cells for its page and as aligned text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math
import textwrap
from typing import Any

from tffcxr.report import style, sweep_results

_WIDTH = 100
_NARROWEST = 8


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
      headings: of the columns.
      cells: a list of texts per row.
      names: how many columns, from the left, name the row; the others hold numbers.
    """

    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    names: int


def of_configurations(sweep: sweep_results.Sweep, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row per configuration, with means over its complete runs.

    Args:
      sweep: the sweep.
      rows: of `sweep_results.run_rows`.
    """
    names = names_of(sweep)
    headings = [*names, "runs", "best", "last", "least loss"]
    if sweep.target is not None:
        headings.append(f"rounds to {sweep.target:g}")
    cells = []
    for row in sweep_results.configuration_rows(sweep, rows):
        cells.append(
            [
                *_names(names, row),
                _counts(row),
                _spread(row, "best"),
                _spread(row, "last"),
                _spread(row, "best_loss"),
                *([] if sweep.target is None else [_rounds_to_target(row)]),
            ]
        )
    return Table(headings, cells, len(names))


def of_runs(sweep: sweep_results.Sweep, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row per run.

    Args:
      sweep: the sweep.
      rows: of `sweep_results.run_rows`.
    """
    names = names_of(sweep)
    headings = [*names, "seed", "status", "best", "at round", "last", "least loss"]
    if sweep.target is not None:
        headings.append(f"rounds to {sweep.target:g}")
    cells = []
    for row in rows:
        line = [
            *_names(names, row),
            str(row["seed"]),
            row["status"],
            style.number(row["best"]),
            style.number(row["best_round"], 0),
            style.number(row["last"]),
            style.number(row["best_loss"]),
        ]
        if sweep.target is not None:
            is_reached = style.is_number(row["rounds_to_target"])
            missed = "not reached" if row["status"] == sweep_results.COMPLETE else style.UNDEFINED
            line.append(str(row["rounds_to_target"]) if is_reached else missed)
        cells.append(line)
    return Table(headings, cells, len(names) + 2)


def names_of(sweep: sweep_results.Sweep) -> list[str]:
    """What tells configurations apart: the flags of a grid, else the name alone."""
    is_grid = all(
        run.configuration == ",".join(f"{name}={value}" for name, value in run.flags.items())
        for run in sweep.runs
    )
    return sweep.swept if is_grid else ["configuration"]


def legend(sweep: sweep_results.Sweep) -> list[str]:
    """Sentences that say what the columns are."""
    if sweep.metric is None:
        return ["No run is complete yet."]
    is_lower_better = sweep_results.is_loss(sweep.metric)
    loss = f" Least loss: {sweep.loss}." if sweep.loss != sweep.metric else ""
    sentences = [
        f"Best ({'least' if is_lower_better else 'highest'}) and last: {sweep.metric}.{loss}"
    ]
    if len(sweep.runs) > len({run.configuration for run in sweep.runs}):
        sentences.append("Mean ± standard deviation over the complete runs of a configuration.")
    return sentences


def format_summary(sweep: sweep_results.Sweep) -> str:
    """The tables as text, at most 100 columns wide unless there are very many columns."""
    rows = sweep_results.run_rows(sweep)
    parts = [format_table(of_runs(sweep, rows))]
    if len(sweep.runs) > len({run.configuration for run in sweep.runs}):
        parts.append(format_table(of_configurations(sweep, rows)))
    parts.append("\n".join(textwrap.wrap(" ".join(legend(sweep)), _WIDTH)))
    failed = [run for run in sweep.runs if run.status == "failed"]
    if failed:
        parts.append("\n".join(f"failed: {run.folder}: {run.error}" for run in failed))
    return "\n\n".join(parts)


def format_table(table: Table) -> str:
    """Aligns a table; names are shortened where it would be too wide."""
    lines = [list(table.headings), *map(list, table.cells)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.headings))]
    while sum(widths) + 2 * (len(widths) - 1) > _WIDTH:
        widest = max(range(table.names), key=lambda i: widths[i])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            _fitted(text, width).ljust(width) if i < table.names else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def _fitted(text: str, width: int) -> str:
    """A text in so many columns; its end is what tells values apart, such as paths."""
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]


def _names(names: Sequence[str], row: Mapping[str, Any]) -> list[str]:
    return [style.UNDEFINED if row[name] is None else str(row[name]) for name in names]


def _counts(row: Mapping[str, Any]) -> str:
    if row["complete"] == row["runs"]:
        return str(row["runs"])
    return f"{row['complete']} of {row['runs']}"


def _spread(row: Mapping[str, Any], column: str, digits: int = 3) -> str:
    mean, deviation = row[f"{column}_mean"], row[f"{column}_sd"]
    text = style.number(mean, digits)
    return text if math.isnan(deviation) else f"{text} ± {style.number(deviation, digits)}"


def _rounds_to_target(row: Mapping[str, Any]) -> str:
    if not row["complete"]:
        return style.UNDEFINED
    if row["reached"] < row["complete"]:
        count = f"{row['reached']} of {row['complete']} reached"
        return count if row["reached"] else "not reached"
    return _spread(row, "rounds_to_target", 1)
