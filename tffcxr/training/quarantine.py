"""Clients that look hostile or broken over several rounds, which may be left out from then on.

A client is listed for a reason once it was suspected for that in two of the last three rounds in
which it took part, see `suspicion`. If honest clients were suspected with the probability p in a
round, independently, one would be listed after three rounds with 3 p^2, which is 7.5e-5 for p =
0.005. A client that is always a little unlike the others is suspected in many rounds or in none, so
p is then the probability of being listed.

Who is listed stays so to the end of the training: what it sent has changed the model that later
rounds start from. At most so many clients are left out that more than half remain: where half of
them are unusual, nobody knows which half is hostile.

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

_ROUNDS, _ENOUGH = 3, 2
SUSPICION, QUARANTINE = "suspicion", "quarantine"  # Columns of `clients.csv`.


class Quarantine:
    """The list of one training.

    Args:
      title: of the training, for the terminal.
      sampler: which clients take part in a round.
      excludes: whether those listed are left out of later rounds.
    """

    def __init__(self, title: str, sampler: Sampler, excludes: bool) -> None:
        self._title = title
        self._sampler = sampler
        self._excludes = excludes
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

    def judge(self, rows: Sequence[MutableMapping[str, Any]]) -> None:
        """Fills the column `quarantine` of a round's rows, and tells of those newly listed."""
        for row in rows:
            client = row["client"]
            self._note(row)
            if client not in self._listed:
                reasons = self._confirmed(client)
                if reasons:
                    self._listed[client] = "+".join(reasons)
                    self._tell(client, int(row["round"]))
            row[QUARANTINE] = self._listed.get(client, "")

    def sample(self, round_number: int) -> list[str]:
        """The sorted ids of the clients that take part in a round."""
        left = [client for client in self._sampler.client_ids if client not in self.excluded]
        if len(left) == len(self._sampler.client_ids):
            return self._sampler.sample(round_number)
        request = self._sampler.clients_per_round
        if isinstance(request, int):
            request = min(request, len(left))
        others = dataclasses.replace(self._sampler, client_ids=left, clients_per_round=request)
        return others.sample(round_number)

    @property
    def excluded(self) -> list[str]:
        """Who is left out: of those listed, the first as long as more than half of all remain."""
        most = (len(self._sampler.client_ids) - 1) // 2
        return list(self._listed)[:most] if self._excludes else []

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
        consequence = ""
        if self._excludes:
            is_out = client in self.excluded
            consequence = "; left out from now on" if is_out else "; not left out, as too many are"
        print(
            f"{self._title}: QUARANTINE of {client} after round {round_number}: "
            f"{words}{consequence}",
            file=sys.stderr,
            flush=True,
        )
