"""The published tables beside which a sweep's report sets its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from typing import Any

from tffcxr.report import remarks, style
from tffcxr.report.published import published_layout
from tffcxr.sweeps import sweep_results

_NOT_REACHED = "not reached"


def layouts(
    names: Sequence[str], sweep: sweep_results.Sweep, finals: Sequence[Mapping[str, Any]]
) -> list[published_layout.Layout]:
    """Lays out the tables; a number of this sweep is the mean over a configuration's repeats.

    Args:
      names: of the tables.
      sweep: the sweep.
      finals: of `sweep_finals.rows`.
    """
    if not names:
        return []
    done = [run for run in sweep.runs if run.status == sweep_results.COMPLETE]
    configs = {run.configuration: config(sweep, run) for run in done}
    reached = _rounds_to_target(sweep)
    rows = [
        {
            **published_layout.about(configs.get(row["configuration"], {}), _without_mean(row)),
            **reached.get(row["configuration"], {}),
        }
        for row in finals
    ]
    called = f"This sweep of {style.counted(len(done), 'complete run')}"
    if sweep.target is not None:
        called += f" with the target {sweep.target:g}"
    return published_layout.layouts(
        list(names), published_layout.Own(rows, called, is_synthetic(sweep))
    )


def config(sweep: sweep_results.Sweep, run: sweep_results.Run) -> dict[str, Any]:
    """The `config.json` of a run; empty if it does not have one yet."""
    try:
        found = json.loads((sweep.path / run.folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_synthetic(sweep: sweep_results.Sweep) -> bool:
    """Whether some images of the runs are made by a program."""
    return any(remarks.is_synthetic(config(sweep, run)) for run in sweep.runs)


def _without_mean(row: Mapping[str, Any]) -> dict[str, Any]:
    """A final row whose means have the names of their metrics."""
    return {name.removesuffix("_mean"): value for name, value in row.items()}


def _rounds_to_target(sweep: sweep_results.Sweep) -> dict[str, dict[str, Any]]:
    """By configuration, `rounds_<repeat>`: the first round that reaches the target."""
    result: dict[str, dict[str, Any]] = {}
    if sweep.target is None:
        return result
    for row in sweep_results.run_rows(sweep):
        if row["status"] == sweep_results.COMPLETE:
            value = row["rounds_to_target"]
            told = value if style.is_number(value) else _NOT_REACHED
            result.setdefault(row["configuration"], {})[f"rounds_{row['repeat']}"] = told
    return result
