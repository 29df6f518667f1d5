"""The ROC curves of all models, one panel per task."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import Any

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
import numpy as np
import pandas as pd
from sklearn import metrics as sklearn_metrics

from tffcxr.report import results_table, run_reader, style
from tffcxr.report.figures import curve_panels


@dataclasses.dataclass(frozen=True)
class Curve:
    """The ROC curve of one model on one test set.

    Attributes:
      title: what the curve shares with those that it is compared with.
      row: the model's row of `metrics.json`.
      false_positive_rate: [points], 0..1, rising.
      sensitivity: [points], 0..1, rising.
      auroc: the area under these points, to compare with the row's.
    """

    title: str
    row: dict[str, Any]
    false_positive_rate: np.ndarray
    sensitivity: np.ndarray
    auroc: float


def curves(run: run_reader.Run) -> list[Curve]:
    """Computes a curve for every row that has predictions of both classes.

    A run without results yet gets a curve per task, training, client and split. A shared copy has
    the points of the curves in place of predictions.
    """
    if run.predictions.empty:
        return _curves_of_points(run)
    result = []
    for title, rows in results_table.blocks(
        results_table.in_order(run.rows or _rows_of(run.predictions), run.kind)
    ):
        for row in rows:
            alike = [other for other in rows if other["training"] == row["training"]]
            chosen = predictions_of(row, run.predictions, by_client=len(alike) > 1)
            if chosen["label"].nunique() != 2:
                continue
            false_positive_rate, sensitivity, _ = sklearn_metrics.roc_curve(
                chosen["label"], chosen["score"]
            )
            area = float(sklearn_metrics.auc(false_positive_rate, sensitivity))
            result.append(Curve(title, row, false_positive_rate, sensitivity, area))
    return result


def curves_elsewhere(run: run_reader.Run) -> list[Curve]:
    """The same for the images of sites that were not trained on."""
    return curves(dataclasses.replace(run, rows=run.external)) if run.external else []


def as_table(all_curves: Sequence[Curve]) -> pd.DataFrame:
    """Returns a row per point of every curve, without any threshold: the `roc.csv` of a copy."""
    parts = [
        pd.DataFrame(
            {
                "task": curve.row["task"],
                "model": str(curve.row.get("model", "")),
                "training": curve.row["training"],
                "client": results_table.client(curve.row),
                "split": curve.row["split"],
                "false_positive_rate": curve.false_positive_rate,
                "sensitivity": curve.sensitivity,
            }
        )
        for curve in all_curves
    ]
    return pd.concat(parts, ignore_index=True)


def _curves_of_points(run: run_reader.Run) -> list[Curve]:
    """Returns the curves whose points are known."""
    result = []
    rows = run.rows or _rows_of(run.roc)
    for title, block in results_table.blocks(results_table.in_order(rows, run.kind)):
        for row in block:
            mine = run.roc["client"] == results_table.client(row)
            for key in _keys(run.roc, by_client=False):
                mine &= run.roc[key] == row[key]
            points = run.roc[mine]
            if len(points) > 1:
                rate, sensitivity = points["false_positive_rate"], points["sensitivity"]
                area = float(sklearn_metrics.auc(rate, sensitivity))
                result.append(Curve(title, row, rate.to_numpy(), sensitivity.to_numpy(), area))
    return result


def draw(all_curves: list[Curve]) -> matplotlib_figure.Figure | None:
    """Draws the curves on each task's first split (the test set), or returns None without any.

    All networks are in one panel, as in Figure 2 of Kulkarni et al., "From Competition to
    Collaboration: Making Toy Datasets on Kaggle Clinically Useful for Chest X-Ray Diagnosis Using
    Federated Learning", arXiv 2211.06212.
    """
    return curve_panels.draw(all_curves, _draw_panel)


def _draw_panel(axes: matplotlib_axes.Axes, task: str, of_task: Sequence[Curve]) -> None:
    """Draws one task."""
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=(0, (4, 4)), label="Chance")
    for curve, look in curve_panels.looks(of_task):
        row = curve.row
        value = style.with_interval({"auroc": curve.auroc, **row}, "auroc")
        axes.plot(
            curve.false_positive_rate,
            curve.sensitivity,
            color=look.colour,
            linestyle=look.line_style,
            label=f"{look.label}: {value}",
        )
        if style.is_number(row.get("sensitivity")) and style.is_number(row.get("specificity")):
            curve_panels.mark(axes, 1 - row["specificity"], row["sensitivity"], look)
    axes.set(xlabel="1 − specificity", ylabel="Sensitivity")
    curve_panels.finish(axes, task, of_task, "AUROC")


def predictions_of(row: dict[str, Any], predictions: pd.DataFrame, by_client: bool) -> pd.DataFrame:
    """Returns the predictions that a row was computed from.

    Args:
      row: of `metrics.json`.
      predictions: of all models.
      by_client: whether other rows differ from this one in their client alone. Otherwise the row
        is about all clients of its site, whatever they are called.
    """
    # A run of several networks names each.
    keys = _keys(predictions, by_client)
    is_mine = np.isfinite(predictions["label"]) & np.isfinite(predictions["score"])
    for key in keys:
        is_mine &= predictions[key] == row[key]
    return predictions[is_mine]


def _keys(table_of_run: pd.DataFrame, by_client: bool) -> list[str]:
    """Returns the columns that tell one model's part of a table from the others'."""
    keys = ["task", "training", "split"]
    return [*keys, *["client"] * by_client, *["model"] * ("model" in table_of_run)]


def _rows_of(predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns a row without metrics for each model and client of the predictions."""
    return predictions[_keys(predictions, by_client=True)].drop_duplicates().to_dict("records")
