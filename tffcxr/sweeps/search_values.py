"""What a search reads of a run, while it trains and when it is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import csv
import dataclasses
import io
import math
import pathlib

from tffcxr import errors, run_tables
from tffcxr.evaluation import registry
from tffcxr.report import run_files
from tffcxr.sweeps import sweep_results

_FEDERATED = "federated"


@dataclasses.dataclass(frozen=True)
class Measured:
    """The metric of a run so far.

    Attributes:
      values: by round, the mean over all columns of the metric; rounds in which one of them is
        undefined are left out.
      is_by_round: whether they become known round by round, so that the run can be stopped early.
    """

    values: Mapping[int, float]
    is_by_round: bool


def check_metric(metric: str) -> None:
    """Checks that a metric is known, and with it whether more or less of it is better.

    Raises:
      errors.InputError: it is not.
    """
    if registry.of_column(metric) is None:
        raise errors.InputError(
            f"--search: expected a metric ({', '.join(registry.BY_NAME)}) or its column of "
            f"rounds.csv, found {metric!r}"
        )


def read(folder: pathlib.Path, metric: str) -> Measured:
    """Reads the metric from the tables that a run has written so far.

    A run that trains several models one after the other joins their tables when all are trained.
    Until then, only a metric that names the column of one model is known.

    Args:
      folder: the run's; it may not be there yet.
      metric: a column of `rounds.csv`, or its end, for all such columns.

    Raises:
      errors.InputError: `rounds.csv` has no such column.
    """
    variants = [
        folder / path.name.replace("clients", "rounds") for path in folder.glob("clients_*.csv")
    ]
    for file in variants:
        columns, rows = _read(file)
        if metric in columns:
            return Measured(_means(rows, [metric]), is_by_round=True)
    columns, rows = _read(folder / run_tables.ROUNDS.file)
    if not columns:
        return Measured({}, is_by_round=not variants)
    found = sweep_results.matching(columns, metric)
    if not found:
        known = [name for name in columns if registry.of_column(name)]
        ends = dict.fromkeys(name.rpartition("/")[2] for name in known if "/" in name)
        raise errors.InputError(
            f"--search: expected one of {', '.join([*known, *ends])} of rounds.csv, "
            f"found {metric!r}"
        )
    return Measured(_means(rows, found), is_by_round=not variants)


def final_value(folder: pathlib.Path, metric: str, values: Mapping[int, float]) -> float:
    """The value of a complete run: that of the model that it keeps.

    That is the value of the last round or, with --report_round=best, the best value.

    Args:
      folder: of a complete run.
      metric: see `read`.
      values: of `Measured`.

    Returns:
      NaN if the metric is undefined in every round.
    """
    if not values:
        return math.nan
    if not keeps_best_round(folder):
        return values[max(values)]
    return min(values.values()) if registry.is_lower_better(metric) else max(values.values())


def keeps_best_round(folder: pathlib.Path) -> bool:
    """Whether a complete run keeps the model of its best round, not of its last one."""
    rows = run_files.read_json(folder / "metrics.json").get("rows", [])
    # Rows of earlier versions name a round only where it is the best.
    return any(
        row.get("training") == _FEDERATED
        and row.get("report_round", "best" if "round" in row else "last") == "best"
        for row in rows
    )


def measured_split(folder: pathlib.Path, metric: str) -> str:
    """The images that a metric of a run is of: "training", "validation" or "test"."""
    if registry.of_column(metric) is registry.TRAIN_LOSS:
        return "training"
    derived = run_files.read_json(folder / "config.json").get("derived", {})
    return str(derived.get("measured_split") or "validation")


def _read(path: pathlib.Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and the finished rows of a table that may be growing; none if it is not there."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return [], []
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    return list(reader.fieldnames or []), list(reader)


def _means(rows: list[dict[str, str]], columns: list[str]) -> dict[int, float]:
    def pairs() -> Iterator[tuple[int, float]]:
        for row in rows:
            numbers = [float(row[column] or "nan") for column in columns]
            yield int(row["round"]), sum(numbers) / len(numbers)

    return {number: value for number, value in sorted(pairs()) if math.isfinite(value)}
