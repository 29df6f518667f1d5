"""Which clients took part in which round."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import colors, patches, ticker
from matplotlib import figure as matplotlib_figure
import numpy as np
import pandas as pd

from tffcxr.report import style
from tffcxr.report.figures import panels, rounds_figure

_ABSENT, _TOOK_PART, _FAILED = 0, 1, 2
_LOOKS = {
    _TOOK_PART: ("took part", style.training_colour("federated")),
    _FAILED: ("failed, left out", style.training_colour("site")),
    _ABSENT: ("not in the round", "#E4E4E4"),
}
_WIDTH, _ROOM, _ROW = 9.0, 1.1, 0.19  # Inches: of the figure, for axis and legend, of a client.


def draw(clients: pd.DataFrame, all_names: Sequence[str] = ()) -> matplotlib_figure.Figure | None:
    """Draws a row per client and a column per round; returns None if all always took part.

    Args:
      clients: `clients.csv`. Of several networks, which are trained with the same clients, a client
        counts as failed in a round if it failed with any.
      all_names: also of clients that are not in the table, since no round has chosen them.
    """
    names, rounds, states = table(clients, all_names)
    if not names or (states == _TOOK_PART).all():
        return None
    shown = sorted({int(state) for state in states.ravel()}, key=list(_LOOKS).index)
    with panels.style():
        height = _ROOM + _ROW * max(4, len(names))
        figure, ((axes,),) = panels.panels(1, 1, _WIDTH, height)
        axes.imshow(
            states,
            cmap=colors.ListedColormap([_LOOKS[state][1] for state in sorted(_LOOKS)]),
            vmin=min(_LOOKS),
            vmax=max(_LOOKS),
            aspect="auto",
            interpolation="nearest",
            extent=(rounds[0] - 0.5, rounds[-1] + 0.5, len(names) - 0.5, -0.5),
        )
        axes.grid(False)
        taken = (states == _TOOK_PART).sum(axis=1)
        labels = [f"{name}: {count} of {len(rounds)}" for name, count in zip(names, taken)]
        axes.set_yticks(range(len(names)), labels=labels)
        axes.set(xlabel="Round")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        handles = [patches.Patch(color=_LOOKS[s][1], label=_LOOKS[s][0]) for s in shown]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def table(
    clients: pd.DataFrame, all_names: Sequence[str] = ()
) -> tuple[list[str], list[int], np.ndarray]:
    """Returns the clients, the rounds, and the state of each client in each round, [C, R]."""
    if clients.empty:
        return [], [], np.zeros((0, 0), int)
    failed = clients.index.isin(rounds_figure.failures(clients).index)
    states = clients.assign(state=np.where(failed, _FAILED, _TOOK_PART))
    by_round = states.pivot_table("state", "client", "round", "max", fill_value=_ABSENT)
    numbers = list(range(int(by_round.columns.min()), int(by_round.columns.max()) + 1))
    names = sorted({*map(str, by_round.index), *all_names})
    by_round = by_round.reindex(index=names, columns=numbers, fill_value=_ABSENT)
    return names, numbers, by_round.to_numpy(int)
