"""The results of a sweep's runs: a row per run, a row per configuration, and the best run.

If runs have the metric of several models or tasks, each has its own row; they are never averaged.

Only complete runs have numbers; of any other run they are NaN, and a configuration's mean and
standard deviation (n - 1 in the denominator, so NaN for one run) are over its complete runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import csv
import dataclasses
import io
import json
import math
import pathlib
from typing import Any
import warnings

import numpy as np
import pandas as pd

from tffcxr import errors, files, run_tables
from tffcxr.evaluation import registry
from tffcxr.report import run_files
from tffcxr.sweeps import search_trial

COMPLETE = "complete"
FILE = "sweep.json"
FORMAT_VERSION = 1
_MEASURED = ("best", "last", "best_loss")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
      folder: relative to the sweep's.
      configuration: name of its configuration.
      flags: what the configuration sets; None for a flag that it leaves alone.
      repeat: 1, 2, …
      seed: of everything random.
      status: "complete", "failed" or "pending"; in a search also "pruned".
      error: why it failed, in one line, or empty.
      trial: of a search; None otherwise.
    """

    folder: str
    configuration: str
    flags: Mapping[str, str | None]
    repeat: int
    seed: int
    status: str
    error: str = ""
    trial: search_trial.Trial | None = None


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The runs of a sweep and how they are judged.

    Attributes:
      path: its folder.
      experiment: the recipe.
      runs: in order.
      metric: the column of `rounds.csv` by which runs are compared, or its end alone ("accuracy"),
        for every such column; None if it is not known yet.
      target: the value of the metric that is to be reached, or None.
      rounds: of complete runs, by folder, their `rounds.csv`.
    """

    path: pathlib.Path
    experiment: str
    runs: Sequence[Run]
    metric: str | None
    target: float | None
    rounds: Mapping[str, pd.DataFrame]

    @property
    def swept(self) -> list[str]:
        """Names of the flags that differ."""
        return list(dict.fromkeys(name for run in self.runs for name in run.flags))

    @property
    def compared(self) -> list[str]:
        """What there are rows and curves of.

        The metric alone where no run has more than one such column, as when each configuration has
        another model; otherwise every such column.
        """
        if self.metric is None:
            return []
        found = [matching(rounds, self.metric) for rounds in self.rounds.values()]
        if all(len(columns) <= 1 for columns in found):
            return [self.metric]
        return list(dict.fromkeys(column for columns in found for column in columns))

    def compared_of(self, configuration: str) -> list[str]:
        """Those of `compared` that a configuration has; the metric if no run of it is complete."""
        members = [run for run in self.runs if run.configuration == configuration]
        found = [c for c in self.compared if any(len(self.values(run, c)) for run in members)]
        return found or [self.metric or ""]

    def values(self, run: Run, column: str) -> pd.Series:
        """What a run has of one of `compared`, by round; empty where it has nothing of it."""
        return self._series(run, self._column(run, column))

    def losses(self, run: Run, column: str) -> pd.Series:
        """The loss of the same task or model as `values`, by round; empty where there is none."""
        found = self._column(run, column)
        return self._series(run, found if found is None else loss_of(found))

    def _column(self, run: Run, column: str) -> str | None:
        rounds = self.rounds.get(run.folder)
        found = [] if rounds is None else matching(rounds, column)
        return found[0] if len(found) == 1 else None

    def _series(self, run: Run, column: str | None) -> pd.Series:
        if column is None or column not in self.rounds[run.folder]:
            return pd.Series(dtype=float)
        rounds = self.rounds[run.folder]
        return pd.Series(rounds[column].to_numpy(float), index=rounds["round"].astype(int))


def loss_of(metric: str) -> str:
    """The column with the loss of a metric's task; a loss is its own."""
    if registry.of_column(metric) in (registry.LOSS, registry.TRAIN_LOSS):
        return metric
    task, separator, _ = metric.rpartition("/")
    return f"{task}{separator}{registry.LOSS.name}"


def matching(columns: Iterable[str], metric: str) -> list[str]:
    """The columns of a metric, which may be given by its end alone."""
    columns = list(columns)
    if metric in columns:
        return [metric]
    return [name for name in columns if name.endswith(f"/{metric}")]


def read(
    path: pathlib.Path,
    experiment: str,
    runs: Sequence[Run],
    metric: str | None = None,
    target: float | None = None,
) -> Sweep:
    """Reads `rounds.csv` of the complete runs.

    Args:
      path: the sweep's folder.
      experiment: the recipe.
      runs: all of its runs.
      metric: see `Sweep`; None for that of `registry.main_column`.
      target: see `Sweep`.

    Raises:
      errors.InputError: no complete run has such a column, though there are complete runs; or a
        file is damaged.
    """
    rounds = {
        run.folder: run_files.read_table(path / run.folder, run_tables.ROUNDS).sort_values(
            "round", kind="stable"
        )
        for run in runs
        if run.status == COMPLETE
    }
    if rounds:
        metric = _choose_metric(metric, list(rounds.values()))
    return Sweep(path, experiment, tuple(runs), metric, target, rounds)


def _choose_metric(wish: str | None, tables: Sequence[pd.DataFrame]) -> str:
    """Checks the metric that is wished for, or chooses one.

    That is a column if all runs have it, and no other that ends like it; otherwise the end.
    """
    every = dict.fromkeys(name for table in tables for name in table.columns)
    measured = [name for name in every if "/" in name and registry.of_column(name)]
    ends = dict.fromkeys(name.rpartition("/")[2] for name in measured)
    usual = registry.main_column(measured)
    if wish is None and usual is not None:
        end = usual.rpartition("/")[2]
        is_alone = all(matching(table, end) == [usual] for table in tables)
        wish = usual if is_alone else end
    known = [registry.TRAIN_LOSS.name, *measured, *ends]
    if wish is None or wish not in known:
        raise errors.InputError(
            f"--metric: expected one of {', '.join(known)} of rounds.csv, found {wish!r}"
        )
    return wish


def best(values: pd.Series, is_lower_better: bool) -> tuple[float, float]:
    """The best value and its round, the first of equals.

    Args:
      values: by round; NaN where undefined.
      is_lower_better: as for losses.

    Returns:
      Value and round, both NaN with a warning where no value is defined.
    """
    defined = values.dropna()
    if defined.empty:
        warnings.warn("the metric is undefined in every round of a run", stacklevel=2)
        return math.nan, math.nan
    at = defined.idxmin() if is_lower_better else defined.idxmax()
    return float(defined[at]), float(at)


def rounds_to_target(values: pd.Series, target: float, is_lower_better: bool) -> float:
    """The first round whose value is at least (of a loss, at most) the target; NaN for none."""
    reached = values <= target if is_lower_better else values >= target
    return float(values.index[reached.to_numpy()][0]) if reached.any() else math.nan


def run_rows(sweep: Sweep) -> list[dict[str, Any]]:
    """A row per run and `metric`, one of `Sweep.compared_of` its configuration.

    It has the flags, `repeat`, `seed`, `status`, and what was measured: `best`, `best_round` and
    `last` are of the metric, `best_loss` is the least loss of the same task, `seconds` is the sum
    over rounds, `rounds_to_target` is there where there is a target.
    """
    compared = {run.configuration: sweep.compared_of(run.configuration) for run in sweep.runs}
    return [_run_row(sweep, run, c) for run in sweep.runs for c in compared[run.configuration]]


def _run_row(sweep: Sweep, run: Run, column: str) -> dict[str, Any]:
    values, losses = sweep.values(run, column), sweep.losses(run, column)
    # Which metric is compared is not known before a run is complete.
    lower = run.status == COMPLETE and registry.is_lower_better(column)
    value, at = best(values, lower) if run.status == COMPLETE else (math.nan, math.nan)
    rounds = sweep.rounds.get(run.folder)
    # A joined log has empty rounds at the end of a network that was trained for fewer than another.
    trained = values[values.notna() | losses.reindex(values.index).notna()]
    row: dict[str, Any] = {
        "configuration": run.configuration,
        **{name: run.flags.get(name) for name in sweep.swept},
        "repeat": run.repeat,
        "seed": run.seed,
        "status": run.status,
        **(run.trial.row() if run.trial else {}),
        "rounds_trained": math.nan if rounds is None else len(rounds),
        "metric": column,
        "best": value,
        "best_round": _whole(at),
        "last": float(trained.iloc[-1]) if len(trained) else math.nan,
        "best_loss": float(losses.min()) if len(losses) else math.nan,
    }
    if sweep.target is not None:
        row["rounds_to_target"] = _whole(rounds_to_target(values, sweep.target, lower))
    seconds = math.nan if rounds is None or "seconds" not in rounds else rounds["seconds"].sum()
    return {**row, "seconds": round(float(seconds), 1), "folder": run.folder, "error": run.error}


def configuration_rows(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per configuration and `metric`: how many runs ended how, mean, standard deviation.

    The rounds until the target have a mean only where every complete run reached it; a mean over
    those that did would be optimistically biased.

    Args:
      sweep: the sweep.
      rows: of `run_rows`.
    """
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["configuration"], row["metric"]), []).append(row)
    result = []
    for (name, metric), members in grouped.items():
        done = [row for row in members if row["status"] == COMPLETE]
        made: dict[str, Any] = {
            "configuration": name,
            **{flag: members[0][flag] for flag in sweep.swept},
            "runs": len(members),
            "complete": len(done),
            "failed": sum(row["status"] == "failed" for row in members),
            "metric": metric,
        }
        columns = list(_MEASURED)
        if sweep.target is not None:
            made["reached"] = sum(not math.isnan(row["rounds_to_target"]) for row in done)
            columns.append("rounds_to_target")
        for column in columns:
            values = np.array([row[column] for row in done], float)
            made[f"{column}_mean"] = float(values.mean()) if len(values) else math.nan
            made[f"{column}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        result.append(made)
    return result


def best_row(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row with the best value of all, the first of equals; None if none is defined.

    In a search, the value is that of the trial, otherwise the best of a run's rounds.

    Args:
      sweep: the sweep.
      rows: of `run_rows`.
    """
    value = "value" if any("value" in row for row in rows) else "best"
    defined = [row for row in rows if not math.isnan(row[value])]
    if not defined or sweep.metric is None:
        return None
    choose = min if registry.is_lower_better(sweep.metric) else max
    return choose(defined, key=lambda row: row[value])


def best_rows(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The best row of each of `Sweep.compared`: AUROCs of two findings have no common best."""
    found = [
        best_row(sweep, [row for row in rows if row["metric"] == name]) for name in sweep.compared
    ]
    return [row for row in found if row is not None]


def write(sweep: Sweep) -> None:
    """Writes `summary.csv`, `configurations.csv` and `sweep.json`, whose runs are the summary's.

    The best run of the latter is the one with the best value of all.
    """
    rows = run_rows(sweep)
    write_csv(sweep.path / "summary.csv", rows)
    write_csv(sweep.path / "configurations.csv", configuration_rows(sweep, rows))
    chosen = best_row(sweep, rows)
    flags = {run.folder: run.flags for run in sweep.runs}
    described = [
        {
            "flags": dict(flags[row["folder"]]),
            **{n: _json(row[n]) for n in row if n == "seed" or n not in flags[row["folder"]]},
        }
        for row in rows
    ]
    files.write_json(
        sweep.path / FILE,
        {
            "version": FORMAT_VERSION,
            "experiment": sweep.experiment,
            "metric": sweep.metric,
            "target": sweep.target,
            "runs": described,
            "best_run": None if chosen is None else chosen["folder"],
            "complete": all(
                run.status in (search_trial.ENDED if run.trial else [COMPLETE])
                for run in sweep.runs
            ),
        },
    )


def best_run(path: pathlib.Path, of_all: bool = False) -> pathlib.Path:
    """The folder of the run with the best metric.

    Args:
      path: a sweep's folder.
      of_all: whether all runs must be complete, so that no other can become the best.

    Raises:
      errors.InputError: it is no sweep, none of its runs is complete, or the best is gone.
    """
    try:
        sweep = json.loads((path / FILE).read_text(encoding="utf-8"))
        folder = sweep["best_run"]
    except OSError as error:
        raise errors.InputError(
            f"expected a sweep with {FILE}, found {error.strerror}: {path / FILE}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise errors.InputError(f"{path / FILE}: expected a sweep, found {error}") from error
    if of_all and not sweep.get("complete"):
        raise errors.InputError(
            f"{path}: expected a sweep whose runs are all complete, found one that is not finished"
        )
    if not isinstance(folder, str):
        raise errors.InputError(f"{path}: expected a sweep with a complete run, found none")
    if not (path / folder).is_dir():
        raise errors.InputError(f"{path}: expected its best run in {folder}, found no such folder")
    return path / folder


def _whole(value: float) -> float:
    """A number of rounds without decimals, if it is defined."""
    return value if math.isnan(value) else int(value)


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def write_csv(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a table; all rows have the columns of the first, and there is one at least."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, text.getvalue())
