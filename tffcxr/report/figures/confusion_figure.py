"""Which class is taken for which: a confusion matrix per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import textwrap
from typing import Any

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
import numpy as np

from tffcxr.report import style
from tffcxr.report.figures import panels

_COLUMNS, _COLUMNS_OF_MANY = 2, 4
_MANY = 8  # Matrices that a page still shows in two columns.
_CELL, _CELL_OF_MANY = 0.95, 0.62  # Inches; in four columns the page shrinks the figure.
_NAME_WIDTH = 14
_COLOUR_MAP = "Blues"
_EDGE_COLOUR = "#D9DDE2"
# Above this share of a row the colour is so dark that the numbers are white.
_DARK = 0.65


def draw(rows: Sequence[Mapping[str, Any]]) -> matplotlib_figure.Figure | None:
    """Draws a matrix per row of `table.in_order` that has one, or returns None without any.

    Rows of a matrix are the true classes, columns the predicted ones. A cell has the number of
    images and their share of the true class, which its colour shows too.
    """
    rows = [row for row in rows if "confusion" in row]
    if not rows:
        return None
    is_many = len(rows) > _MANY
    columns = min(_COLUMNS_OF_MANY if is_many else _COLUMNS, len(rows))
    side = 1.6 + (_CELL_OF_MANY if is_many else _CELL) * max(
        2, *(len(row["classes"]) for row in rows)
    )
    with panels.style():
        figure, grid = panels.panels(-(-len(rows) // columns), columns, side, side)
        cells = [axes for line in grid for axes in line]
        for axes, row in zip(cells, rows):
            _draw_matrix(axes, row)
        for axes in cells[len(rows) :]:
            axes.set_visible(False)
    return figure


def _draw_matrix(axes: matplotlib_axes.Axes, row: Mapping[str, Any]) -> None:
    """Draws one matrix."""
    counts = np.asarray(row["confusion"], float)  # [true class, predicted class]
    of_class = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, of_class, out=np.full_like(counts, np.nan), where=of_class > 0)
    axes.imshow(np.nan_to_num(shares), cmap=_COLOUR_MAP, vmin=0, vmax=1)
    for edge in np.arange(len(counts) + 1) - 0.5:
        axes.axhline(edge, color=_EDGE_COLOUR, linewidth=1.5)
        axes.axvline(edge, color=_EDGE_COLOUR, linewidth=1.5)
    for (true, predicted), count in np.ndenumerate(counts):
        share = shares[true, predicted]
        axes.text(
            predicted, true, f"{count:.0f}\n{style.percent(float(share))}",
            ha="center", va="center", color="white" if share > _DARK else "#222222",
        )  # fmt: skip
    names = [textwrap.fill(name, _NAME_WIDTH) for name in row["classes"]]
    positions = range(len(names))
    totals = [f"{name}\n(n = {total:.0f})" for name, total in zip(names, of_class[:, 0])]
    axes.set_xticks(positions, labels=names)
    axes.set_yticks(positions, labels=totals)
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    accuracy = f"accuracy {style.number(row.get('accuracy'))}"
    axes.set(
        xlabel="Predicted", ylabel="True", title=f"{row['name']}\n{row['split']} images, {accuracy}"
    )
