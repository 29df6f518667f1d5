"""What a run's files say of its clients: which file each image is, and how many images each has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tffcxr import kept_names, run_tables
from tffcxr.clients.shards.shard_store import SPLITS

if TYPE_CHECKING:
    from tffcxr.clients.shards.preparation import ShardStore
    from tffcxr.clients.sites import ClientRecords


def write_images(directory: pathlib.Path, records: Mapping[str, pd.DataFrame]) -> None:
    """Writes which file and patient each row of the clients' tables is."""
    if not records:  # They are at hospitals.
        return
    columns = ["client", "row", "split", "image", "patient"]
    tables = [
        table.assign(client=client, row=np.arange(len(table)))[columns]
        for client, table in records.items()
    ]
    kept_names.write(directory, run_tables.IMAGES, pd.concat(tables, ignore_index=True))


def describe(
    clients: ClientRecords, store: ShardStore, about: Callable[[str], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A row per client for `config.json` and the report.

    Args:
      clients: who holds what.
      store: has their images.
      about: what only this kind of study reports of a client.
    """
    described = []
    for client in store.client_ids:
        site = clients.site_of[client]
        row: dict[str, Any] = {"client": client, "site": site, "source": clients.source_of[site]}
        if client not in clients.records:  # It is at a hospital.
            row.update({f"{split}_images": store.count(client, split) for split in SPLITS})
            known = {name: n for name, n in {**row, **about(client)}.items() if n is not None}
            described.append(known)
            continue
        patients = clients.records[client].groupby("split")["patient"].nunique()
        for split in SPLITS:
            if split in patients:
                row[f"{split}_images"] = store.count(client, split)
                row[f"{split}_patients"] = int(patients[split])
        described.append({**row, **about(client), "rejected_files": len(store.rejected(client))})
    return described
