"""Who is hostile as a rehearsal, and whether there are clients enough to bear it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tffcxr.errors import InputError
from tffcxr.hospitals.member import Member
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
    factory = study.settings.hostile_proof
    if factory is None or isinstance(study.settings.federation, Member):
        return  # A hospital has some of the clients.
    if count < factory.least_clients:
        raise InputError(
            f"--aggregator: expected at least {factory.least_clients} clients in a round for "
            f"--hostile_clients={factory.hostile} and {factory.rule}, found {count}"
        )
