"""Rehearsals of hostile clients: what some of them would do to a training if they meant harm.

  labels  turns the labels of the attackers' images: present and absent change places, a class
          becomes the next, a mask its complement
  scale   multiplies their updates by the strength
  sign    turns their updates round, and multiplies them by the strength
  noise   sends Gaussian noise in place of their updates, so many times as long
  backdoor  stamps a trigger on half of the attackers' training images and labels these with a
          target, see `backdoor`; multiplies their updates by the strength, if one is given

Labels and backdoor poison data, the others updates, as a client can that has left its program (Fang
et al., "Local Model Poisoning Attacks to Byzantine-Robust Federated Learning", USENIX Security
2020). The attackers' private weights, and what they say of their training, stay honest. Metrics of
rounds are of the true labels, so that they tell what the attack did.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr import options
from tffcxr.clients import seeds
from tffcxr.errors import InputError
from tffcxr.learning import tampering
from tffcxr.training import backdoor

LABELS, SCALE, SIGN, NOISE, BACKDOOR = options.ATTACKS
_USUAL_STRENGTH = {LABELS: 1.0, SCALE: 10.0, SIGN: 1.0, NOISE: 1.0, BACKDOOR: 1.0}


@dataclasses.dataclass(frozen=True)
class Attack:
    """An attack that is to be rehearsed.

    Attributes:
      kind: one of `options.ATTACKS`.
      names: of the attackers: clients, or sites, all of whose clients attack.
      strength: of all kinds but "labels"; None for the usual one: 10 for "scale", otherwise 1.
    """

    kind: str
    names: tuple[str, ...]
    strength: float | None = None

    def by(self, site_of: Mapping[str, str], seed: int, has_classes: bool) -> Attackers:
        """The attack among the clients of a training.

        Args:
          site_of: their ids to the names of their sites.
          seed: of the noise.
          has_classes: whether labels are classes, of which each image has one.

        Raises:
          InputError: a name is that of none of them, or none would be honest.
        """
        found: set[str] = set()
        for name in self.names:
            hit = {client for client, site in site_of.items() if name in (client, site)}
            if not hit:
                raise InputError(
                    f"--attackers: expected names of {', '.join(sorted(site_of))}, or of their "
                    f"sites, found {name!r}"
                )
            found |= hit
        if len(found) == len(site_of):
            raise InputError("--attackers: expected a client that is honest, found none")
        strength = _USUAL_STRENGTH[self.kind] if self.strength is None else self.strength
        return Attackers(self.kind, frozenset(found), strength, seed, has_classes)


@dataclasses.dataclass(frozen=True)
class Attackers:
    """An attack among the clients of a training.

    Attributes:
      kind: one of `options.ATTACKS`.
      clients: the ids of those who attack.
      strength: see `Attack`.
      seed: of the noise.
      has_classes: see `Attack.by`.
    """

    kind: str
    clients: frozenset[str]
    strength: float
    seed: int
    has_classes: bool

    def __str__(self) -> str:
        return (
            f"REHEARSAL OF AN ATTACK ({self.kind}) by {', '.join(sorted(self.clients))}: the model "
            "is good for nothing else"
        )

    @property
    def tampers(self) -> bool:
        """Whether updates are attacked, not only data."""
        return self.kind != LABELS

    @property
    def is_backdoor(self) -> bool:
        """Whether there is a trigger, whose success is to be measured."""
        return self.kind == BACKDOOR

    def tampering(self, client: str, round_number: int) -> Any:
        """A value of `tampering.TYPE`: what a client does to its update in a round."""
        seed = seeds.derive_seed(self.seed, "attack", round_number, client)
        if client not in self.clients:
            return tampering.value(1.0, 0.0, seed)
        factor = {SIGN: -self.strength, NOISE: 0.0}.get(self.kind, self.strength)
        return tampering.value(factor, self.strength if self.kind == NOISE else 0.0, seed)

    def poisoned(self, client: str, batches: tf.data.Dataset) -> tf.data.Dataset:
        """The batches of a client as it trains on them."""
        if self.kind not in (LABELS, BACKDOOR) or client not in self.clients:
            return batches
        if self.is_backdoor:
            return batches.map(lambda batch: backdoor.poison(batch, self.has_classes))
        return batches.map(self._turned)

    def labels_told(self, client: str, labels: np.ndarray) -> np.ndarray:
        """What a client says the labels [N, F] of its validation images are."""
        lies = self.kind == LABELS and client in self.clients
        return np.asarray(self._other(labels)) if lies else labels

    def _other(self, labels: Any) -> Any:
        return tf.roll(labels, 1, axis=1) if self.has_classes else 1.0 - labels

    def _turned(self, batch: Any) -> Any:
        """A batch with other labels; what is unknown, NaN, stays so."""
        turned = collections.OrderedDict(batch)
        if "labels" in batch:
            turned["labels"] = self._other(batch["labels"])
        if "masks" in batch:
            turned["masks"] = 1.0 - batch["masks"]
        return turned
