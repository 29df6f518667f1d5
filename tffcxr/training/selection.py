"""Which round's weights are reported, and when a training ends early: the rules, each once.

The best round is that with the best value of the metric by which the models of a kind of study are
compared (AUROC, accuracy, Jaccard or Dice), the mean over tasks, as CXR-FL (arXiv:2204.05203) takes
the round with the best accuracy. Training ends early by the validation loss (L. Prechelt, "Early
Stopping - But When?", in Neural Networks: Tricks of the Trade, 1998): the loss reacts to confident
errors, which the metric does not see, and it is never undefined for want of one class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
from typing import Any

import numpy as np

from tffcxr.evaluation import registry


def best_round(rows: Sequence[Mapping[str, Any]], metric: registry.Metric) -> int:
    """The round with the best value of a metric.

    Tasks whose metric is undefined in all rounds do not count. Of equal rounds, that with the least
    validation loss is taken, then the first. If the metric is undefined throughout, that is the
    last round.

    Args:
      rows: of `rounds.csv`, at least one.
      metric: whose columns count, with the same weight.

    Returns:
      The number of the round, counted from 1.
    """
    if not is_known(rows, metric):
        return int(rows[-1]["round"])
    means = _means(rows, metric) * (-1.0 if metric.better == registry.LOWER else 1.0)
    losses = np.array([validation_loss(row) for row in rows])
    best = np.flatnonzero(means == np.nanmax(means))
    place = best[np.argmin(np.nan_to_num(losses[best], nan=math.inf))]
    return int(rows[place]["round"])


def is_known(rows: Sequence[Mapping[str, Any]], metric: registry.Metric) -> bool:
    """Whether `best_round` chooses by the metric, and does not take the last round for want of it.

    Args:
      rows: see `best_round`, like the metric.
      metric: whose columns count.
    """
    return not np.isnan(_means(rows, metric)).all()


def _means(rows: Sequence[Mapping[str, Any]], metric: registry.Metric) -> np.ndarray:
    """The mean of a metric over the tasks that have it in some round: [R], NaN without it."""
    columns = [column for column in rows[0] if metric.is_of(column)]
    values = np.array([[float(row[column]) for column in columns] for row in rows])
    values = values[:, ~np.isnan(values).all(axis=0)]
    return values.mean(axis=1) if values.size else np.full(len(rows), math.nan)


def stops(losses: Sequence[float], patience: int) -> bool:
    """Whether a stage ends before its next round.

    Args:
      losses: validation losses of its rounds so far. NaN is no improvement; losses that are all NaN
        say nothing, and never end a stage.
      patience: rounds in a row without a lower loss that end it; 0 for never.
    """
    known = np.asarray(losses, float)
    if not patience or np.isnan(known).all():
        return False
    return len(known) - 1 - int(np.nanargmin(known)) >= patience


def validation_loss(row: Mapping[str, Any]) -> float:
    """The mean of the losses in a row of `rounds.csv` that are defined; NaN if none is."""
    found = [float(value) for name, value in row.items() if registry.LOSS.is_of(name)]
    known = [value for value in found if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
