"""Writes the page of several runs beside one another, and its table as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import pandas as pd

from tffcxr import errors, files, run_tables
from tffcxr.evaluation.registry import Metric
from tffcxr.report import page, remarks, run_reader, style
from tffcxr.report.comparison import (
    compared_resources,
    compared_runs,
    compared_settings,
    compared_table,
)
from tffcxr.report.comparison.compared_runs import ComparedRun
from tffcxr.report.comparison.compared_table import Difference, Line, Table
from tffcxr.report.figures import compared_rounds_figure, roc_figure

PAGE = "comparison.html"
# A row per metric, model and run. `difference` is from the first run, on the same cases.
TABLE = run_tables.Table(
    "comparison.csv",
    (
        "task", "split", "client", "training", "model", "images_kind", "metric", "run", "folder",
        "value", "low", "high", "difference", "difference_low", "difference_high", "p", "p_holm",
        "not_paired",
    ),
    texts=frozenset(
        {"task", "split", "client", "training", "model", "images_kind", "metric", "run", "folder",
         "not_paired"}
    ),
)  # fmt: skip
NOT_PAIRED = "not paired"
_NAMED = 3  # Of more runs, the title has the number.


@dataclasses.dataclass(frozen=True)
class _MetricTable:
    """The lines of one metric, as texts.

    Attributes:
      title: of the metric.
      headings: over the cells of a line.
      blocks: (title, lines), each line with `name`, `colour` and `cells`.
    """

    title: str
    headings: Sequence[str]
    blocks: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]


def write(run_dirs: Sequence[run_reader.PathLike], target: run_reader.PathLike) -> pathlib.Path:
    """Compares runs and writes `comparison.html`, `comparison.csv` and a figure.

    Args:
      run_dirs: two or more, the one that the others are compared with first.
      target: the folder for the files: a new or an empty one, or that of an earlier comparison.

    Returns:
      The path of the page.

    Raises:
      errors.InputError: see `compared_runs.read`; a run is damaged; the folder holds other files.
      OSError: if the page cannot be written.
    """
    folder = pathlib.Path(target)
    _check_target(folder)
    runs = compared_runs.read(run_dirs)
    table = compared_table.make(runs)
    curves = page.write_figure(folder, "comparison", compared_rounds_figure.draw(runs))
    tables = [_metric_table(metric, table, runs) for metric in table.metrics]
    html = page.template("comparison.html.jinja").render(
        title="Comparison of "
        + (f"{len(runs)} runs" if len(runs) > _NAMED else ", ".join(one.name for one in runs)),
        runs=[_about(one) for one in runs],
        first=runs[0].letter,
        kind=runs[0].run.kind,
        synthetic=any(remarks.is_synthetic(one.run.config) for one in runs),
        tables=tables,
        tests=table.tests,
        not_paired=_reasons(table, runs),
        without_interval=_without_interval(table, runs),
        has_differences=any(
            style.is_number(each.value)
            for line in table.lines
            for of_metric in line.differences.values()
            for each in of_metric
        ),
        has_common=any(line.rows.count(None) < len(runs) - 1 for line in table.lines),
        table_file=TABLE.file,
        settings=compared_settings.of(runs),
        curves=curves,
        averaged=compared_rounds_figure.averaged(runs),
        resources=compared_resources.rows(runs),
    )
    TABLE.write(folder, pd.DataFrame(_records(table, runs), columns=list(TABLE.columns)))
    files.write_text(folder / PAGE, html)
    return folder / PAGE


def _check_target(folder: pathlib.Path) -> None:
    if folder.exists() and (
        not folder.is_dir() or (any(folder.iterdir()) and not (folder / TABLE.file).is_file())
    ):
        raise errors.InputError(
            f"--output_dir: expected a new or an empty folder or an earlier comparison, found "
            f"{folder}"
        )


def _about(one: ComparedRun) -> dict[str, Any]:
    """What the table of runs says of one."""
    curves = roc_figure.curves(one.run) if one.run.kind.has_roc else []
    return {
        "letter": one.letter,
        "label": one.label,
        "colour": one.colour,
        "name": one.name,
        "recipe": one.run.recipe,
        "command": page.command(one.run.config.get("command")),
        "warnings": remarks.warnings(one.run, curves),
    }


def _metric_table(metric: Metric, table: Table, runs: Sequence[ComparedRun]) -> _MetricTable:
    is_main = metric == table.metrics[0]
    others = [place for place, _ in enumerate(runs[1:]) if _has_difference(table, metric, place)]
    headings = [one.letter for one in runs]
    for place in others:
        headings.append(f"{runs[place + 1].letter} − {runs[0].letter}")
        headings += ["p (Holm)" if table.tests > 1 else "p"] * (is_main and table.tests > 0)
    blocks: dict[str, list[dict[str, Any]]] = {}
    for line in table.lines:
        cells = [_value(row, metric) for row in line.rows]
        if {*cells} == {""}:
            continue
        for place in others:
            difference = line.differences[metric.name][place]
            cells.append(_difference(difference, line, place, metric))
            if is_main and table.tests > 0:
                cells.append(_p(difference, table.tests))
        about = {"name": line.name, "colour": line.colour, "cells": cells}
        blocks.setdefault(line.title, []).append(about)
    return _MetricTable(metric.title, headings, list(blocks.items()))


def _has_difference(table: Table, metric: Metric, place: int) -> bool:
    differences = [line.differences[metric.name][place] for line in table.lines]
    return any(style.is_number(each.value) or each.reason for each in differences)


def _value(row: Mapping[str, Any] | None, metric: Metric) -> str:
    """A metric of a run with its interval; nothing where the run has no such model or metric."""
    if row is None or metric.name not in row:
        return ""
    return style.with_interval(row, metric.name, metric.digits)


def _difference(difference: Difference, line: Line, place: int, metric: Metric) -> str:
    if difference.reason is not None:
        return NOT_PAIRED
    if line.rows[0] is None or line.rows[place + 1] is None:
        return ""
    text = style.signed(difference.value, metric.digits)
    if style.is_number(difference.low) and style.is_number(difference.high):
        low, high = (style.signed(end, metric.digits) for end in (difference.low, difference.high))
        return f"{text} ({low} to {high})"
    return f"{text} ({style.UNDEFINED})" if difference.missing else text


def _p(difference: Difference, tests: int) -> str:
    """A p-value, in brackets the adjusted one where there are several tests."""
    if not style.is_number(difference.p):
        return style.UNDEFINED if difference.missing else ""
    p = style.p_value(difference.p)
    return f"{p} ({style.p_value(difference.p_holm)})" if tests > 1 else p


def _reasons(table: Table, runs: Sequence[ComparedRun]) -> list[str]:
    """Says why runs are not compared case by case: once for each reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in table.lines:
        for of_metric in line.differences.values():
            for one, difference in zip(runs[1:], of_metric):
                if difference.reason is not None:
                    about = found.setdefault((one.letter, difference.reason), [])
                    about.append(f"{line.key['task']}, {line.name}")
    first = runs[0].letter
    return [
        f"{first} and {letter}: {reason}"
        + ("." if len(about) == len(table.lines) else f" ({'; '.join(about)}).")
        for (letter, reason), about in found.items()
    ]


def _without_interval(table: Table, runs: Sequence[ComparedRun]) -> list[str]:
    """Says why differences have no interval and no test: once for each reason."""
    found: dict[tuple[str, str], list[dict[str, None]]] = {}
    for line in table.lines:
        for metric in table.metrics:
            for one, difference in zip(runs[1:], line.differences[metric.name]):
                if difference.missing is not None:
                    key = one.letter, difference.missing
                    metrics, models = found.setdefault(key, [{}, {}])
                    metrics[metric.title] = models[f"{line.key['task']}, {line.name}"] = None
    first = runs[0].letter
    return [
        f"{first} and {letter}, {', '.join(metrics)}"
        + ("" if len(models) == len(table.lines) else f" ({'; '.join(models)})")
        + f": {missing}."
        for (letter, missing), (metrics, models) in found.items()
    ]


def _records(table: Table, runs: Sequence[ComparedRun]) -> Iterator[dict[str, Any]]:
    """Yields the rows of the CSV file."""
    for line in table.lines:
        for metric in table.metrics:
            for place, (one, row) in enumerate(zip(runs, line.rows)):
                if row is None or metric.name not in row:
                    continue
                of_metric = line.differences[metric.name]
                difference = of_metric[place - 1] if place else Difference()
                yield {
                    **dict.fromkeys(("client", "model", "images_kind"), ""),
                    **{key: row[key] for key in ("model", "images_kind") if key in row},
                    **line.key,
                    "metric": metric.name,
                    "run": one.letter,
                    "folder": one.name,
                    "value": row[metric.name],
                    "low": row.get(f"{metric.name}_low"),
                    "high": row.get(f"{metric.name}_high"),
                    "difference": difference.value,
                    "difference_low": difference.low,
                    "difference_high": difference.high,
                    "p": difference.p,
                    "p_holm": difference.p_holm,
                    "not_paired": difference.reason or "",
                }
