"""Writes the runs of a sweep for TensorBoard's HParams; imports TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tffcxr.sweeps import sweep_results
from tffcxr.training import hparams


def write(sweep: sweep_results.Sweep) -> None:
    """Writes the complete runs, and of a search the pruned ones, below the sweep's folder."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in sweep_results.run_rows(sweep):
        rows.setdefault(row["folder"], []).append(row)
    trials = []
    for run in sweep.runs:
        results: dict[str, float] = {}
        curves: dict[str, Mapping[int, float]] = {}
        if run.status == sweep_results.COMPLETE:
            results, curves = _results(rows[run.folder]), _curves(sweep, run)
        elif run.trial is not None and run.trial.pruned_round is not None:
            results = {"sweep/pruned_round": run.trial.pruned_round}
            curves = {sweep.metric or "": run.trial.values}
        else:
            continue
        settings = {
            **{name: text for name, text in run.flags.items() if text is not None},
            "configuration": run.configuration,
            "seed": str(run.seed),
            **({"status": run.status} if run.trial else {}),
        }
        trials.append(hparams.Trial(run.folder.partition("/")[2], settings, results, curves))
    hparams.write(sweep.path / "tensorboard", trials)


def _results(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The numbers of a run; with the column's name where it is compared by several."""
    numbers = ("best", "best_round", "last", "best_loss", "rounds_to_target")
    found = {
        f"sweep/{name}" + (f"/{row['metric']}" if len(rows) > 1 else ""): row[name]
        for row in rows
        for name in numbers
        if name in row
    }
    return {**found, **({"sweep/value": rows[0]["value"]} if "value" in rows[0] else {})}


def _curves(sweep: sweep_results.Sweep, run: sweep_results.Run) -> dict[str, Mapping[int, float]]:
    """The metric and the loss of a run by round."""
    curves: dict[str, Mapping[int, float]] = {}
    for column in sweep.compared_of(run.configuration):
        curves[column] = dict(sweep.values(run, column))
        curves[sweep_results.loss_of(column)] = dict(sweep.losses(run, column))
    return curves
