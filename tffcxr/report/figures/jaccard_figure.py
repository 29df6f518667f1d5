"""How the overlap with the truth differs between images or cases: a mean hides the failures."""

from __future__ import annotations

from matplotlib import figure as matplotlib_figure
import numpy as np
import pandas as pd

from tffcxr.evaluation.registry import JACCARD, Metric
from tffcxr.report import style
from tffcxr.report.figures import panels

# Below this less than half of what truth and mask cover together is covered by both.
FAILURE = 0.5
# With more images than this dots would run into each other.
_IMAGES_WITH_DOTS = 150
_COLUMNS = 3


def draw(
    masks: pd.DataFrame, metric: Metric = JACCARD, unit: str = "image"
) -> matplotlib_figure.Figure | None:
    """Draws each image's Jaccard, sorted, a panel per task and a line per training.

    Args:
      masks: `masks.csv`, or `cases.csv`.
      metric: whose column it is.
      unit: what a row is of, "image" or "case".

    Returns:
      None if nothing has a value.
    """
    known = masks[np.isfinite(masks[metric.name])]
    tasks = [str(task) for task in known["task"].drop_duplicates()]
    if not tasks:
        return None
    columns = min(_COLUMNS, len(tasks))
    with panels.style():
        figure, grid = panels.panels(-(-len(tasks) // columns), columns, 5.2, 3.6)
        cells = [axes for row in grid for axes in row]
        for axes, task in zip(cells, tasks):
            of_task = known[known["task"] == task]
            for training in sorted(of_task["training"].unique(), key=style.training_order):
                values = np.sort(of_task.loc[of_task["training"] == training, metric.name])
                axes.plot(
                    (np.arange(len(values)) + 0.5) / len(values) * 100,
                    values,
                    color=style.training_colour(training),
                    label=_label(training, values),
                    marker="o" if len(values) <= _IMAGES_WITH_DOTS else None,
                    markersize=3.5,
                    linewidth=1,
                )
            axes.axhline(FAILURE, color="#999999", linewidth=1, linestyle=(0, (4, 4)))
            axes.set(
                title=f"{task}: {metric.title} of each {unit}", ylabel=metric.title,
                xlabel=f"{unit.capitalize()}s, worst to best (%)",
                xlim=(-2, 102), ylim=(-0.02, 1.02),
            )  # fmt: skip
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16))
        for axes in cells[len(tasks) :]:
            axes.set_visible(False)
    return figure


def _label(training: str, values: np.ndarray) -> str:
    """Returns a line of the legend: how many images, their median, how many failures."""
    return (
        f"{style.training_name(training)} (n = {len(values)}): median {np.median(values):.3f}, "
        f"{np.count_nonzero(values < FAILURE)} below {FAILURE}"
    )
