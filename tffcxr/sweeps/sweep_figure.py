"""The metric and the loss of all configurations of a sweep by round, on one axis each.

A line is the mean over a configuration's complete runs, the shade around it their range.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import math
from typing import Any

import matplotlib
from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
from matplotlib import lines as matplotlib_lines
from matplotlib import ticker
import numpy as np
import pandas as pd

from tffcxr.evaluation import registry
from tffcxr.report import style
from tffcxr.report.figures import panels
from tffcxr.sweeps import sweep_results, sweep_table

_LINE_STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (7, 2, 1, 2)))
# With fewer rounds than this each one gets a marker, so that a single round is seen.
_ROUNDS_WITH_MARKERS = 6
_LONG_NAME = 28  # Characters; of shorter names, three stand side by side in the legend.

# (run, column) -> values by round.
_Curves = Callable[[sweep_results.Run, str], pd.Series]


@dataclasses.dataclass(frozen=True)
class _Look:
    """How a line looks: its colour and its dashes."""

    colour: str
    dashes: Any = "-"


def draw(sweep: sweep_results.Sweep) -> matplotlib_figure.Figure | None:
    """Draws a row of panels per compared column; None without a complete run."""
    compared = sweep.compared
    if not compared:
        return None
    kinds: list[_Curves] = [sweep.values]
    if _has_losses(sweep):
        kinds.append(sweep.losses)
    looks, legend = _looks(sweep)
    with panels.style():
        # Inches: the panels and their share of the legend below them.
        height = 3.2 + 0.18 * max(map(len, legend)) / len(compared)
        figure, grid = panels.panels(len(compared), len(kinds), 9.2 / len(kinds), height)
        for row, column in zip(grid, compared):
            for axes, curves_of in zip(row, kinds):
                for configuration, look in looks.items():
                    runs = _curves(sweep, configuration, column, curves_of)
                    _draw_configuration(axes, runs, look)
                name = column if curves_of == sweep.values else sweep_results.loss_of(column)
                axes.set(title=_title(name), xlabel="Round")
                axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=8))
            if sweep.target is not None:
                _draw_target(row[0], sweep.target)
        longest = max(map(len, legend))
        blank = [matplotlib_lines.Line2D([], [], linestyle="none", label=" ")]
        figure.legend(
            handles=[each for part in legend for each in part + blank * (longest - len(part))],
            loc="outside lower left",
            ncols=len(legend),
            handlelength=3.2,
        )
    return figure


def _has_losses(sweep: sweep_results.Sweep) -> bool:
    """Whether there are losses beside the metric, and it is none itself."""
    if sweep.metric is None or registry.is_lower_better(sweep.metric):
        return False
    return any(len(sweep.losses(run, name)) for run in sweep.runs for name in sweep.compared)


def _curves(
    sweep: sweep_results.Sweep, configuration: str, column: str, curves_of: _Curves
) -> pd.DataFrame:
    """The curves of a configuration's complete runs: a row per round, a column per run."""
    found = {
        run.folder: curves_of(run, column)
        for run in sweep.runs
        if run.configuration == configuration and run.folder in sweep.rounds
    }
    return pd.DataFrame({folder: each for folder, each in found.items() if len(each)}, dtype=float)


def _draw_configuration(axes: matplotlib_axes.Axes, runs: pd.DataFrame, look: _Look) -> None:
    if runs.empty:
        return
    # A round that is undefined in one run is a gap: the mean of the others is of something else.
    mean = runs.mean(axis=1, skipna=False)
    axes.plot(
        mean.index,
        mean,
        color=look.colour,
        linestyle=look.dashes,
        marker="o" if len(mean) < _ROUNDS_WITH_MARKERS else None,
        markersize=3,
    )
    if runs.shape[1] > 1:
        low, high = runs.min(axis=1, skipna=False), runs.max(axis=1, skipna=False)
        axes.fill_between(mean.index, low, high, color=look.colour, alpha=0.18, linewidth=0)


def _draw_target(axes: matplotlib_axes.Axes, target: float) -> None:
    axes.axhline(target, color="#444444", linewidth=1, linestyle=(0, (4, 4)))
    axes.annotate(
        f"target {target:g}",
        (1, target),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-2, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=7,
        color="#444444",
    )


def _looks(
    sweep: sweep_results.Sweep,
) -> tuple[dict[str, _Look], list[list[matplotlib_lines.Line2D]]]:
    """How each configuration is drawn, and the columns of the legend.

    If two flags span a grid, the colour shows the first and the dashes the second.
    """
    configurations = {run.configuration: run.flags for run in sweep.runs}
    values = {
        name: list(dict.fromkeys(flags.get(name) for flags in configurations.values()))
        for name in sweep.swept
    }
    varied = [name for name in values if len(values[name]) > 1]
    is_grid = sweep_table.names_of(sweep) == sweep.swept
    if is_grid and len(varied) == 2 and len(values[varied[1]]) <= len(_LINE_STYLES):
        first, second = varied
        by_first = dict(zip(values[first], _colours(len(values[first]))))
        by_second = dict(zip(values[second], _LINE_STYLES))
        looks = {
            name: _Look(by_first[flags[first]], by_second[flags[second]])
            for name, flags in configurations.items()
        }
        return looks, [
            [_entry(f"{first} = {v}", _Look(c)) for v, c in by_first.items()],
            [_entry(f"{second} = {v}", _Look("#333333", d)) for v, d in by_second.items()],
        ]
    colours = _colours(len(configurations))
    looks = {
        name: _Look(colour, _LINE_STYLES[i % len(_LINE_STYLES)])
        for i, (name, colour) in enumerate(zip(configurations, colours))
    }
    entries = [_entry(name, look) for name, look in looks.items()]
    rows = math.ceil(len(entries) / (1 if max(map(len, looks)) > _LONG_NAME else 3))
    return looks, [entries[i : i + rows] for i in range(0, len(entries), rows)]


def _colours(count: int) -> list[str]:
    """So many colours, in an order that shows where there are many."""
    if count <= len(style.SERIES_COLOURS):
        return list(style.SERIES_COLOURS[:count])
    ramp = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.92, count))
    return [matplotlib.colors.to_hex(colour) for colour in ramp]


def _entry(text: str, look: _Look) -> matplotlib_lines.Line2D:
    return matplotlib_lines.Line2D([], [], color=look.colour, linestyle=look.dashes, label=text)


def _title(column: str) -> str:
    task, _, metric = column.rpartition("/")
    title = registry.BY_NAME[metric].title
    return f"{task}: {title}" if task else title
