"""Writes report.html and the figures of a sweep, from its runs' files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any
import urllib.parse

from tffcxr import concealed, files
from tffcxr.report import page
from tffcxr.sweeps import (
    search_figure,
    search_table,
    sweep_figure,
    sweep_published,
    sweep_results,
    sweep_table,
)

_CURVES, _TRIALS = "curves", "trials"


def write_report(
    sweep: sweep_results.Sweep,
    command: Sequence[str],
    finals: Sequence[Mapping[str, Any]] = (),
    search: search_table.Search | None = None,
    published: Sequence[str] = (),
) -> pathlib.Path:
    """Writes the page and the figures; those of an earlier report are replaced.

    Args:
      sweep: what came of the runs.
      command: the words of the command line.
      finals: of `sweep_finals.rows`.
      search: of a search.
      published: names of published tables to set the results beside.

    Returns:
      The path of `report.html`.

    Raises:
      OSError: if it cannot be written.
    """
    rows = sweep_results.run_rows(sweep)
    complete = {run.folder for run in sweep.runs if run.status == sweep_results.COMPLETE}
    html = page.template("sweep.html.jinja").render(
        title=f"Sweep of {sweep.experiment}",
        folder=sweep.path.resolve().name,
        command=page.command(concealed.command(command)),
        synthetic=sweep_published.is_synthetic(sweep),
        sweep=sweep,
        complete=len(complete),
        best=[(row, _link(row["folder"])) for row in sweep_results.best_rows(sweep, rows)],
        legend=sweep_table.legend(sweep),
        configurations=sweep_table.of_configurations(sweep, rows),
        runs=sweep_table.of_runs(sweep, rows),
        links=[_link(row["folder"]) if row["folder"] in complete else None for row in rows],
        finals=sweep_table.of_finals(sweep, finals) if finals else None,
        legend_of_finals=sweep_table.legend_of_finals(finals) if finals else None,
        published=sweep_published.layouts(published, sweep, finals),
        search=None if search is None else _search(sweep, search),
        figure=page.write_figure(
            sweep.path,
            _CURVES,
            search_figure.draw_curves(sweep) if search else sweep_figure.draw(sweep),
        ),
        failed=[run for run in sweep.runs if run.status == "failed"],
        pending=[run for run in sweep.runs if run.status == "pending"],
    )
    path = sweep.path / "report.html"
    files.write_text(path, html)
    return path


def _search(sweep: sweep_results.Sweep, search: search_table.Search) -> dict[str, Any]:
    """What only the page of a search has; writes the figure of the trials."""
    metric, trials = sweep.metric or "", search_table.trials_of(sweep)
    folders = {run.trial.number: run.folder for run in sweep.runs if run.trial}
    best = search_table.best(trials, metric)
    return {
        "best": best,
        "best_link": best and _link(folders[best.number]),
        "command": page.command(concealed.command(search.command)) if search.command else None,
        "trials": search_table.of_trials(sweep),
        "links": [
            _link(folders[trial.number]) if trial.status == sweep_results.COMPLETE else None
            for trial in search_table.ordered(trials, metric)
        ],
        "legend": search_table.legend(sweep, search),
        "figure": page.write_figure(sweep.path, _TRIALS, search_figure.draw_trials(sweep, search)),
        "importances": search.importances,
    }


def _link(folder: str) -> str:
    """The address of a run's report, relative to the sweep's."""
    return urllib.parse.quote(f"{folder}/report.html")
