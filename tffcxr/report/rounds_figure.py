"""Losses and AUROC by round."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
from matplotlib import ticker
import numpy as np
import pandas as pd

from tffcxr.report import figures, run_directory, style

# With more clients than this, single lines are grey and their median is drawn.
_CLIENTS_BY_NAME = 7
# With fewer rounds than this each one gets a marker, so that a single round is seen.
_ROUNDS_WITH_MARKERS = 25
SUCCESS = ("ok", "")


def failures(clients: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of `clients.csv` whose client did not take part as it should."""
    status = clients["status"].astype(str).str.strip().str.lower()
    return clients[~status.isin(SUCCESS)]


def metric_columns(rounds: pd.DataFrame, metric: str) -> dict[str, str]:
    """Returns {task: column} of the columns `<task>/<metric>`; a task may contain a slash."""
    suffix = f"/{metric}"
    return {column[: -len(suffix)]: column for column in rounds.columns if column.endswith(suffix)}


def draw(run: run_directory.Run) -> matplotlib_figure.Figure | None:
    """Draws the panels that the run has data for, or returns None without a round."""
    rounds, clients = run.rounds, run.clients
    if rounds.empty:
        return None
    auroc = metric_columns(rounds, "auroc")
    count = 1 + bool(auroc) + (not clients.empty)
    with figures.style():
        figure, grid = figures.panels(1, count, 3.5, 3.5)
        cells = iter(grid[0])
        axes = next(cells)
        _draw_losses(axes, rounds)
        if auroc:
            axes = next(cells)
            for (task, column), colour in _coloured(auroc.items()):
                _line(axes, rounds["round"], rounds[column], colour, task)
            axes.set(title="AUROC on validation images", ylim=_auroc_limits(rounds, auroc))
            axes.axhline(0.5, color="#999999", linewidth=1, linestyle=(0, (4, 4)))
        if not clients.empty:
            axes = next(cells)
            _draw_clients(axes, clients)
        for axes in grid[0]:
            _finish(axes, rounds)
    return figure


def _draw_losses(axes: matplotlib_axes.Axes, rounds: pd.DataFrame) -> None:
    """Draws the training loss and each task's validation loss."""
    if "train_loss" in rounds:
        colour = style.training_colour("federated")
        _line(axes, rounds["round"], rounds["train_loss"], colour, "training, all sites")
    for (task, column), colour in _coloured(metric_columns(rounds, "loss").items()):
        _line(axes, rounds["round"], rounds[column], colour, f"validation, {task}", dashed=True)
    axes.set(title="Loss", ylabel="Cross-entropy")


def _draw_clients(axes: matplotlib_axes.Axes, clients: pd.DataFrame) -> None:
    """Draws each client's training loss, and a cross where it failed."""
    by_client = list(clients.sort_values("round", kind="stable").groupby("client"))
    if len(by_client) <= _CLIENTS_BY_NAME:
        for (client, of_client), colour in _coloured(by_client):
            _line(axes, of_client["round"], of_client["train_loss"], colour, client)
    else:
        for _, of_client in by_client:
            axes.plot(of_client["round"], of_client["train_loss"], color="#BBBBBB", linewidth=0.7)
        median = clients.groupby("round")["train_loss"].median()
        label = f"median of {len(by_client)} clients"
        _line(axes, median.index, median, style.training_colour("federated"), label)
    failed = failures(clients)["round"].unique()
    if failed.size:
        # At the bottom of the panel whatever the losses are.
        axes.plot(
            failed, np.full(failed.size, 0.03), color="#B00020", marker="x", linestyle="none",
            transform=axes.get_xaxis_transform(), label="a client failed",
        )  # fmt: skip
    axes.set(title="Training loss by client", ylabel="Cross-entropy")


def _line(
    axes: matplotlib_axes.Axes,
    rounds: pd.Series | pd.Index,
    values: pd.Series,
    colour: str,
    label: str,
    dashed: bool = False,
) -> None:
    """Draws one quantity by round."""
    axes.plot(
        rounds,
        values,
        color=colour,
        label=label,
        linestyle="--" if dashed else "-",
        marker="o" if len(values) < _ROUNDS_WITH_MARKERS else None,
        markersize=3,
    )


def _finish(axes: matplotlib_axes.Axes, rounds: pd.DataFrame) -> None:
    """Adds what all panels have: the round axis, the stages, the legend."""
    axes.set_xlabel("Round")
    first, last = rounds["round"].iloc[0], rounds["round"].iloc[-1]
    margin = max(0.5, 0.03 * (last - first))
    # Also where every value is undefined.
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=8))
    stages = rounds["stage"].astype(str)
    changes = np.flatnonzero((stages != stages.shift()).to_numpy())
    if changes.size > 1:
        for position in changes:
            start = rounds["round"].iloc[position]
            if position:
                axes.axvline(start - 0.5, color="#444444", linewidth=0.9, linestyle=":")
            axes.annotate(
                stages.iloc[position],
                (start - (0.5 if position else 0), 1),
                xycoords=axes.get_xaxis_transform(),
                xytext=(3, -2),
                textcoords="offset points",
                va="top",
                fontsize=7,
                color="#444444",
            )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.18), ncols=1)


def _coloured(items: Iterable) -> list[tuple]:
    """Pairs each item with a colour."""
    return [
        (item, style.SERIES_COLOURS[position % len(style.SERIES_COLOURS)])
        for position, item in enumerate(items)
    ]


def _auroc_limits(rounds: pd.DataFrame, columns: dict[str, str]) -> tuple[float, float]:
    """Returns the axis limits: 1 at the top, chance or the lowest value at the bottom."""
    lowest = np.nanmin([0.5, *rounds[list(columns.values())].min()])
    return max(0.0, float(lowest) - 0.03), 1.01
