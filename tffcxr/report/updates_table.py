"""What the report says of the clients' updates, where the aggregator saw each of them."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import TYPE_CHECKING

from tffcxr.report import run_reader

if TYPE_CHECKING:
    import pandas as pd

_MEASURED = ("update_norm", "cosine", "counted")  # Which older runs with few aggregators have, too.
# Ours: an honest client's update is seldom so many times as long as the median of its round.
_LONG = 3.0


@dataclasses.dataclass(frozen=True)
class Client:
    """A client's updates of all rounds of a training.

    Attributes:
      training: the network, where there are several; otherwise empty.
      name: of the client.
      rounds: that it took part in, and did not fail.
      length: median of its updates' lengths, each relative to the median of its round.
      cosine: median of the cosines of the angles between its updates and those of their rounds.
      left_out: rounds in which the aggregator left its update out.
      suspicions: what is unusual, in words; empty for nothing.
    """

    training: str
    name: str
    rounds: int
    length: float
    cosine: float
    left_out: int
    suspicions: Sequence[str]


def of(run: run_reader.Run) -> list[Client]:
    """Returns the clients' updates; empty for a run whose aggregator saw none."""
    table = run.clients
    if not {*_MEASURED} <= {*table.columns}:
        return []
    table = table[table["update_norm"].notna()]
    training = table["variant"] if "variant" in table else table["client"].map(lambda _: "")
    median = table.groupby([training, table["round"]])["update_norm"].transform("median")
    table = table.assign(length=table["update_norm"] / median)
    return [
        _client(str(name), str(client), rows)
        for (name, client), rows in table.groupby([training, table["client"]], sort=True)
    ]


def warnings(clients: Sequence[Client]) -> list[str]:
    """Returns a sentence for each client whose updates are unusual."""
    return [
        f"The updates of {client.name}{f' ({client.training})' if client.training else ''} are "
        f"unusual: {'; '.join(client.suspicions)}. Its data may be damaged or unlike the others', "
        "or it means harm."
        for client in clients
        if client.suspicions
    ]


def _client(training: str, name: str, rows: pd.DataFrame) -> Client:
    length, cosine = float(rows["length"].median()), float(rows["cosine"].median())
    left_out = int((rows["counted"] == 0).sum())
    suspicions = []
    if length > _LONG:
        suspicions.append(f"{length:.1f} times as long as the median of the round")
    if cosine < 0:
        suspicions.append(f"they point against those of the rounds (cosine {cosine:.2f})")
    if 2 * left_out > len(rows):
        suspicions.append(f"left out in {left_out} of {len(rows)} rounds")
    return Client(training, name, len(rows), length, cosine, left_out, suspicions)
