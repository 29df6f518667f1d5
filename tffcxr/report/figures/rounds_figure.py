"""Losses and the metrics of a kind of study by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
from matplotlib import ticker
import numpy as np
import pandas as pd

from tffcxr.evaluation import registry
from tffcxr.report import results_table, run_reader, style
from tffcxr.report.figures import client_losses, panels
from tffcxr.report.kinds.kind import Guess

SUCCESS = ("ok", "")
# Of a panel with its legend, in inches, and how many entries of which height the legend may have.
_WIDTH, _HEIGHT = 3.5, 3.5
_ENTRIES, _ENTRY_HEIGHT = 4, 0.18
# More panels than fit legibly into one row of a page stand in rows of fewer.
_COLUMNS = 3
# Losses whose largest is so many times their median have a logarithmic axis.
_SPREAD = 4.0


def failures(clients: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of `clients.csv` whose client did not take part as it should."""
    status = clients["status"].astype(str).str.strip().str.lower()
    return clients[~status.isin(SUCCESS)]


def metric_columns(rounds: pd.DataFrame, metric: registry.Metric) -> dict[str, str]:
    """Returns {task: column} of the columns `<task>/<metric>`; a task may contain a slash."""
    return {column.rpartition("/")[0]: column for column in rounds.columns if metric.is_of(column)}


def draw(run: run_reader.Run) -> matplotlib_figure.Figure | None:
    """Draws the panels that the run has data for, or returns None without a round."""
    rounds, clients = run.rounds, run.clients
    if rounds.empty:
        return None
    metrics = [metric for metric in run.kind.of_rounds if metric_columns(rounds, metric)]
    count = 1 + len(metrics) + (not clients.empty)
    columns = min(count, _COLUMNS if count != 4 else 2)  # Of 4 none is alone in a row.
    lines = -(-count // columns)
    with panels.style():
        figure, grid = panels.panels(lines, columns, _WIDTH, _HEIGHT)
        every = [axes for row in grid for axes in row]
        for axes in every[count:]:
            axes.remove()
        cells = iter(every[:count])
        axes = next(cells)
        _draw_losses(axes, run)
        for metric in metrics:
            axes = next(cells)
            _draw_metric(axes, run, metric)
        if not clients.empty:
            axes = next(cells)
            _draw_clients(axes, run)
        for axes in figure.axes:
            _finish(axes, rounds, run.rounds_pooled)
        entries = max(len(axes.get_legend_handles_labels()[1]) for axes in figure.axes)
        # A longer legend makes the figure higher, not the panels lower.
        figure.set_figheight(lines * (_HEIGHT + _ENTRY_HEIGHT * max(0, entries - _ENTRIES)))
    return figure


@dataclasses.dataclass(frozen=True)
class _Series:
    """A column of `rounds.csv` or `rounds_pooled.csv`.

    Attributes:
      names: of the task or variant; of many tasks if it is their mean.
      training: "federated" or "pooled".
      label: in the legend; None for a thin line, one of many tasks.
      colour: of the line.
      dashed: whether it stands beside a line of the same colour.
      marker: where there are more names than colours, what tells those of one colour apart.
      rounds: [points].
      values: [points].
    """

    names: tuple[str, ...]
    training: str
    label: str | None
    colour: str
    dashed: bool
    marker: str | None
    rounds: pd.Series
    values: pd.Series


def _series(run: run_reader.Run, metric: registry.Metric) -> list[_Series]:
    """Returns the lines of a metric.

    Several tasks or variants differ in colour, and the pooled model of each is dashed. The
    trainings of a single one have the colours that they have everywhere.
    """
    names = _names(run, metric)
    if _has_many(run):
        return _series_of_many(run, metric, names)
    by_training = run.kind.colours_trainings and len(names) == 1
    in_two_ways = not run.rounds_pooled.empty
    colours = style.colours(names)
    result = []
    for training, measured in _tables(run):
        columns = _columns_of(run, measured, metric)
        for name in names:
            if name not in columns:
                continue
            if by_training:
                label, colour = style.training_name(training), style.training_colour(training)
            else:
                label = style.training_name(name)
                says_it = name.startswith(training)  # As "federated_private_norm" does.
                label += f", {training}" if in_two_ways and not says_it else ""
                colour = colours[name]
            dashed = training == "pooled" and not by_training
            result.append(
                _Series(
                    (name,), training, label, colour, dashed, _marker(names.index(name)),
                    measured["round"], measured[columns[name]],
                )
            )  # fmt: skip
    return result


def _has_many(run: run_reader.Run) -> bool:
    """Whether more tasks are measured than have a colour of their own."""
    tasks = {
        name
        for metric in (registry.LOSS, *run.kind.of_rounds)
        for _, measured in _tables(run)
        for name in _columns_of(run, measured, metric)
    }
    return len(tasks) > len(style.SERIES_COLOURS) and not run.kind.compares_models


def _series_of_many(
    run: run_reader.Run, metric: registry.Metric, names: Sequence[str]
) -> list[_Series]:
    """Returns a thin line for every task, and their mean for every training and network."""
    networks = list(metric_columns(run.rounds, registry.TRAIN_LOSS)) or [""]
    colours = style.colours(networks)
    result = []
    for training, measured in _tables(run):
        columns = _columns_of(run, measured, metric)
        for network in networks:
            tasks = tuple(
                name
                for name in names
                if name in columns and (not network or f"{name} ".startswith(f"{network} "))
            )
            if not tasks:
                continue
            dashed = training == "pooled" and len(networks) > 1
            colour = colours[network] if len(networks) > 1 else style.training_colour(training)
            label = style.training_name(training)
            label += f", mean of {len(tasks)} (thin: each)" if len(tasks) > 1 else ""
            label = f"{style.model_name(network)}, {label}" if len(networks) > 1 else label
            rounds = measured["round"]
            values = measured[[columns[task] for task in tasks]]
            result += [
                _Series(
                    (task,), training, None, colour, dashed, None, rounds, values[columns[task]]
                )
                for task in tasks
            ]
            mean = values.mean(axis=1)
            result.append(_Series(tasks, training, label, colour, dashed, None, rounds, mean))
    return result


def _marker(position: int) -> str | None:
    """Returns the marker of a name, None while colours alone tell names apart."""
    again = position // len(style.SERIES_COLOURS)
    return client_losses.MARKERS[again % len(client_losses.MARKERS)] if again else None


def _names(run: run_reader.Run, metric: registry.Metric) -> list[str]:
    """Returns the tasks or variants in the order of their colours, the same in all panels.

    A variant may be trained in one of the ways alone.
    """
    found = dict.fromkeys(
        name
        for measure in (registry.LOSS, metric)
        for _, measured in _tables(run)
        for name in _columns_of(run, measured, measure)
    )
    # In the order of the table, so that a variant has one colour in all of the report.
    return sorted(found) if run.kind.compares_models else list(found)


def _columns_of(
    run: run_reader.Run, measured: pd.DataFrame, metric: registry.Metric
) -> dict[str, str]:
    """Returns {task or variant: column}; where all variants have one task, only they are named.

    Then a network has one name, and so one colour, in its training loss and in what it scores.
    """
    columns = metric_columns(run.rounds, registry.LOSS)
    variants = metric_columns(run.rounds, registry.TRAIN_LOSS)
    tasks = {
        name.removeprefix(variant)
        for name in columns.keys() - variants.keys()
        for variant in variants
        if name.startswith(f"{variant} ")
    }
    task = tasks.pop() if len(tasks) == 1 else ""
    return {
        name.removesuffix(task): column for name, column in metric_columns(measured, metric).items()
    }


def _tables(run: run_reader.Run) -> tuple[tuple[str, pd.DataFrame], ...]:
    """Returns the trainings that are measured after every round."""
    return ("federated", run.rounds), ("pooled", run.rounds_pooled)


def _loss_name(run: run_reader.Run) -> str:
    """Returns what the loss of a run is, that of its kind unless the run says another."""
    return run.loss_name or run.kind.loss


def _draw_losses(axes: matplotlib_axes.Axes, run: run_reader.Run) -> None:
    """Draws the training loss, and the loss on the images that rounds are measured on."""
    axes.set(title=f"Loss on {run.measured_split} images", ylabel=_loss_name(run))
    _draw_training_losses(axes, run)
    _draw_series(axes, run, registry.LOSS)
    _draw_mean_of_clients(axes, run, registry.LOSS)
    if " minus " not in _loss_name(run):  # Of a difference, decades mean nothing.
        _use_decades(axes)


class _Decimal(ticker.LogFormatter):
    """Writes 0.01, not 1e-02."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _use_decades(axes: matplotlib_axes.Axes) -> None:
    """Makes the axis logarithmic where the largest losses leave the others little room."""
    lines = [np.asarray(line.get_ydata(), float) for line in axes.get_lines()]
    values = np.concatenate([np.zeros(0), *lines])
    known = values[np.isfinite(values)]
    if known.size and known.min() > 0 and known.max() > _SPREAD * np.median(known):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_Decimal(labelOnlyBase=False))
        axes.yaxis.set_minor_formatter(_Decimal(minor_thresholds=(2, 0.7)))


def _draw_training_losses(axes: matplotlib_axes.Axes, run: run_reader.Run) -> None:
    """Draws the loss on the training images, dotted: of every variant, or of the only model.

    Beside a federated variant the pooled one is dash-dotted.
    """
    styles = {}
    measured_names = {name for series in _series(run, registry.LOSS) for name in series.names}
    for series in _series(run, registry.TRAIN_LOSS):
        if series.label is None:  # The line of a single task, as of the mean of its network.
            continue
        if measured_names.isdisjoint(series.names):  # No other line tells whose its colour is.
            label = f"{series.label}, training images"
            client_losses.line(axes, series.rounds, series.values, series.colour, label, ":")
            continue
        line_style = "-." if series.dashed else ":"
        client_losses.line(
            axes, series.rounds, series.values, series.colour, None, line_style, series.marker
        )
        styles[series.training] = line_style
    for training, line_style in styles.items():
        label = "training images" + (f", {training}" if len(styles) > 1 else "")
        axes.plot([], [], color="#444444", linestyle=line_style, label=label)
    for training, measured in _tables(run):
        if "train_loss" in measured and measured["train_loss"].notna().any():
            colour, name = style.training_colour(training), style.training_name(training)
            label = f"{name}, training images"
            client_losses.line(axes, measured["round"], measured["train_loss"], colour, label, ":")


def _draw_metric(axes: matplotlib_axes.Axes, run: run_reader.Run, metric: registry.Metric) -> None:
    """Draws what the models of a kind are compared by, and what guessing gives."""
    _draw_series(axes, run, metric)
    _draw_mean_of_clients(axes, run, metric)
    guess = run.kind.guess(run.rows) if metric == run.kind.main else Guess()
    if guess.value is not None:
        look = {"color": "#999999", "linewidth": 1, "linestyle": (0, (4, 4))}
        axes.axhline(guess.value, label=guess.label, **look)
    values = [value for series in _series(run, metric) for value in series.values]
    known = [value for value in [*values, guess.value] if style.is_number(value)]
    axes.set(
        title=f"{metric.title} on {run.measured_split} images",
        ylim=(
            max(0.0, min(known, default=0.0) - 0.03),
            1.01 if run.kind.ends_at_one else min(1.01, max(known, default=1.0) + 0.03),
        ),
    )


def _draw_mean_of_clients(
    axes: matplotlib_axes.Axes, run: run_reader.Run, metric: registry.Metric
) -> None:
    """Draws the mean of what the clients measure of the federated model, where that is logged."""
    mean = registry.MEANS_OF_CLIENTS.get(metric)
    columns = metric_columns(run.rounds, mean).values() if mean else ()
    for column in columns:
        client_losses.line(
            axes, run.rounds["round"], run.rounds[column], style.training_colour("federated"),
            "Federated, mean of clients", "-.",
        )  # fmt: skip


def _draw_series(axes: matplotlib_axes.Axes, run: run_reader.Run, metric: registry.Metric) -> None:
    """Draws the lines of a metric, and a dot at the round that the table is about."""
    dots = []
    for series in _series(run, metric):
        line_style = "--" if series.dashed else "-"
        if series.label is None:
            look = {"color": series.colour, "linewidth": 0.7, "alpha": 0.35}
            axes.plot(series.rounds, series.values, linestyle=line_style, **look)
            continue
        client_losses.line(
            axes, series.rounds, series.values, series.colour, series.label, line_style,
            series.marker,
        )  # fmt: skip
        for row in run.rows:
            if row["training"] == series.training and not _names_of(row).isdisjoint(series.names):
                at = (series.rounds == row.get("round")).to_numpy()
                dots += [(row["round"], value, series.colour) for value in series.values[at]]
    marker = {
        "marker": "o", "markersize": 7, "markeredgecolor": "black", "markeredgewidth": 1,
        "linestyle": "none",
    }  # fmt: skip
    for after, value, colour in dict.fromkeys(dots):
        axes.plot(after, value, color=colour, zorder=5, **marker)
    if dots:
        axes.plot([], [], color="white", label="round of the table", **marker)


def _names_of(row: Mapping[str, Any]) -> set[str]:
    """Returns what `rounds.csv` may call a row: by its task, its variant, or both.

    Where several sites label one finding, it has one column for all of them.
    """
    task, variant = str(row["task"]), results_table.variant(row)
    tasks = {task, task.removesuffix(f" at {row.get('client')}")}
    return tasks | {variant} | {f"{variant} {name}" for name in tasks}


def _draw_clients(axes: matplotlib_axes.Axes, run: run_reader.Run) -> None:
    """Draws each client's training loss, and a cross where it failed."""
    variants = _names(run, registry.TRAIN_LOSS) if "variant" in run.clients else []
    client_losses.draw(axes, run.clients, variants)
    client_losses.mark_failures(axes, failures(run.clients)["round"].unique())
    axes.set(title="Training loss by client", ylabel=_loss_name(run))


def _finish(axes: matplotlib_axes.Axes, rounds: pd.DataFrame, pooled: pd.DataFrame) -> None:
    """Adds what all panels have: the round axis, the stages, the legend."""
    axes.set_xlabel("Round")
    numbers = [*rounds["round"], *pooled["round"]]
    first, last = min(numbers), max(numbers)
    margin = max(0.5, 0.03 * (last - first))
    # Also where every value is undefined.
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
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
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.18), ncols=1, handlelength=3.2)
