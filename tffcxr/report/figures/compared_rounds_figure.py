"""The learning curves of several runs over one another: a panel per metric and task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
from matplotlib import lines as matplotlib_lines
from matplotlib import ticker
import pandas as pd

from tffcxr.evaluation import registry
from tffcxr.report.figures import client_losses, panels, rounds_figure

if TYPE_CHECKING:
    from tffcxr.report.comparison.compared_runs import ComparedRun

_COLUMNS = 3
_WIDTH, _HEIGHT = 3.6, 2.9  # Inches, of a panel.
_ENTRY_HEIGHT = 0.2  # Inches, of a line of the legend.
# With more tasks than this, a panel has the mean of those that all runs have.
_MOST_TASKS = 3


@dataclasses.dataclass(frozen=True)
class _Panel:
    """A metric by round.

    Attributes:
      title: over it.
      curves: of each run, the federated and the pooled one; empty ones are not drawn.
    """

    title: str
    curves: Sequence[tuple[pd.Series, pd.Series]]


def draw(runs: Sequence[ComparedRun]) -> matplotlib_figure.Figure | None:
    """Draws the loss and the metrics of the kind by round; None if no run has a round."""
    metrics = (registry.LOSS, *runs[0].run.kind.of_rounds)
    found = [panel for metric in metrics for panel in _panels(runs, metric)]
    if not found:
        return None
    has_pooled = any(len(pooled) for panel in found for _, pooled in panel.curves)
    columns = min(len(found), _COLUMNS)
    lines = -(-len(found) // columns)
    with panels.style():
        legend = _ENTRY_HEIGHT * (len(runs) + has_pooled) / lines
        figure, grid = panels.panels(lines, columns, _WIDTH, _HEIGHT + legend)
        every = [axes for row in grid for axes in row]
        for axes in every[len(found) :]:
            axes.remove()
        for axes, panel in zip(every, found):
            _draw(axes, runs, panel)
        figure.legend(handles=_legend(runs, has_pooled), loc="outside lower left", handlelength=3.2)
    return figure


def averaged(runs: Sequence[ComparedRun]) -> list[str]:
    """Returns the tasks whose means stand in the panels, none where each task has its own."""
    return _averaged([rounds_figure.metric_columns(one.run.rounds, registry.LOSS) for one in runs])


def _tasks(columns: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(task for of_run in columns for task in of_run))


def _averaged(columns: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns the tasks that all runs have if two runs have too many for a panel each.

    Args:
      columns: of each run, by task.
    """
    tasks = _tasks(columns)
    of_two = [task for task in tasks if sum(task in each for each in columns) > 1]
    if len(of_two) <= _MOST_TASKS:
        return []
    return [task for task in of_two if all(task in each for each in columns)]


def _panels(runs: Sequence[ComparedRun], metric: registry.Metric) -> list[_Panel]:
    """Returns the panels of a metric: one if no run has several tasks, or if there are many.

    Of several tasks only those are drawn that two runs have, or one run if no two have any.
    """
    columns = [rounds_figure.metric_columns(one.run.rounds, metric) for one in runs]
    tasks = _tasks(columns)
    if not tasks:
        return []
    if max(map(len, columns)) == 1:  # Variants of one task may be called by their networks.
        name = f": {tasks[0]}" if len(tasks) == 1 else ""
        return [_panel(runs, f"{metric.title}{name}", [list(each.values()) for each in columns])]
    of_two = [task for task in tasks if sum(task in each for each in columns) > 1]
    common = _averaged(columns)
    if not common:
        return [
            _panel(
                runs,
                f"{metric.title}: {task}",
                [[each[task]] if task in each else [] for each in columns],
            )
            for task in of_two or tasks
        ]
    title = f"{metric.title}, mean of {len(common)} tasks"
    return [_panel(runs, title, [[each[task] for task in common] for each in columns])]


def _panel(runs: Sequence[ComparedRun], title: str, columns: Sequence[Sequence[str]]) -> _Panel:
    """Returns a panel of the means of some columns of each run."""
    return _Panel(
        title,
        [
            (_curve(one.run.rounds, of_run), _curve(one.run.rounds_pooled, of_run))
            for one, of_run in zip(runs, columns)
        ],
    )


def _curve(rounds: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Returns the mean of the columns by round; nothing where one of them is not there."""
    if rounds.empty or not columns or not {*columns} <= {*rounds}:
        return pd.Series(dtype=float)
    return rounds.set_index("round")[list(columns)].mean(axis=1, skipna=False)


def _draw(axes: matplotlib_axes.Axes, runs: Sequence[ComparedRun], panel: _Panel) -> None:
    for one, (federated, pooled) in zip(runs, panel.curves):
        for values, line_style in ((federated, "-"), (pooled, "--")):
            if len(values):
                client_losses.line(axes, values.index, values, one.colour, None, line_style)
    axes.set(title=panel.title, xlabel="Round")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=8, min_n_ticks=1))


def _legend(runs: Sequence[ComparedRun], has_pooled: bool) -> list[matplotlib_lines.Line2D]:
    entries = [matplotlib_lines.Line2D([], [], color=one.colour, label=one.label) for one in runs]
    if has_pooled:
        label = "all sites pooled"
        entries.append(matplotlib_lines.Line2D([], [], color="#444444", ls="--", label=label))
    return entries
