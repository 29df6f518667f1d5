"""Reliability diagrams of the federated models, before and after their scores were scaled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
import numpy as np
from scipy import special

from tffcxr.evaluation import calibration
from tffcxr.report import results_table, run_reader, style
from tffcxr.report.figures import panels, roc_figure

_COLUMNS = 4
_LARGEST, _SMALLEST = 60.0, 4.0  # Areas of dots, in square points.
# Outcomes of images and their scores, before and after scaling.
_Images = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw(run: run_reader.Run) -> matplotlib_figure.Figure | None:
    """Draws a panel for every federated model that was calibrated, or returns None without any."""
    found = list(_panels(run))
    if not found:
        return None
    columns = min(_COLUMNS, len(found))
    with panels.style():
        figure, grid = panels.panels(-(-len(found) // columns), columns, 3.0, 3.6)
        cells = [axes for row in grid for axes in row]
        for axes, (title, images) in zip(cells, found):
            _draw_panel(axes, title, images)
        for axes in cells[len(found) :]:
            axes.set_visible(False)
    return figure


def _panels(run: run_reader.Run) -> Iterator[tuple[str, _Images]]:
    for row in results_table.in_order(run.rows, run.kind):
        is_shown = row["training"] == "federated" and row["split"] == "test"
        if not is_shown or not style.is_number(row.get("temperature")):
            continue
        images = _of_classes(row, run) if "classes" in row else _of_finding(row, run)
        if len(images[0]):
            title = row["name"] if "classes" in row else str(row["title"]).partition(" (")[0]
            if "classes" not in row and len({r.get("model") for r in run.rows}) > 1:
                title += f", {style.model_name(str(row['model']))}"
            yield title, images


def _of_finding(row: dict[str, Any], run: run_reader.Run) -> _Images:
    """The probability of the finding."""
    mine = roc_figure.predictions_of(row, run.predictions, by_client=False)
    scores = mine["score"].to_numpy(float)
    logits = (special.logit(scores) - row.get("calibration_bias", 0.0)) * row["temperature"]
    return mine["label"].to_numpy(float), special.expit(logits), scores


def _of_classes(row: dict[str, Any], run: run_reader.Run) -> _Images:
    """The probability of the predicted class, and whether it is the true one."""
    table = run.class_predictions
    mine = table[
        (table["model"] == row["model"])
        & (table["images_kind"] == row.get("images_kind", "full"))
        & (table["training"] == row["training"])
    ]
    columns = [f"probability: {name}" for name in row["classes"]]
    if mine.empty or not set(columns) <= set(mine.columns):
        nothing = np.zeros(0)
        return nothing, nothing, nothing
    after = mine[columns].to_numpy(float)
    with np.errstate(divide="ignore"):
        before = special.softmax(np.log(after) * row["temperature"], axis=1)
    truth = mine["class"].map({name: i for i, name in enumerate(row["classes"])}).to_numpy()
    is_right, score = calibration.top_label(truth, after)
    return is_right, before.max(axis=1), score


def _draw_panel(axes: matplotlib_axes.Axes, title: str, images: _Images) -> None:
    outcomes, before, after = images
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=(0, (4, 4)))
    for name, scores, look in (
        ("before", before, {"color": "#999999", "linestyle": "--"}),
        ("after", after, {"color": style.training_colour("federated")}),
    ):
        found = calibration.reliability(outcomes, scores)
        label = f"{name} scaling: {found.error:.3f}"
        axes.plot(found.score, found.fraction, linewidth=1.2, label=label, **look)
        sizes = np.maximum(_SMALLEST, _LARGEST * found.images / found.images.sum())
        axes.scatter(found.score, found.fraction, s=sizes, color=look["color"], zorder=3)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal", title=title)
    axes.set(xlabel="Mean probability", ylabel="Fraction of images")
    axes.legend(
        title="Calibration error", loc="upper left", bbox_to_anchor=(-0.04, -0.18),
        alignment="left", title_fontsize=8,
    )  # fmt: skip
