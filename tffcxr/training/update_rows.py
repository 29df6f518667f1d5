"""What a round's measurements say of each client's update, by the columns of `clients.csv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from tffcxr import run_tables
from tffcxr.learning import failure, update_measures
from tffcxr.learning.robust_aggregators import RobustFactory
from tffcxr.training import suspicion
from tffcxr.training.loop import ClientResult

# As the factories of `tff.aggregators` call their limits.
_ZEROING, _CLIPPING = "zeroing_norm", "clipping_norm"


class OfUpdate(NamedTuple):
    """Columns of `clients.csv`, see `ClientResult`; NaN where nothing was measured."""

    update_norm: float = math.nan
    cosine: float = math.nan
    cosine_others: float = math.nan
    clipped: float = math.nan
    counted: float = math.nan


def of(metrics: Mapping[str, Any], clients: int) -> list[OfUpdate]:
    """What was measured of each client's update.

    Args:
      metrics: of a round, R of `process.FederatedProcess`.
      clients: that took part.
    """
    measured = metrics.get("updates")
    if measured is None:
        return [OfUpdate()] * clients
    norms, largest, cosines, among_others = (
        np.asarray(measured[name], np.float64) for name in update_measures.MEASURED
    )
    aggregator = metrics["aggregator"]
    known = np.isfinite(norms)
    counted = known & ~(largest > _limit(aggregator, _ZEROING))
    clipped = counted & (norms > _limit(aggregator, _CLIPPING))
    if isinstance(aggregator, Mapping) and RobustFactory.COUNTED in aggregator:
        counted = np.asarray(aggregator[RobustFactory.COUNTED])
    return [
        OfUpdate(*map(float, values))
        for values in zip(norms, cosines, among_others, clipped, counted)
    ]


def with_suspicions(
    results: Sequence[ClientResult],
    images: Mapping[str, int],
    orders: Mapping[str, suspicion.Order],
    compares_losses: bool,
) -> tuple[ClientResult, ...]:
    """The clients' parts of a round with what is suspicious in each.

    Args:
      results: without.
      images: that each client can have trained on in the round, by what was known before all
        rounds; 0 where that is unknown. Such a client can have as many as any other.
      orders: see `suspicion.orders`; of the clients of which it is known.
      compares_losses: see `suspicion.of`.
    """
    most = max(images.values(), default=0) or math.nan
    parts = {
        result.client: suspicion.Part(
            result.status.endswith(failure.NOT_FINITE),
            result.images,
            result.train_loss,
            result.update_norm,
            result.cosine_others,
            orders.get(result.client),
            images.get(result.client) or most,
        )
        for result in results
        if not result.status.startswith(run_tables.LEFT_OUT)
    }
    found = suspicion.of(parts, compares_losses)
    return tuple(
        dataclasses.replace(result, suspicion="+".join(found.get(result.client, ())))
        for result in results
    )


def _limit(measurements: Any, name: str) -> float:
    """A limit among the nested measurements of an aggregator; infinite if it has none."""
    if not isinstance(measurements, Mapping):
        return np.inf
    if name in measurements:
        return float(measurements[name])
    return min((_limit(inner, name) for inner in measurements.values()), default=np.inf)
