"""Who holds what: the training images of each client by class, as counts and as shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import textwrap
from typing import Any

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
from matplotlib import ticker
import numpy as np

from tffcxr.report import style
from tffcxr.report.figures import panels

PREFIX = "train: "  # Of the columns of a client's row that count the images of a class.
_WIDTH = 4.4  # Inches, of a panel.
_ROW = 0.17  # Inches, the least height of a client at which its name can be read.
_ROOM = 1.5  # Inches, for title, axis and legend.
_NAME_WIDTH = 28


def draw(
    clients: Sequence[Mapping[str, Any]], classes: Sequence[str] = ()
) -> matplotlib_figure.Figure | None:
    """Draws a bar per client in two panels, or returns None for one client or one class.

    Args:
      clients: rows of `config.json`'s `sites` with a "client" and a count for each "train: CLASS",
        in the order of the figure. A count that is missing is not drawn, nor are rows without any.
      classes: in their order; any others come after them.
    """
    clients = [row for row in clients if any(key.startswith(PREFIX) for key in row)]
    found = dict.fromkeys(key for row in clients for key in row if key.startswith(PREFIX))
    named = [PREFIX + name for name in classes if PREFIX + name in found]
    names = [*named, *(name for name in found if name not in named)]
    if len(clients) < 2 or len(names) < 2:
        return None
    counts = np.array(
        [[row[name] if style.is_number(row.get(name)) else 0 for name in names] for row in clients],
        float,
    )  # [client, class]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    height = _ROOM + max(_ROW * len(clients), 0.34 * min(len(clients), 6))
    with panels.style():
        figure, ((left, right),) = panels.panels(1, 2, _WIDTH, height)
        _draw_bars(left, counts, names)
        _draw_bars(right, shares, names)
        _write_totals(left, totals[:, 0])
        _mark_overall(right, counts.sum(axis=0))
        labels = [textwrap.shorten(str(row.get("client", "")), _NAME_WIDTH) for row in clients]
        left.set_yticks(range(len(clients)), labels=labels)
        right.set_yticks(range(len(clients)), labels=[])
        left.set(xlabel="Training images")
        left.xaxis.set_major_locator(ticker.MaxNLocator(nbins=5, integer=True))
        right.set(xlabel="Share of the client's training images", xlim=(0, 1))
        right.xaxis.set_major_formatter(lambda share, _: style.percent(share))
        handles, texts = left.get_legend_handles_labels()
        if right.lines:
            handles, texts = [*handles, right.lines[0]], [*texts, "all clients together"]
        figure.legend(handles, texts, loc="outside upper center", ncols=len(handles))
    return figure


def _draw_bars(axes: matplotlib_axes.Axes, values: np.ndarray, names: Sequence[str]) -> None:
    """Draws [client, class] as stacked bars, the first client on top."""
    colours = style.colours(names)
    starts = np.zeros(len(values))
    for place, name in enumerate(names):
        axes.barh(
            range(len(values)), values[:, place], left=starts, height=0.78,
            color=colours[name], label=name[len(PREFIX) :], edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        starts += values[:, place]
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def _write_totals(axes: matplotlib_axes.Axes, totals: np.ndarray) -> None:
    """Writes how many images a client has behind its bar."""
    longest = max(1.0, float(totals.max()))
    axes.set_xlim(0, 1.14 * longest)
    for place, total in enumerate(totals):
        axes.text(
            total + 0.015 * longest, place, f"{total:.0f}",
            va="center", fontsize=7, color="#444444",
        )  # fmt: skip


def _mark_overall(axes: matplotlib_axes.Axes, counts: np.ndarray) -> None:
    """Marks where the bars would be divided if every client held what all hold together."""
    if counts.sum() > 0:
        for edge in np.cumsum(counts)[:-1] / counts.sum():
            axes.axvline(edge, color="#222222", linestyle=(0, (4, 3)), linewidth=1)
