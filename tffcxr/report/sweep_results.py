"""What came of the runs of a sweep: a row per run, a row per configuration, and the best run.

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

from tffcxr import errors, files
from tffcxr.report import run_files

COMPLETE = "complete"
FILE = "sweep.json"
FORMAT_VERSION = 1
# The metric that is looked at when none is asked for: the first column that ends in one of these.
_USUAL_METRICS = ("/jaccard", "/accuracy", "/auroc")
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
      status: "complete", "failed" or "pending".
      error: why it failed, in one line, or empty.
    """

    folder: str
    configuration: str
    flags: Mapping[str, str | None]
    repeat: int
    seed: int
    status: str
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The runs of a sweep and how they are judged.

    Attributes:
      path: its folder.
      experiment: the recipe.
      runs: in order.
      metric: the column of `rounds.csv` by which runs are compared, or its end alone ("accuracy"),
        for the first such column of each run; None if it is not known yet.
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
    def loss(self) -> str | None:
        """The column with the loss of the metric's task."""
        if self.metric is None or is_loss(self.metric):
            return self.metric
        return _loss_of(self.metric)

    def values(self, run: Run, column: str | None) -> pd.Series:
        """A column of a run's `rounds.csv` by round; without values where there is none.

        Args:
          run: which.
          column: `metric` or `loss` of the sweep.
        """
        rounds = self.rounds.get(run.folder)
        if rounds is None or self.metric is None or column is None:
            return pd.Series(dtype=float)
        found = _find(rounds, self.metric)
        if found is not None and column != self.metric:
            found = _loss_of(found)
        if found is None or found not in rounds:
            return pd.Series(dtype=float)
        return pd.Series(rounds[found].to_numpy(float), index=rounds["round"].astype(int))


def _loss_of(metric: str) -> str:
    """The column with the loss of a metric's task."""
    task, separator, _ = metric.rpartition("/")
    return f"{task}{separator}loss"


def _find(rounds: pd.DataFrame, metric: str) -> str | None:
    """The column of a metric, which may be given by its end alone."""
    if metric in rounds:
        return metric
    return next((name for name in rounds if name.endswith(f"/{metric}")), None)


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
      metric: see `Sweep`; None for the first Jaccard, accuracy or AUROC there is.
      target: see `Sweep`.

    Raises:
      errors.InputError: no complete run has such a column, though there are complete runs; or a
        file is damaged.
    """
    rounds = {
        run.folder: run_files.read_csv(
            path / run.folder / "rounds.csv", ["round"], text=["stage"]
        ).sort_values("round", kind="stable")
        for run in runs
        if run.status == COMPLETE
    }
    if rounds:
        metric = _choose_metric(metric, list(rounds.values()))
    return Sweep(path, experiment, tuple(runs), metric, target, rounds)


def _choose_metric(wish: str | None, tables: Sequence[pd.DataFrame]) -> str:
    """Checks the metric that is wished for, or chooses one that all runs have."""
    measured = [n for n in dict.fromkeys(n for t in tables for n in t.columns) if "/" in n]
    ends = dict.fromkeys(name.rpartition("/")[2] for name in measured)
    if wish is None:
        usual = next((name for name in measured if name.endswith(_USUAL_METRICS)), None)
        is_everywhere = all(usual in table for table in tables)
        wish = usual if usual is None or is_everywhere else usual.rpartition("/")[2]
    known = ["train_loss", *measured, *ends]
    if wish is None or wish not in known:
        raise errors.InputError(
            f"--metric: expected one of {', '.join(known)} of rounds.csv, found {wish!r}"
        )
    return wish


def is_loss(column: str) -> bool:
    """Whether less of a column is better."""
    return column.rpartition("/")[2] in ("loss", "train_loss")


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
    """A row per run: the flags, `repeat`, `seed`, `status`, and what was measured.

    `best`, `best_round` and `last` are of the metric, `best_loss` is the least loss of the same
    task, `seconds` is the sum over rounds, `rounds_to_target` is there where there is a target.
    """
    return [_run_row(sweep, run) for run in sweep.runs]


def _run_row(sweep: Sweep, run: Run) -> dict[str, Any]:
    is_complete = run.status == COMPLETE and sweep.metric is not None
    values, losses = sweep.values(run, sweep.metric), sweep.values(run, sweep.loss)
    lower = sweep.metric is not None and is_loss(sweep.metric)
    value, at = best(values, lower) if is_complete else (math.nan, math.nan)
    rounds = sweep.rounds.get(run.folder)
    row: dict[str, Any] = {
        "configuration": run.configuration,
        **{name: run.flags.get(name) for name in sweep.swept},
        "repeat": run.repeat,
        "seed": run.seed,
        "status": run.status,
        "rounds_trained": math.nan if rounds is None else len(rounds),
        "best": value,
        "best_round": _whole(at),
        "last": float(values.iloc[-1]) if len(values) else math.nan,
        "best_loss": float(losses.min()) if len(losses) else math.nan,
    }
    if sweep.target is not None:
        row["rounds_to_target"] = _whole(rounds_to_target(values, sweep.target, lower))
    seconds = math.nan if rounds is None or "seconds" not in rounds else rounds["seconds"].sum()
    return {**row, "seconds": round(float(seconds), 1), "folder": run.folder, "error": run.error}


def configuration_rows(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per configuration: how many runs ended how, mean and standard deviation.

    The rounds until the target have a mean only where every complete run reached it; the mean of
    those that did would be too good.

    Args:
      sweep: the sweep.
      rows: of `run_rows`.
    """
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["configuration"], []).append(row)
    result = []
    for name, members in grouped.items():
        done = [row for row in members if row["status"] == COMPLETE]
        made: dict[str, Any] = {
            "configuration": name,
            **{flag: members[0][flag] for flag in sweep.swept},
            "runs": len(members),
            "complete": len(done),
            "failed": sum(row["status"] == "failed" for row in members),
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
    """The row of the complete run with the best value of the metric, the first of equals."""
    defined = [row for row in rows if not math.isnan(row["best"])]
    if not defined or sweep.metric is None:
        return None
    choose = min if is_loss(sweep.metric) else max
    return choose(defined, key=lambda row: row["best"])


def write(sweep: Sweep) -> None:
    """Writes `summary.csv`, `configurations.csv` and `sweep.json`."""
    rows = run_rows(sweep)
    write_csv(sweep.path / "summary.csv", rows)
    write_csv(sweep.path / "configurations.csv", configuration_rows(sweep, rows))
    chosen = best_row(sweep, rows)
    described = [
        {
            "flags": dict(run.flags),
            **{name: _json(row[name]) for name in row if name == "seed" or name not in run.flags},
        }
        for run, row in zip(sweep.runs, rows)
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
            "complete": all(run.status == COMPLETE for run in sweep.runs),
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
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, text.getvalue())
