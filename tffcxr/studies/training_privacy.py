"""Differential privacy of a study's trainings: their noise, and what is written of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
import sys
from typing import Any

from tffcxr.learning import aggregators
from tffcxr.report import privacy_text
from tffcxr.training import loop
from tffcxr.training.image_ledger import ImageLedger
from tffcxr.training.plan import Plan


def with_noise(plan: Plan, noise_multiplier: float = 1.0, clients: float = 1.0) -> Plan:
    """A plan with privacy, whose aggregator adds noise, see `aggregators.differentially_private`.

    A hospital takes the defaults: the coordinator adds the noise, and a round's computations, which
    have it in the server's state, are the same with any.
    """
    assert plan.privacy
    aggregator = aggregators.make("dp", noise_multiplier, clients, clip=plan.privacy.clip)
    return dataclasses.replace(plan, aggregator=aggregator)


def image_ledger(plan: Plan) -> ImageLedger | None:
    """What accounts for single images; None without `Plan.dp_sgd`."""
    if plan.dp_sgd is None:
        return None
    return ImageLedger(plan.dp_sgd, plan.local_epochs, plan.delta)


def is_spent(journal: loop.Journal, end: loop.Standing, planned: int) -> bool:
    """Whether the privacy budget has ended a training before all planned rounds."""
    ledger = journal.ledger
    if ledger is None or end.number >= planned:
        return False
    return ledger.is_spent(end.clients, end.number + 1)


def write(
    journal: loop.Journal,
    directory: pathlib.Path,
    training: str,
    clients: Sequence[Mapping[str, Any]],
    by_budget: bool,
) -> dict[str, float]:
    """Writes `privacy.json` for a training that has privacy, and says what its epsilon is worth.

    Args:
      journal: has its ledgers.
      directory: the run's.
      training: its name.
      clients: rows of `clients.csv`.
      by_budget: whether the budget has ended it.

    Returns:
      `epsilon` and `delta` of its clients, for `metrics.json`; nothing without a ledger of them.
    """
    if journal.image_ledger is not None:
        summary = journal.image_ledger.write(directory, training, clients)
        of_clients = summary["clients"].values()
        worst = max(of_clients, key=lambda client: client["epsilon"], default=None)
        if worst is not None:
            _tell(training, worst, len(of_clients), "image")
    ledger = journal.ledger
    if ledger is None:
        return {}
    summary = ledger.write(directory, training, clients, by_budget)
    _tell(training, summary, summary["clients"], "client")
    return {"epsilon": ledger.epsilon(clients), "delta": ledger.delta}


def _tell(training: str, found: Mapping[str, Any], clients: int, protected: str) -> None:
    words = privacy_text.verdict(found["epsilon"], found["right_guesses"], clients, protected)
    print(f"{training}: {words}", file=sys.stderr)
