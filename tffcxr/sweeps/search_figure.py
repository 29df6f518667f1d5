"""The trials of a search: by number, by the value of each flag, and by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
from matplotlib import lines as matplotlib_lines
from matplotlib import ticker
import numpy as np

from tffcxr.evaluation import registry
from tffcxr.report.figures import panels
from tffcxr.sweeps import search_space, search_table, sweep_results
from tffcxr.sweeps.search_trial import COMPLETE, FAILED, Trial

_COMPLETE, _BEST, _PRUNED, _FAILED = "#0072B2", "#D55E00", "#999999", "#CC79A7"
_LOOKS = {
    "complete": {"color": _COMPLETE, "marker": "o", "markersize": 4.5},
    "best": {"color": _BEST, "marker": "D", "markersize": 6.5},
    "pruned": {"color": _PRUNED, "marker": "x", "markersize": 5.0},
    "failed": {"color": _FAILED, "marker": "|", "markersize": 8.0},
}
_COLUMNS = 3  # Of panels side by side.
# From this ratio on, values such as losses of trainings that diverge are on a logarithmic scale.
_LOGARITHMIC_FROM = 100.0


def draw_trials(
    sweep: sweep_results.Sweep, search: search_table.Search
) -> matplotlib_figure.Figure | None:
    """Draws the value of each trial by number and by each flag, and the flags' importances.

    Args:
      sweep: a search.
      search: see there.

    Returns:
      None if no trial has a value.
    """
    metric, trials = sweep.metric or "", search_table.trials_of(sweep)
    if all(search_table.shown_value(trial, metric) is None for trial in trials):
        return None
    importances = None if isinstance(search.importances, str) else search.importances
    count = 1 + len(search.axes) + bool(importances)
    columns = 2 if count == 4 else min(count, _COLUMNS)
    with panels.style():
        width = 9.2 / columns
        figure, grid = panels.panels(math.ceil(count / columns), columns, width, 2.9)
        places = [axes for row in grid for axes in row]
        _draw_history(places[0], trials, metric)
        for axes, axis in zip(places[1:], search.axes):
            _draw_slice(axes, axis, trials, metric)
        if importances:
            _draw_importances(places[count - 1], importances)
        for axes in places[count:]:
            axes.set_visible(False)
        for axes in places[: 1 + len(search.axes)]:
            _scale(
                axes, [v for t in trials if (v := search_table.shown_value(t, metric)) is not None]
            )
        _add_legend(figure, {_kind(trial, trials, metric) for trial in trials}, "best so far")
    return figure


def draw_curves(sweep: sweep_results.Sweep) -> matplotlib_figure.Figure | None:
    """Draws the metric of each trial by round; None if no round has a value."""
    metric, trials = sweep.metric or "", search_table.trials_of(sweep)
    kinds = {"pruned": 1, "complete": 2, "best": 3}
    drawn = [t for t in trials if t.values and _kind(t, trials, metric) in kinds]
    if not drawn:
        return None
    with panels.style():
        figure, ((axes,),) = panels.panels(1, 1, 9.2, 3.2)
        for trial in drawn:
            kind = _kind(trial, trials, metric)
            rounds, values = list(trial.values), list(trial.values.values())
            axes.plot(
                rounds, values, color=_LOOKS[kind]["color"], zorder=kinds[kind],
                linestyle=(0, (4, 2)) if kind == "pruned" else "-",
                linewidth=2.4 if kind == "best" else 1.2,
            )  # fmt: skip
            axes.plot(
                rounds[-1:], values[-1:], linestyle="none", zorder=kinds[kind], **_LOOKS[kind]
            )
        axes.set(title=_title(metric), xlabel="Round")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        _scale(axes, [value for trial in drawn for value in trial.values.values()])
        _add_legend(figure, {_kind(trial, trials, metric) for trial in drawn})
    return figure


def _kind(trial: Trial, trials: Sequence[Trial], metric: str) -> str:
    """The name of a trial's look."""
    if trial == search_table.best(trials, metric):
        return "best"
    return trial.status


def _draw_history(axes: matplotlib_axes.Axes, trials: Sequence[Trial], metric: str) -> None:
    _draw_points(axes, {trial.number: trial.number for trial in trials}, trials, metric)
    so_far = [trial.value for trial in trials if trial.status == COMPLETE]
    accumulate = np.minimum if registry.is_lower_better(metric) else np.maximum
    numbers = [trial.number for trial in trials if trial.status == COMPLETE]
    if numbers:
        best = accumulate.accumulate(so_far)
        axes.step(
            [*numbers, trials[-1].number], [*best, best[-1]], where="post", color=_BEST,
            linewidth=1.2, zorder=1,
        )  # fmt: skip
    axes.set(title=_title(metric), xlabel="Trial")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=8))


def _draw_slice(
    axes: matplotlib_axes.Axes, axis: search_space.Axis, trials: Sequence[Trial], metric: str
) -> None:
    texts = {trial.number: dict(trial.settings)[axis.name] for trial in trials}
    if isinstance(axis, search_space.Choice):
        places = {number: float(axis.values.index(text)) for number, text in texts.items()}
        axes.set_xticks(range(len(axis.values)), [_short(value) for value in axis.values])
        axes.set_xlim(-0.5, len(axis.values) - 0.5)
    else:
        places = {number: float(text) for number, text in texts.items()}
        if axis.is_logarithmic:
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=axis.is_integer, nbins=6))
    _draw_points(axes, places, trials, metric)
    axes.set(title=axis.name)


def _draw_points(
    axes: matplotlib_axes.Axes,
    places: Mapping[int, float],
    trials: Sequence[Trial],
    metric: str,
) -> None:
    """Draws the trials at their places, by number; those that failed at the lower edge."""
    for trial in trials:
        place, value = places[trial.number], search_table.shown_value(trial, metric)
        kind = _kind(trial, trials, metric)
        if value is not None:
            axes.plot(place, value, linestyle="none", **_LOOKS[kind], zorder=3)
        elif trial.status == FAILED:
            bottom = axes.get_xaxis_transform()
            axes.plot(place, 0.03, linestyle="none", transform=bottom, **_LOOKS[kind], zorder=3)


def _draw_importances(axes: matplotlib_axes.Axes, importances: Mapping[str, float]) -> None:
    names = list(importances)[::-1]
    axes.barh(names, [importances[name] for name in names], color=_COMPLETE, height=0.6)
    axes.set(title="Importance", xlim=(0, 1))
    axes.grid(axis="y", visible=False)


def _scale(axes: matplotlib_axes.Axes, values: Sequence[float]) -> None:
    if min(values) > 0 and max(values) / min(values) >= _LOGARITHMIC_FROM:
        axes.set_yscale("log")


def _add_legend(figure: matplotlib_figure.Figure, kinds: set[str], line: str | None = None) -> None:
    handles = [
        matplotlib_lines.Line2D([], [], linestyle="none", label=kind, **look)
        for kind, look in _LOOKS.items()
        if kind in kinds
    ]
    if line and "best" in kinds:
        handles.append(matplotlib_lines.Line2D([], [], color=_BEST, linewidth=1.2, label=line))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))


def _title(metric: str) -> str:
    task, _, name = metric.rpartition("/")
    title = registry.BY_NAME[name].title
    return f"{task}: {title}" if task else title


def _short(text: str) -> str:
    return text if len(text) <= 14 else text[:13] + "…"
