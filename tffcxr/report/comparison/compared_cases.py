"""The single test cases that a row of results is of, with what the model made of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.evaluation import (
    calibration,
    class_intervals,
    finding_intervals,
    metrics,
    registry,
    resampling,
)
from tffcxr.report import results_table, run_reader, style
from tffcxr.report.comparison.image_names import ImageNames, NotPairedError, order_of
from tffcxr.report.figures import roc_figure

BY_CLASS = "sensitivity: "  # Before the name of a class.
# A larger difference than rounding makes between two computations of a mean, of values up to 1.
_TOLERANCE = 1e-3
_HAS_DETECTION = registry.SPECIFICITY.name


@dataclasses.dataclass(frozen=True)
class Cases:
    """The test cases of a row, in the order of their names.

    Attributes:
      names: object [N], different ones.
      patients: object [N].
      truth: object [N], what is known of each case; NaN for nothing.
      values: by metric, float64 [N], whose mean is the metric; NaN where a case has no value.
      statistics: by metric, what is calculated of all cases together.
      scores: [N], of a finding; None for other kinds.
    """

    names: np.ndarray
    patients: np.ndarray
    truth: np.ndarray
    values: Mapping[str, np.ndarray]
    statistics: Mapping[str, resampling.Statistic] = dataclasses.field(default_factory=dict)
    scores: np.ndarray | None = None


def of_row(run: run_reader.Run, names: ImageNames, row: Mapping[str, Any]) -> Cases:
    """Returns the cases of a row of `metrics.json`.

    Raises:
      NotPairedError: the run does not keep or name them, or they are of another evaluation.
    """
    cases = _READERS[run.kind.name](run, names, row)
    for metric, values in cases.values.items():
        stated: Any = row.get(metric)
        known = values[~np.isnan(values)]
        if not style.is_number(stated) or not known.size:
            continue
        if abs(float(known.mean()) - stated) > _TOLERANCE * max(1.0, abs(stated)):
            raise NotPairedError(
                f"its tables of single images give another {metric} than metrics.json"
            )
    return cases


def _findings(run: run_reader.Run, names: ImageNames, row: Mapping[str, Any]) -> Cases:
    alike = [
        other
        for other in (*run.rows, *run.external)
        if all(other.get(key) == row.get(key) for key in ("task", "training", "split", "model"))
    ]
    table = roc_figure.predictions_of(dict(row), run.predictions, by_client=len(alike) > 1)
    table, found = _named(table, names, run_tables.PREDICTIONS)
    positive, scores = table["label"].to_numpy() == 1, table["score"].to_numpy(float)
    threshold: Any = row.get("threshold")
    threshold = float(threshold) if style.is_number(threshold) else float("nan")
    values = {
        "loss": metrics.losses(positive, scores),
        "brier": (scores - positive) ** 2,
    }
    statistics = finding_intervals.resampled_metrics(positive, scores, threshold)
    for name, (hits, trials) in metrics.proportions(positive, scores, threshold).items():
        if name in ("ppv", "npv"):  # Two models call other images so.
            statistics[name] = resampling.share(hits, trials)
        else:
            values[name] = np.where(trials, hits.astype(float), np.nan)
    return Cases(*found, positive.astype(object), values, statistics, scores)


def _classes(run: run_reader.Run, names: ImageNames, row: Mapping[str, Any]) -> Cases:
    table = run.class_predictions
    if row["split"] != "test":
        raise NotPairedError(f"scores of single {row['split']} images are not kept")
    mine = (table["model"] == row.get("model")) & (table["training"] == row["training"])
    mine &= table["images_kind"] == row.get("images_kind", "full")
    table, found = _named(table[mine], names, run_tables.CLASS_PREDICTIONS)
    classes = list(row.get("classes") or ())
    columns = [f"probability: {name}" for name in classes]
    if not columns or not {*columns} <= {*table} or not table["class"].isin(classes).all():
        raise NotPairedError(
            f"{run_tables.CLASS_PREDICTIONS.file} has other classes than metrics.json"
        )
    truth = np.array([classes.index(name) for name in table["class"]])
    probabilities = table[columns].to_numpy(float)
    called = probabilities.argmax(axis=1)
    right = (called == truth).astype(float)
    with np.errstate(divide="ignore"):
        losses = -np.log(probabilities[np.arange(len(truth)), truth])
    values = {
        "accuracy": right,
        "loss": np.where(np.isfinite(losses), losses, np.nan),
        "brier": calibration.class_brier_scores(truth, probabilities),
        **{
            f"{BY_CLASS}{name}": np.where(truth == place, right, np.nan)
            for place, name in enumerate(classes)
        },
    }
    statistics = class_intervals.resampled_metrics(truth, called, len(classes))
    return Cases(*found, table["class"].to_numpy(object), values, statistics)


def _masks(run: run_reader.Run, names: ImageNames, row: Mapping[str, Any]) -> Cases:
    table = run.masks
    mine = (table["task"] == row["task"]) & (table["training"] == row["training"])
    if results_table.client(row):
        mine &= table["client"] == results_table.client(row)
    table, found = _named(table[mine], names, run_tables.MASKS)
    values = {name: table[name].to_numpy(float) for name in ("jaccard", "dice", "loss")}
    if _HAS_DETECTION in row:
        has_region = table["truth_area"].to_numpy() > 0
        right = ((table["predicted_area"].to_numpy() > 0) == has_region).astype(float)
        values["sensitivity"] = np.where(has_region, right, np.nan)
        values["specificity"] = np.where(has_region, np.nan, right)
    return Cases(*found, np.full(len(table), np.nan, object), values)


def _volumes(run: run_reader.Run, names: ImageNames, row: Mapping[str, Any]) -> Cases:
    table = run.cases[run.cases["training"] == row["training"]]
    tasks = list(dict.fromkeys(table["task"]))
    wanted = [row["task"]] if row["task"] in tasks else tasks  # That of all domains has none.
    parts = []
    for task in wanted:
        mine = table[table["task"] == task].sort_values("case").reset_index(drop=True)
        cases = names.of_cases(task)
        if len(cases) != len(mine) or not len(mine):
            raise NotPairedError(
                f"{run_tables.CASES.file} has other test cases than its table of images"
            )
        parts.append(pd.concat([cases, mine], axis=1))
    if not parts:
        raise NotPairedError(f"it has no scores of single cases ({run_tables.CASES.file})")
    joined = pd.concat(parts, ignore_index=True)
    joined = joined.iloc[order_of(list(joined["name"]))]
    measured = [name for name in ("dice", "overlap", "boundary_overlap") if name in joined]
    values = {name: joined[name].to_numpy(float) for name in measured}
    nothing = np.full(len(joined), np.nan, object)
    return Cases(
        joined["name"].to_numpy(object), joined["person"].to_numpy(object), nothing, values
    )


def _named(
    table: pd.DataFrame, names: ImageNames, schema: run_tables.Table
) -> tuple[pd.DataFrame, tuple[np.ndarray, np.ndarray]]:
    """Sorts a table of single images by their names, and returns these and their patients."""
    if table.empty:
        raise NotPairedError(f"it has no scores of these images ({schema.file})")
    found = names.of_rows(list(table["client"]), list(table["row"]))
    order = order_of(list(found["name"]))
    found = found.iloc[order]
    named = found["name"].to_numpy(object), found["person"].to_numpy(object)
    return table.iloc[order].reset_index(drop=True), named


_READERS: dict[str, Callable[[run_reader.Run, ImageNames, Mapping[str, Any]], Cases]] = {
    "findings": _findings,
    "classes": _classes,
    "masks": _masks,
    "volumes": _volumes,
}
