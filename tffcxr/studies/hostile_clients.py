"""Who is hostile as a rehearsal, and whether there are clients enough to bear it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tffcxr.errors import InputError
from tffcxr.hospitals.member import Member
from tffcxr.learning.robust_aggregators import RobustFactory
from tffcxr.training.attack import BACKDOOR, Attackers

if TYPE_CHECKING:
    from tffcxr.studies.study import Study


def attackers(study: Study) -> Attackers | None:
    """Who attacks; None for nobody.

    Raises:
      InputError: see `Attack.by`; or the attack needs labels, which the study has not.
    """
    attack = study.settings.attack
    if attack is None:
        return None
    if attack.kind == BACKDOOR and not study.has_labels:
        raise InputError(
            f"--attack: expected another than {BACKDOOR} for masks, which have no label to turn to"
        )
    return attack.by(study.clients.site_of, study.settings.seed, study.has_classes)


def check(study: Study, count: int) -> None:
    """Checks who attacks, and that rounds have the clients that the aggregator needs.

    Args:
      study: whose clients are known.
      count: clients of a round.

    Raises:
      InputError: see `attackers`; or there are too few.
    """
    attackers(study)
    if not isinstance(study.settings.federation, Member):  # A hospital has some of the clients.
        check_count(study.settings.hostile_proof, count)


def check_count(aggregator: Any, count: int) -> None:
    """Checks that a round has the clients that an aggregator needs.

    Args:
      aggregator: of `Plan`; one network may have its own.
      count: clients of a round.

    Raises:
      InputError: there are too few.
    """
    if isinstance(aggregator, RobustFactory) and count < aggregator.least_clients:
        raise InputError(
            f"--aggregator: expected at least {aggregator.least_clients} clients in a round for "
            f"--hostile_clients={aggregator.hostile} and {aggregator.rule}, found {count}"
        )
