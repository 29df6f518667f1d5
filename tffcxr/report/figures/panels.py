"""What all figures share: type, size, and how they become a PNG."""

from __future__ import annotations

from collections.abc import Sequence
import io
from typing import Any

import matplotlib
from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
from matplotlib.backends import backend_agg
import numpy as np

_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    # A dollar sign in the name of a finding is a dollar sign.
    "text.parse_math": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.labelcolor": "#222222",
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.6,
}
_DOTS_PER_INCH = 150


def style() -> matplotlib.RcParams:
    """Returns the context in which a figure is built, so that no global setting changes."""
    return matplotlib.rc_context(_STYLE)


def panels(
    rows: int, columns: int, width: float, height: float, heights: Sequence[float] = (1.0,)
) -> tuple[matplotlib_figure.Figure, list[list[matplotlib_axes.Axes]]]:
    """Returns a figure with a grid of panels.

    The figure is made without pyplot, which would keep every figure in a global list.

    Args:
      rows: of panels.
      columns: of panels.
      width: of a panel, in inches.
      height: the mean of the rows, in inches.
      heights: of the rows, as they share the height; repeated for further rows.
    """
    figure = matplotlib_figure.Figure(
        figsize=(width * columns, height * rows), layout="constrained", facecolor="white"
    )
    backend_agg.FigureCanvasAgg(figure)
    ratios = [heights[row % len(heights)] for row in range(rows)]
    return figure, figure.subplots(rows, columns, squeeze=False, height_ratios=ratios).tolist()


def blank(axes: matplotlib_axes.Axes) -> None:
    """Removes everything around an image."""
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def outline(axes: matplotlib_axes.Axes, region: np.ndarray | None, **line: Any) -> None:
    """Draws the outline of a region, bool [S, S], if it has one.

    Args:
      axes: with the image.
      region: None if it is unknown.
      **line: `color`, `linewidth` and `linestyle`.
    """
    if region is not None and region.any() and not region.all():
        axes.contour(region, levels=[0.5], **{f"{key}s": value for key, value in line.items()})


def png(figure: matplotlib_figure.Figure) -> bytes:
    """Returns a figure as PNG."""
    buffer = io.BytesIO()
    # Without the version of matplotlib, equal results give equal bytes.
    figure.savefig(
        buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None},
        bbox_inches="tight", pad_inches=0.08,
    )  # fmt: skip
    return buffer.getvalue()
