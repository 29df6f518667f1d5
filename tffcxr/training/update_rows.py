"""What a round's measurements say of each client's update, by the columns of `clients.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tffcxr.learning import update_measures
from tffcxr.learning.robust_aggregators import RobustFactory

# As the factories of `tff.aggregators` call their limits.
_ZEROING, _CLIPPING = "zeroing_norm", "clipping_norm"


def of(metrics: Mapping[str, Any], clients: int) -> list[dict[str, float]]:
    """The values of `run_tables.OF_UPDATES` of each client; empty where nothing was measured.

    Args:
      metrics: of a round, R of `process.FederatedProcess`.
      clients: that took part.
    """
    measured = metrics.get("updates")
    if measured is None:
        return [{} for _ in range(clients)]
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
        {
            "update_norm": float(norms[place]),
            "cosine": float(cosines[place]),
            "cosine_others": float(among_others[place]),
            "clipped": float(clipped[place]),
            "counted": float(counted[place]),
        }
        for place in range(clients)
    ]


def _limit(measurements: Any, name: str) -> float:
    """A limit among the nested measurements of an aggregator; infinite if it has none."""
    if not isinstance(measurements, Mapping):
        return np.inf
    if name in measurements:
        return float(measurements[name])
    return min((_limit(inner, name) for inner in measurements.values()), default=np.inf)
