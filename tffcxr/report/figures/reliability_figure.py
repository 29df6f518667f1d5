"""Reliability diagrams of the federated models, with the number of images in each bin.

Where scores were scaled, also before they were.
"""

from __future__ import annotations

from collections.abc import Iterator
import textwrap
from typing import Any, NamedTuple

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
from matplotlib import ticker
import numpy as np
from scipy import special

from tffcxr.evaluation import calibration
from tffcxr.report import results_table, run_reader, style
from tffcxr.report.figures import panels, roc_figure

_COLUMNS = 4
_TITLE_WIDTH = 30  # Characters.
_HEIGHTS = (3.6, 1.2)  # Inches, of a diagram with its legend and of the counts above it.


class _Images(NamedTuple):
    """Test images of a model.

    Attributes:
      outcomes: [N], what scores are probabilities of.
      before: [N], the scores before scaling; None if they were not scaled.
      scores: [N].
    """

    outcomes: np.ndarray
    before: np.ndarray | None
    scores: np.ndarray


def draw(run: run_reader.Run) -> matplotlib_figure.Figure | None:
    """Draws a panel for every federated model and test set, or returns None without any."""
    found = list(_panels(run))
    if not found:
        return None
    columns = min(_COLUMNS, len(found))
    lines = -(-len(found) // columns)
    with panels.style():
        figure, grid = panels.panels(2 * lines, columns, 3.0, sum(_HEIGHTS) / 2, _HEIGHTS[::-1])
        # In each line of the grid, the counts are above the diagrams.
        cells = [pair for line in range(lines) for pair in zip(*grid[2 * line : 2 * line + 2])]
        for (counts, axes), (title, images) in zip(cells, found):
            _draw_counts(counts, title, images)
            _draw_diagram(axes, images)
        for pair in cells[len(found) :]:
            for axes in pair:
                axes.set_visible(False)
    return figure


def _panels(run: run_reader.Run) -> Iterator[tuple[str, _Images]]:
    for row in results_table.in_order(run.rows, run.kind):
        if row["training"] != "federated" or row["split"] != "test":
            continue
        images = _of_classes(row, run) if "classes" in row else _of_finding(row, run)
        if images is not None and len(images.outcomes):
            title = row["name"] if "classes" in row else str(row["title"]).partition(" (")[0]
            if "classes" not in row and len({r.get("model") for r in run.rows}) > 1:
                title += f", {style.model_name(str(row['model']))}"
            yield title, images


def _of_finding(row: dict[str, Any], run: run_reader.Run) -> _Images | None:
    """The probability of the finding."""
    if run.predictions.empty or "auroc" not in row:
        return None
    mine = roc_figure.predictions_of(row, run.predictions, by_client=False)
    scores = mine["score"].to_numpy(float)
    before = None
    if style.is_number(row.get("temperature")):
        logits = (special.logit(scores) - row.get("calibration_bias", 0.0)) * row["temperature"]
        before = special.expit(logits)
    return _Images(mine["label"].to_numpy(float), before, scores)


def _of_classes(row: dict[str, Any], run: run_reader.Run) -> _Images | None:
    """The probability of the predicted class, and whether it is the true one."""
    table = run.class_predictions
    mine = table[
        (table["model"] == row["model"])
        & (table["images_kind"] == row.get("images_kind", "full"))
        & (table["training"] == row["training"])
    ]
    columns = [f"probability: {name}" for name in row["classes"]]
    if mine.empty or not set(columns) <= set(mine.columns):
        return None
    after = mine[columns].to_numpy(float)
    before = None
    if style.is_number(row.get("temperature")):
        with np.errstate(divide="ignore"):
            before = special.softmax(np.log(after) * row["temperature"], axis=1).max(axis=1)
    truth = mine["class"].map({name: i for i, name in enumerate(row["classes"])}).to_numpy()
    is_right, score = calibration.top_label(truth, after)
    return _Images(is_right, before, score)


def _draw_counts(axes: matplotlib_axes.Axes, title: str, images: _Images) -> None:
    """Draws how many images each bin holds."""
    bins = calibration.BINS
    counts = np.bincount(calibration.bin_of(images.scores), minlength=bins)
    axes.bar(
        (np.arange(bins) + 0.5) / bins, counts, 0.9 / bins, color=style.training_colour("federated")
    )
    axes.set(xlim=(-0.03, 1.03), title=textwrap.fill(title, _TITLE_WIDTH), ylabel="Images")
    axes.yaxis.set_major_locator(ticker.MaxNLocator(nbins=2, integer=True))
    axes.tick_params(labelbottom=False)


def _draw_diagram(axes: matplotlib_axes.Axes, images: _Images) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=(0, (4, 4)))
    federated: dict[str, Any] = {"color": style.training_colour("federated")}
    lines: list[tuple[str, np.ndarray, dict[str, Any]]] = [("", images.scores, federated)]
    if images.before is not None:
        grey = {"color": "#999999", "linestyle": "--"}
        lines = [
            ("before scaling: ", images.before, grey), ("after scaling: ", images.scores, federated)
        ]  # fmt: skip
    for name, scores, look in lines:
        found = calibration.reliability(images.outcomes, scores)
        label = f"{name}{found.error:.3f}"
        look = {**look, "linewidth": 1.2, "marker": "o", "markersize": 3}
        axes.plot(found.score, found.fraction, label=label, **look)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.set(xlabel="Mean probability", ylabel="Fraction of images")
    axes.legend(
        title="Calibration error", loc="upper left", bbox_to_anchor=(-0.04, -0.18),
        alignment="left", title_fontsize=8,
    )  # fmt: skip
