"""The tables of a sweep, as cells for its page and as aligned text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math
import textwrap
from typing import Any

from tffcxr.evaluation import registry
from tffcxr.report import style, text_table
from tffcxr.sweeps import sweep_finals, sweep_results

_WIDTH = 100
BIAS = (
    "The best of many results on the same images is optimistically biased: test the chosen model "
    "on other images."
)
# Headings of the parts of `sweep_finals.IDENTITY`.
_PARTS = {name: name for name in sweep_finals.IDENTITY} | {"images_kind": "images"}


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
    """A row per configuration and column that is compared, with means over its complete runs.

    Args:
      sweep: the sweep.
      rows: of `sweep_results.run_rows`.
    """
    names = names_of(sweep)
    headings = [*names, *_heading_of_columns(sweep), "runs", "best", "last", "least loss"]
    if sweep.target is not None:
        headings.append(f"rounds to {sweep.target:g}")
    cells = []
    for row in sweep_results.configuration_rows(sweep, rows):
        cells.append(
            [
                *_names(names, row),
                *_column(sweep, row),
                _counts(row),
                _spread(row, "best"),
                _spread(row, "last"),
                _spread(row, "best_loss"),
                *([] if sweep.target is None else [_rounds_to_target(row)]),
            ]
        )
    return Table(headings, cells, len(names) + len(_heading_of_columns(sweep)))


def of_runs(sweep: sweep_results.Sweep, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row per run and column that is compared.

    Args:
      sweep: the sweep.
      rows: of `sweep_results.run_rows`.
    """
    names = names_of(sweep)
    own = _heading_of_columns(sweep)
    headings = [*names, *own, "seed", "status", "best", "at round", "last", "least loss"]
    if sweep.target is not None:
        headings.append(f"rounds to {sweep.target:g}")
    cells = []
    for row in rows:
        line = [
            *_names(names, row),
            *_column(sweep, row),
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
    return Table(headings, cells, len(names) + len(own) + 2)


def of_finals(
    sweep: sweep_results.Sweep, finals: Sequence[Mapping[str, Any]], is_short: bool = False
) -> Table:
    """A row per configuration and row of its runs' final tables, named by what is not the same.

    Args:
      sweep: the sweep.
      finals: of `sweep_finals.rows`, one at least.
      is_short: whether to leave out the metrics of single classes.
    """
    metrics = sweep_finals.metrics_of(finals)
    names = [name for name in names_of(sweep) if name not in sweep_finals.IDENTITY]
    shared = _shared(finals)
    parts = [n for n in sweep_finals.IDENTITY if n in finals[0] and n not in shared]
    if is_short:
        metrics = [name for name in metrics if name in registry.BY_NAME]
    headings = [*names, *(_PARTS[name] for name in parts), "runs"]
    cells = [
        [
            *_names([*names, *parts], row),
            str(row["complete"]),
            *(_final(row, metric) for metric in metrics),
        ]
        for row in finals
    ]
    headings += [sweep_finals.heading(metric) for metric in metrics]
    return Table(headings, cells, len(names) + len(parts))


def legend_of_finals(finals: Sequence[Mapping[str, Any]]) -> str:
    """What the numbers of `of_finals` are, and what all of its rows share."""
    shared = [f"{_PARTS[name]} {finals[0][name]}" for name in _shared(finals)]
    told = f" All rows: {', '.join(shared)}." if shared else ""
    return (
        "Final results: mean ± sample standard deviation over the complete runs of a "
        "configuration, which differ in their seed, without --split_seed also in their splits (a "
        "dash for a single run). "
        f"In brackets: the number of runs with a defined value, if not all.{told}"
    )


def names_of(sweep: sweep_results.Sweep) -> list[str]:
    """What distinguishes configurations: the flags of a grid, otherwise only the name."""
    is_grid = all(
        run.configuration == ",".join(f"{name}={value}" for name, value in run.flags.items())
        for run in sweep.runs
    )
    return sweep.swept if is_grid else ["configuration"]


def legend(sweep: sweep_results.Sweep) -> list[str]:
    """Sentences that say what the columns are."""
    if sweep.metric is None:
        return ["No run is complete yet."]
    is_lower_better = registry.is_lower_better(sweep.metric)
    loss = "" if is_lower_better else f" Least loss: {sweep_results.loss_of(sweep.metric)}."
    sentences = [
        f"Best ({'least' if is_lower_better else 'highest'}) and last: {sweep.metric}.{loss}"
    ]
    if len(sweep.runs) > len({run.configuration for run in sweep.runs}):
        sentences.append("Mean ± standard deviation over the complete runs of a configuration.")
    sentences.append(BIAS)
    return sentences


def format_summary(sweep: sweep_results.Sweep, finals: Sequence[Mapping[str, Any]] = ()) -> str:
    """The tables as text of at most 100 columns.

    Args:
      sweep: the sweep.
      finals: of `sweep_finals.rows`.
    """
    rows = sweep_results.run_rows(sweep)
    parts = [format_table(of_runs(sweep, rows))]
    if len(sweep.runs) > len({run.configuration for run in sweep.runs}):
        parts.append(format_table(of_configurations(sweep, rows)))
    parts.append(_wrapped(" ".join(legend(sweep))))
    if finals:
        parts.append(format_table(of_finals(sweep, finals, is_short=True)))
        parts.append(_wrapped(f"{legend_of_finals(finals)} All metrics: {sweep_finals.FILE}."))
    failed = [run for run in sweep.runs if run.status == "failed"]
    if failed:
        parts.append("\n".join(f"failed: {run.folder}: {run.error}" for run in failed))
    return "\n\n".join(parts)


def format_table(table: Table) -> str:
    """A table as text; see `text_table`."""
    return text_table.format_table(table.headings, table.cells, table.names)


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _WIDTH))


def _heading_of_columns(sweep: sweep_results.Sweep) -> list[str]:
    """The heading over what tells columns apart, where several are compared."""
    return [f"{sweep.metric} of"] if len(sweep.compared) > 1 else []


def _column(sweep: sweep_results.Sweep, row: Mapping[str, Any]) -> list[str]:
    """Whose metric a row has, such as "resnet50 full", where several are compared."""
    if len(sweep.compared) < 2:
        return []
    return [row["metric"].rpartition("/")[0] or style.UNDEFINED]


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


def _shared(finals: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of a row's identity is the same in all rows."""
    found = [name for name in sweep_finals.IDENTITY if name in finals[0]]
    return [name for name in found if len({row[name] for row in finals}) == 1]


def _final(row: Mapping[str, Any], metric: str) -> str:
    """Mean and standard deviation, and over how many runs where not all have the metric."""
    mean, deviation = row[f"{metric}_mean"], row[f"{metric}_sd"]
    text = style.number(mean)
    if style.is_number(mean):
        text += f" ± {style.number(deviation)}"
    count = row[f"{metric}_n"]
    return text if count == row["complete"] else f"{text} ({count} of {row['complete']})"
