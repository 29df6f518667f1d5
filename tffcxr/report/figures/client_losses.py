"""The panel of the training losses of single clients by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import axes as matplotlib_axes
import numpy as np
import pandas as pd

from tffcxr.report import style

# With more clients than this, single clients are not named: their mean or median is drawn.
_CLIENTS_BY_NAME = 7
# With fewer rounds than this each one gets a marker, so that a single round is seen.
_ROUNDS_WITH_MARKERS = 25
# Of the first, second … lines of one colour.
MARKERS = ("o", "s", "^", "v", "D", "P", "X")
_MANY_ROUNDS_MARKERS = 8  # So many markers along a line whose marker tells it from others.


def line(
    axes: matplotlib_axes.Axes,
    rounds: pd.Series | pd.Index,
    values: pd.Series,
    colour: str,
    label: str | None,
    line_style: str = "-",
    marker: str | None = None,
) -> None:
    """Draws one quantity by round.

    Args:
      axes: of the panel.
      rounds: [points].
      values: [points].
      colour: #RRGGBB.
      label: in the legend, None for none.
      line_style: of Matplotlib.
      marker: one of `MARKERS` if it tells lines of one colour apart; None: a dot at every round
        while these are few.
    """
    is_short = len(values) < _ROUNDS_WITH_MARKERS
    axes.plot(
        rounds,
        values,
        color=colour,
        label=label,
        linestyle=line_style,
        marker=marker or ("o" if is_short else None),
        markersize=4.5 if marker else 3,
        markevery=1 if is_short else max(1, len(values) // _MANY_ROUNDS_MARKERS),
    )


def draw(axes: matplotlib_axes.Axes, clients: pd.DataFrame, variants: Sequence[str]) -> None:
    """Draws the training loss of every client, by name where these are few.

    Clients of a single model differ in colour. Those of several variants have the colour of the
    variant and a marker of their own. A client that sits out rounds has dots without a line.

    Args:
      axes: of the panel.
      clients: of `clients.csv`.
      variants: in the order of their colours in the other panels.
    """
    ordered = clients.sort_values("round", kind="stable")
    is_few = clients["client"].nunique() <= _CLIENTS_BY_NAME
    if "variant" not in clients or (is_few and clients["variant"].nunique() == 1):
        _draw_clients(axes, ordered)
        return
    names = dict.fromkeys([*variants, *sorted(str(name) for name in clients["variant"].unique())])
    only = {name: style.training_colour("federated") for name in names}
    colours = only if len(names) == 1 else style.colours(names)
    for variant, of_variant in ordered.groupby("variant"):
        _draw_variant(axes, str(variant), of_variant, colours[str(variant)], _markers(clients))
    _explain_markers(axes, _markers(clients))


def _draw_clients(axes: matplotlib_axes.Axes, clients: pd.DataFrame) -> None:
    """Draws the clients of a single model."""
    federated = style.training_colour("federated")
    by_client = {str(client): of_client for client, of_client in clients.groupby("client")}
    if len(by_client) > _CLIENTS_BY_NAME:
        for of_client in by_client.values():
            axes.plot(of_client["round"], of_client["train_loss"], color="#BBBBBB", linewidth=0.7)
        median = clients.groupby("round")["train_loss"].median()
        line(axes, median.index, median, federated, f"median of {len(by_client)} clients")
        return
    colours = (
        style.colours(by_client) if len(by_client) > 1 else dict.fromkeys(by_client, federated)
    )
    comes_and_goes = not _take_part_always(clients)
    for client, of_client in by_client.items():
        line(
            axes, of_client["round"], of_client["train_loss"], colours[client], client,
            "none" if comes_and_goes else "-", "o" if comes_and_goes else None,
        )  # fmt: skip
    if comes_and_goes:
        mean = clients.groupby("round")["train_loss"].mean()
        line(axes, mean.index, mean, federated, "mean of a round's clients")


def _draw_variant(
    axes: matplotlib_axes.Axes,
    variant: str,
    clients: pd.DataFrame,
    colour: str,
    markers: Mapping[str, str],
) -> None:
    """Draws the clients of one of several variants: dots if they are many or come and go."""
    name = style.training_name(variant)
    if markers and _take_part_always(clients):
        axes.plot([], [], color=colour, label=name)
        for client, of_client in clients.groupby("client"):
            marker = markers[str(client)] if len(markers) > 1 else None
            line(axes, of_client["round"], of_client["train_loss"], colour, None, marker=marker)
        return
    # Lines would leap over rounds in which a client takes no part.
    for _, of_client in clients.groupby("client" if markers else "variant"):
        axes.plot(
            of_client["round"], of_client["train_loss"], color=colour, alpha=0.35,
            marker=markers.get(str(of_client["client"].iloc[0]), "o"),
            markersize=4 if markers else 2.5, linestyle="none",
        )  # fmt: skip
    mean = clients.groupby("round")["train_loss"].mean()
    line(axes, mean.index, mean, colour, f"{name}, mean of a round's clients")


def _markers(clients: pd.DataFrame) -> dict[str, str]:
    """Returns the marker of each client, none if they are too many to be named."""
    names = sorted(str(client) for client in clients["client"].unique())
    return dict(zip(names, MARKERS)) if len(names) <= _CLIENTS_BY_NAME else {}


def _explain_markers(axes: matplotlib_axes.Axes, markers: Mapping[str, str]) -> None:
    """Names the clients in the legend if there are several."""
    look: dict[str, Any] = {"color": "#444444", "linestyle": "none", "markersize": 4.5}
    if len(markers) > 1:
        for client, marker in markers.items():
            axes.plot([], [], marker=marker, label=client, **look)


def _take_part_always(clients: pd.DataFrame) -> bool:
    """Whether every client takes part in every round."""
    return len(clients) == clients["client"].nunique() * clients["round"].nunique()


def mark_failures(axes: matplotlib_axes.Axes, rounds: Sequence[float]) -> None:
    """Draws a cross at every round in which a client failed.

    At the bottom of the panel whatever the losses are.
    """
    if len(rounds):
        axes.plot(
            rounds, np.full(len(rounds), 0.03), color="#B00020", marker="x", linestyle="none",
            transform=axes.get_xaxis_transform(), label="a client failed",
        )  # fmt: skip
