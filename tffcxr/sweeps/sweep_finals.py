"""The final tables of a sweep's runs, over the repeats of each configuration.

Papers report the final metrics with their spread over seeds (as Liu et al., "Experiments of
Federated Learning for COVID-19 Chest X-ray Images", arXiv 2007.05592, Tables II and IV). Here the
spread is the sample standard deviation over the complete runs of a configuration, n - 1 in the
denominator, so NaN for one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
import pathlib
import statistics
from typing import Any

from tffcxr import errors
from tffcxr.evaluation import registry
from tffcxr.report import run_files, style
from tffcxr.sweeps import sweep_results

FILE = "results.csv"
# The keys that identify a row of `metrics.json`; every row has them.
IDENTITY = ("task", "model", "images_kind", "client", "training", "split")
_REQUIRED = ("task", "training", "split")
# An object of numbers by class; its metrics are called "sensitivity_by_class/CLASS" here.
BY_CLASS = "sensitivity_by_class"


def rows(path: pathlib.Path, runs: Sequence[sweep_results.Run]) -> list[dict[str, Any]]:
    """A row per configuration and row of the `metrics.json` of its complete runs.

    Args:
      path: the sweep's folder.
      runs: all of its runs.

    Returns:
      `configuration` and its flags (one that is called as a part of `IDENTITY` gives way to it, as
      --model does to the row's own); what of `IDENTITY` some row has, None where a row has it not;
      `complete`, the number of complete runs of the configuration; and of every metric that some
      row has `<metric>_mean` and `<metric>_sd` over the runs in which it is defined, and
      `<metric>_n`, the number of these. Mean and standard deviation of too few are NaN.

    Raises:
      errors.InputError: a `metrics.json` is damaged, or has two rows that cannot be told apart.
    """
    found = {
        run.folder: _read(path / run.folder / "metrics.json")
        for run in runs
        if run.status == sweep_results.COMPLETE
    }
    everything = [row for of_run in found.values() for row in of_run.values()]
    present = {name for row in everything for name in row}
    identity = [name for name in IDENTITY if name in present]
    metrics = [name for name in _known_metrics(everything) if name in present]
    swept = dict.fromkeys(name for run in runs for name in run.flags)
    by_configuration: dict[str, list[sweep_results.Run]] = {}
    for run in runs:
        if run.folder in found:
            by_configuration.setdefault(run.configuration, []).append(run)
    result = []
    for name, members in by_configuration.items():
        tables = [found[run.folder] for run in members]
        for key in dict.fromkeys(key for table in tables for key in table):
            row = next(table[key] for table in tables if key in table)
            result.append(
                {
                    "configuration": name,
                    **{flag: members[0].flags.get(flag) for flag in swept},
                    **{part: row.get(part) for part in identity},
                    "complete": len(members),
                    **_statistics([table.get(key, {}) for table in tables], metrics),
                }
            )
    return result


def metrics_of(finals: Sequence[Mapping[str, Any]]) -> list[str]:
    """The metrics of what `rows` returns, in order."""
    return [name.removesuffix("_mean") for name in (finals or [{}])[0] if name.endswith("_mean")]


def heading(metric: str) -> str:
    """What a reader calls a metric: "AUROC", "Sensitivity, Normal"."""
    name, _, of_class = metric.partition("/")
    return f"Sensitivity, {of_class}" if name == BY_CLASS else registry.BY_NAME[metric].title


def write(path: pathlib.Path, finals: Sequence[Mapping[str, Any]]) -> None:
    """Writes `results.csv` into the sweep's folder, if there is anything to write.

    Args:
      path: the sweep's folder.
      finals: of `rows`.
    """
    if finals:
        sweep_results.write_csv(path / FILE, finals)


def _read(path: pathlib.Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows of a `metrics.json` by their identity, the sensitivities by class spread out."""
    table = run_files.read_json(path).get("rows")
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        raise errors.InputError(f"expected a list of rows in {path}")
    result: dict[tuple[str, ...], dict[str, Any]] = {}
    for position, row in enumerate(table):
        missing = [name for name in _REQUIRED if name not in row]
        if missing:
            raise errors.InputError(f"expected {missing[0]!r} in row {position} of {path}")
        key = tuple("" if row.get(name) is None else str(row[name]) for name in IDENTITY)
        if key in result:
            told = ", ".join(part for part in key if part)
            raise errors.InputError(f"expected one row of {told} in {path}, found two")
        by_class = row.get(BY_CLASS)
        spread = by_class.items() if isinstance(by_class, dict) else ()
        result[key] = {**row, **{f"{BY_CLASS}/{name}": value for name, value in spread}}
    return result


def _known_metrics(everything: Sequence[Mapping[str, Any]]) -> list[str]:
    """All metrics that a row may have, sensitivities of classes last.

    Limits of intervals, p-values and thresholds are no metrics: they have no mean.
    """
    names = dict.fromkeys(name for row in everything for name in row)
    return [*registry.BY_NAME, *(name for name in names if name.startswith(f"{BY_CLASS}/"))]


def _statistics(
    repeats: Sequence[Mapping[str, Any]], metrics: Sequence[str]
) -> dict[str, float | int]:
    """Mean, standard deviation and number of the repeats in which a metric is defined."""
    result: dict[str, float | int] = {}
    for metric in metrics:
        values = [float(row[metric]) for row in repeats if style.is_number(row.get(metric))]
        result[f"{metric}_mean"] = statistics.fmean(values) if values else math.nan
        # Exact: of equal numbers it is 0, not what rounding leaves.
        result[f"{metric}_sd"] = statistics.stdev(values) if len(values) > 1 else math.nan
        result[f"{metric}_n"] = len(values)
    return result
