"""The precision-recall curves of all models, one panel per task.

They are the ROC curves in other coordinates. Between two of its points an ROC curve is straight,
and a precision-recall curve is not: J. Davis, M. Goadrich, "The relationship between
Precision-Recall and ROC curves", ICML 2006. So the points in between are calculated, too. The area
under what is drawn may differ a little from the AUPR of the table, which is the average precision,
in steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
import numpy as np

from tffcxr.report import style
from tffcxr.report.figures import curve_panels
from tffcxr.report.figures.roc_figure import Curve

_BETWEEN = 20  # Points for each straight piece of an ROC curve.


def draw(all_curves: Sequence[Curve]) -> matplotlib_figure.Figure | None:
    """Draws the curves whose prevalence is known, or returns None without any."""
    return curve_panels.draw([c for c in all_curves if _prevalence(c) > 0], _draw_panel)


def points(curve: Curve, prevalence: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns recall and precision, [points] each, recall rising.

    Args:
      curve: from 0, 0 to 1, 1.
      prevalence: the fraction of positive images, above 0.
    """
    places = np.arange(len(curve.sensitivity))
    fine = np.linspace(0, places[-1], _BETWEEN * places[-1] + 1)
    recall = np.interp(fine, places, curve.sensitivity)
    false_positive_rate = np.interp(fine, places, curve.false_positive_rate)
    true, false = prevalence * recall, (1 - prevalence) * false_positive_rate
    is_called = true + false > 0  # The curve begins where no image is called positive.
    return recall[is_called], true[is_called] / (true + false)[is_called]


def _prevalence(curve: Curve) -> float:
    """The fraction of positive images, 0 if it is not known."""
    images: Any = curve.row.get("images")
    positives: Any = curve.row.get("positives")
    known = style.is_number(images) and style.is_number(positives) and images
    return positives / images if known else 0.0


def _draw_panel(axes: matplotlib_axes.Axes, task: str, of_task: Sequence[Curve]) -> None:
    prevalence = _prevalence(of_task[0])
    look_of_chance = {"color": "#999999", "linewidth": 1, "linestyle": (0, (4, 4))}
    label = f"Prevalence: {style.number(prevalence)}"
    axes.plot([0, 1], [prevalence, prevalence], label=label, **look_of_chance)
    for curve, look in curve_panels.looks(of_task):
        recall, precision = points(curve, _prevalence(curve))
        value = style.with_interval(curve.row, "aupr")
        axes.plot(
            recall,
            precision,
            color=look.colour,
            linestyle=look.line_style,
            label=f"{look.label}: {value}",
        )
        row = curve.row
        if style.is_number(row.get("sensitivity")) and style.is_number(row.get("ppv")):
            curve_panels.mark(axes, row["sensitivity"], row["ppv"], look)
    axes.set(xlabel="Recall (sensitivity)", ylabel="Precision (positive predictive value)")
    curve_panels.finish(axes, task, of_task, "AUPR")
