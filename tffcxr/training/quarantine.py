"""Clients that look hostile or broken over several rounds, which may be left out from then on.

A client is listed for a reason once it was suspected for that in two of the last three rounds in
which it took part, see `suspicion`. If honest clients were suspected with the probability p in a
round, independently, one would be listed after three rounds with 3 p^2, which is 7.5e-5 for p =
0.005. A client that is always a little unlike the others is suspected in many rounds or in none, so
p is then the probability of being listed.

Who is listed stays so to the end of the training: what it sent has changed the model that later
rounds start from. At most so many clients are left out that more than half remain: where half of
them are unusual, nobody knows which half is hostile. Nor are so many left out that later rounds
have fewer clients than the aggregator needs to bear `--hostile_clients`: multi-Krum of four is the
mean. Where clients stay away, or their updates do not count, a round may still have fewer, which is
warned of once.

Nothing is kept but what stands in `clients.csv`, so that a resumed training goes on as it would
have.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, MutableMapping, Sequence
import dataclasses
import sys
from typing import Any

from tffcxr import run_tables
from tffcxr.clients.sampling import Sampler
from tffcxr.learning.robust_aggregators import RobustFactory

_ROUNDS, _ENOUGH = 3, 2
SUSPICION, QUARANTINE = "suspicion", "quarantine"  # Columns of `clients.csv`.


class Quarantine:
    """The list of one training.

    Args:
      title: of the training, for the terminal.
      sampler: which clients take part in a round.
      excludes: whether those listed are left out of later rounds.
      aggregator: of the training's `Plan`; one that bears hostile clients needs some in a round.
    """

    def __init__(
        self, title: str, sampler: Sampler, excludes: bool, aggregator: Any = None
    ) -> None:
        self._title = title
        self._sampler = sampler
        self._excludes = excludes
        self._robust = aggregator if isinstance(aggregator, RobustFactory) else None
        self._has_warned = False
        self._suspicions: dict[str, list[list[str]]] = collections.defaultdict(list)
        self._listed: dict[str, str] = {}

    def resume(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Begins with the rows of `clients.csv` so far."""
        self._suspicions.clear()
        self._listed.clear()
        for row in rows:
            self._note(row)
            if row[QUARANTINE]:
                self._listed[row["client"]] = row[QUARANTINE]
        counting: dict[str, int] = collections.defaultdict(int)
        for row in rows:
            counting[row["round"]] += row["status"] == "ok"
        self._has_warned = any(map(self._are_too_few, counting.values()))

    def judge(self, rows: Sequence[MutableMapping[str, Any]]) -> None:
        """Fills the column `quarantine` of a round's rows, and tells of those newly listed.

        It also warns, once in a training, of a round with fewer clients than the aggregator needs.
        """
        for row in rows:
            client = row["client"]
            self._note(row)
            if client not in self._listed:
                reasons = self._confirmed(client)
                if reasons:
                    self._listed[client] = "+".join(reasons)
                    self._tell(client, int(row["round"]))
            row[QUARANTINE] = self._listed.get(client, "")
        self._warn(rows)

    def sample(self, round_number: int) -> list[str]:
        """The sorted ids of the clients that take part in a round."""
        return self._without(self.excluded).sample(round_number)

    @property
    def excluded(self) -> list[str]:
        """Who is left out: of those listed, the first as long as enough remain, see above."""
        if not self._excludes:
            return []
        listed = list(self._listed)[: (len(self._sampler.client_ids) - 1) // 2]
        while listed and self._are_too_few(self._without(listed).count):
            listed.pop()
        return listed

    def _without(self, excluded: Sequence[str]) -> Sampler:
        """Draws among the other clients."""
        left = [client for client in self._sampler.client_ids if client not in excluded]
        request = self._sampler.clients_per_round
        if isinstance(request, int):
            request = min(request, len(left))
        return dataclasses.replace(self._sampler, client_ids=left, clients_per_round=request)

    def _are_too_few(self, clients: int) -> bool:
        """Whether the aggregator needs more clients in a round."""
        return self._robust is not None and clients < self._robust.least_clients

    def _note(self, row: Mapping[str, Any]) -> None:
        if not row["status"].startswith(run_tables.LEFT_OUT):
            self._suspicions[row["client"]].append(run_tables.suspicions(row[SUSPICION]))

    def _confirmed(self, client: str) -> list[str]:
        last = self._suspicions[client][-_ROUNDS:]
        return [
            reason
            for reason in run_tables.SUSPICIONS
            if sum(reason in reasons for reasons in last) >= _ENOUGH
        ]

    def _tell(self, client: str, round_number: int) -> None:
        reasons = run_tables.suspicions(self._listed[client])
        words = "; ".join(run_tables.SUSPICIONS[reason] for reason in reasons)
        print(
            f"{self._title}: QUARANTINE of {client} after round {round_number}: "
            f"{words}{self._consequence(client)}",
            file=sys.stderr,
            flush=True,
        )

    def _consequence(self, client: str) -> str:
        """What becomes of one that is listed, for the end of a sentence."""
        if not self._excludes:
            return ""
        excluded = self.excluded
        if client in excluded:
            return "; left out from now on"
        remaining = self._without([*excluded, client]).count
        if self._robust and self._are_too_few(remaining):
            return (
                f"; not left out, since rounds would have {remaining} clients and "
                f"{_needs(self._robust)}"
            )
        return "; not left out, as too many are"

    def _warn(self, rows: Sequence[Mapping[str, Any]]) -> None:
        counting = sum(row["status"] == "ok" for row in rows)
        if self._has_warned or not self._robust or not self._are_too_few(counting):
            return
        self._has_warned = True
        print(
            f"{self._title}: WARNING: round {rows[0]['round']} had {counting} updates that count, "
            f"and {_needs(self._robust)}; such rounds bear {self._robust.borne(counting)} hostile "
            "ones (said once)",
            file=sys.stderr,
            flush=True,
        )


def _needs(aggregator: RobustFactory) -> str:
    return (
        f"{aggregator.rule} needs {aggregator.least_clients} for "
        f"--hostile_clients={aggregator.hostile}"
    )
