"""Which clients take part in a round: all of them, a count, or a fraction, without replacement."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np

from tffcxr.clients import seeds
from tffcxr.errors import InputError


def parse_clients_per_round(text: str) -> int | float | None:
    """Reads a flag: "all" -> None, "5" -> 5 clients, "0.2" -> a fifth of the clients.

    Raises:
      InputError: the text is none of these, or not above 0, or a fraction above 1.
    """
    if text == "all":
        return None
    expected = "clients_per_round: expected 'all', a count of at least 1 or a fraction in (0, 1]"
    try:
        is_count = text.strip().isdecimal()
        number = int(text) if is_count else float(text)
    except ValueError:
        raise InputError(f"{expected}, found {text!r}") from None
    if not (number >= 1 if is_count else 0 < number <= 1):
        raise InputError(f"{expected}, found {text!r}")
    return number


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Draws the clients of each round, as a function of (seed, round) only.

    >>> Sampler(("north", "south", "west"), clients_per_round=2, seed=0).sample(1)
    ['north', 'south']

    Attributes:
      client_ids: every client that may be drawn; their order does not matter.
      clients_per_round: None for all; an int for a count, from 1 to the number of clients; a
        float for a fraction in (0, 1], rounded to the nearest count and at least one client.
      seed: any integer.
    """

    client_ids: Sequence[str]
    clients_per_round: int | float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.client_ids:
            raise InputError("client sampling: expected at least one client, found none")
        if len(set(self.client_ids)) != len(self.client_ids):
            raise InputError("client sampling: expected distinct client ids, found a repeated one")
        request, clients = self.clients_per_round, len(self.client_ids)
        if isinstance(request, float):
            if not 0 < request <= 1:
                raise InputError(
                    f"clients_per_round: expected a fraction in (0, 1], found {request}"
                )
        elif request is not None and not 1 <= request <= clients:
            raise InputError(
                f"clients_per_round: expected a count from 1 to {clients}, found {request}"
            )

    @property
    def count(self) -> int:
        """The number of clients in every round."""
        clients = len(self.client_ids)
        if self.clients_per_round is None:
            return clients
        if isinstance(self.clients_per_round, float):
            return max(1, int(self.clients_per_round * clients + 0.5))
        return self.clients_per_round

    def sample(self, round_number: int) -> list[str]:
        """Returns the sorted ids of the clients that train in a round."""
        ids = sorted(self.client_ids)
        if self.count == len(ids):
            return ids
        rng = np.random.default_rng(seeds.derive_seed(self.seed, "sampling", round_number))
        return sorted(ids[i] for i in rng.choice(len(ids), size=self.count, replace=False))
