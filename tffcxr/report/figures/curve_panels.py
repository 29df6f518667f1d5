"""What the figures of ROC and of precision-recall curves share: a panel per task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure

from tffcxr.report import style
from tffcxr.report.figures import panels

if TYPE_CHECKING:
    from tffcxr.report.figures.roc_figure import Curve

_COLUMNS = 3
_ON_A_SHEET = 9
_LINE_STYLES = ("-", "--", ":", "-.")
DrawPanel = Callable[[matplotlib_axes.Axes, str, "Sequence[Curve]"], None]


class Look(NamedTuple):
    """How a curve is drawn.

    Attributes:
      colour: of its training.
      line_style: tells the networks and clients of one training apart.
      label: its training, after its network where there are several.
    """

    colour: str
    line_style: str
    label: str


def draw(all_curves: Sequence[Curve], draw_panel: DrawPanel) -> matplotlib_figure.Figure | None:
    """Draws the curves on each task's first split (the test set), or returns None without any.

    Args:
      all_curves: of a run.
      draw_panel: draws the curves of a task.
    """
    tasks: dict[str, list[Curve]] = {}
    for curve in all_curves:
        of_task = tasks.setdefault(str(curve.row["task"]), [])
        if not of_task or of_task[0].row["split"] == curve.row["split"]:
            of_task.append(curve)
    if not tasks:
        return None
    columns = min(_COLUMNS, len(tasks))
    longest = max(len(of_task) for of_task in tasks.values())
    with panels.style():
        figure, grid = panels.panels(-(-len(tasks) // columns), columns, 3.6, 4.4 + 0.18 * longest)
        cells = [axes for row in grid for axes in row]
        for axes, (task, of_task) in zip(cells, tasks.items()):
            draw_panel(axes, task, of_task)
        for axes in cells[len(tasks) :]:
            axes.set_visible(False)
    return figure


def by_sheet(all_curves: Sequence[Curve]) -> list[list[Curve]]:
    """Divides curves by their tasks, so that the panels of each part fit on a sheet of paper."""
    tasks: dict[str, list[Curve]] = {}
    for curve in all_curves:
        tasks.setdefault(str(curve.row["task"]), []).append(curve)
    of_tasks = list(tasks.values())
    return [
        [curve for of_task in of_tasks[start : start + _ON_A_SHEET] for curve in of_task]
        for start in range(0, len(of_tasks), _ON_A_SHEET)
    ]


def looks(of_task: Sequence[Curve]) -> Iterator[tuple[Curve, Look]]:
    """Yields the curves of a panel with their looks."""
    seen: dict[str, int] = {}
    several = len({str(curve.row.get("model", "")) for curve in of_task}) > 1
    for curve in of_task:
        training = curve.row["training"]
        colour = style.training_colour(training)
        position = seen.setdefault(colour, 0)
        seen[colour] += 1
        line_style = _LINE_STYLES[position % len(_LINE_STYLES)]
        name = str(curve.row["name"])
        label = f"{style.model_name(str(curve.row.get('model', '')))}, {name}" if several else name
        yield curve, Look(colour, line_style, label)


def mark(axes: matplotlib_axes.Axes, across: float, up: float, look: Look) -> None:
    """Marks the operating point of a curve."""
    axes.plot(
        across, up, marker="o", markersize=7, color=look.colour, markeredgecolor="white",
        markeredgewidth=1.2, linestyle="none", zorder=5,
    )  # fmt: skip


def finish(axes: matplotlib_axes.Axes, task: str, of_task: Sequence[Curve], metric: str) -> None:
    """Adds title, limits and legend to a panel.

    Args:
      axes: of the panel; what guessing gives was drawn first.
      task: of the curves.
      of_task: the curves.
      metric: that the labels state.
    """
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    # As in the tables: with the site that a finding is of. The model is in the legend.
    named = of_task[0].title.rpartition(" (")[0] or task
    axes.set(title=_title(named, of_task[0].row))
    handles, labels = axes.get_legend_handles_labels()
    heading = style.interval_heading(metric, [curve.row for curve in of_task])
    # What guessing gives comes last.
    handles, labels = [*handles[1:], handles[0]], [*labels[1:], labels[0]]
    axes.legend(
        handles, labels, title=heading, loc="upper left", bbox_to_anchor=(-0.04, -0.15),
        alignment="left", title_fontsize=8,
    )  # fmt: skip


def _title(task: str, row: dict[str, Any]) -> str:
    """Returns the panel's title: task, split and number of images."""
    title = f"{task}\n"
    if style.is_number(row.get("images")):
        title += f"{row['images']:.0f} {row['split']} images"
        if style.is_number(row.get("positives")):
            title += f", {row['positives']:.0f} positive"
        return title
    return f"{title}{row['split']} images"
