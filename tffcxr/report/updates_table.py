"""What the report says of the clients' updates, and of those that are in quarantine."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import TYPE_CHECKING

from tffcxr import run_tables
from tffcxr.report import run_reader

if TYPE_CHECKING:
    import pandas as pd

_MEASURED = ("update_norm", "cosine", "counted")  # Older runs have these at most.


@dataclasses.dataclass(frozen=True)
class Client:
    """A client's updates of all rounds of a training.

    Attributes:
      training: the network, where there are several; otherwise empty.
      name: of the client.
      rounds: that it took part in.
      length: median of its updates' lengths, each relative to the median of its round; NaN where
        they are hidden from the server, and so are the cosines.
      cosine: median of the cosines of the angles between its updates and those of their rounds.
      cosine_others: median of the same with the others' updates, of which each is a median.
      clipped: rounds in which the aggregator made its update shorter.
      left_out: rounds in which the aggregator left its update out.
      suspected: rounds in which something was suspicious.
      quarantine: what it was listed for, in words; empty if it was not.
      since: the round after which it was listed; 0 if it was not.
    """

    training: str
    name: str
    rounds: int
    length: float
    cosine: float
    cosine_others: float
    clipped: int
    left_out: int
    suspected: int
    quarantine: Sequence[str]
    since: int


def of(run: run_reader.Run) -> list[Client]:
    """Returns the clients' updates; empty for a run that measured none."""
    table = run.clients
    if not {*_MEASURED} <= {*table.columns}:
        return []
    table = table.reindex(columns=dict.fromkeys([*table.columns, *run_tables.OF_UPDATES]))
    table = table.fillna({"suspicion": "", "quarantine": ""})
    table = table[~table["status"].astype(str).str.startswith(run_tables.LEFT_OUT)]
    if table["update_norm"].isna().all() and not table["quarantine"].any():
        return []
    training = table["variant"] if "variant" in table else table["client"].map(lambda _: "")
    median = table.groupby([training, table["round"]])["update_norm"].transform("median")
    table = table.assign(length=table["update_norm"] / median)
    return [
        _client(str(name), str(client), rows)
        for (name, client), rows in table.groupby([training, table["client"]], sort=True)
    ]


def warnings(run: run_reader.Run, clients: Sequence[Client]) -> list[str]:
    """Returns a sentence for each client that is in quarantine."""
    is_out = run.config.get("settings", {}).get("quarantine") == "exclude"
    return [
        f"QUARANTINE of {client.name}{f' ({client.training})' if client.training else ''} after "
        f"round {client.since}: {'; '.join(client.quarantine)}. Its data or its computer may be "
        f"damaged, its data may be unlike the others', or it means harm. {_CONSEQUENCES[is_out]}"
        for client in clients
        if client.quarantine
    ]


_CONSEQUENCES = {
    False: "Its updates went into the model as before (--quarantine=report).",
    True: "It took no part in later rounds, unless too few clients would have remained.",
}


def _client(training: str, name: str, rows: pd.DataFrame) -> Client:
    listed = rows[rows["quarantine"] != ""]
    reasons = run_tables.suspicions(listed["quarantine"].iat[0]) if len(listed) else []
    return Client(
        training,
        name,
        len(rows),
        float(rows["length"].median()),
        float(rows["cosine"].median()),
        float(rows["cosine_others"].median()),
        int((rows["clipped"] == 1).sum()),
        int((rows["counted"] == 0).sum()),
        int((rows["suspicion"] != "").sum()),
        [run_tables.SUSPICIONS[reason] for reason in reasons],
        int(listed["round"].iat[0]) if len(listed) else 0,
    )
