"""One log of the rounds of several models that a run trains one after the other."""

from __future__ import annotations

from collections.abc import Mapping
import pathlib

import pandas as pd

from tffcxr.files import write_text


def join(directory: pathlib.Path, names: Mapping[str, str]) -> None:
    """Writes `rounds.csv` and `clients.csv` of all variants together.

    Args:
      directory: the run's, with `rounds_<variant>.csv` and `clients_<variant>.csv` of each.
      names: variant, as in the names of files, to what tables call it.
    """
    logs = {name: _read(directory / f"rounds_{file}.csv") for file, name in names.items()}
    clients = [
        _read(directory / f"clients_{file}.csv").assign(variant=name)
        for file, name in names.items()
    ]
    for file, table in (
        ("rounds.csv", _join_rounds(logs)),
        ("clients.csv", pd.concat(clients, ignore_index=True)),
    ):
        write_text(directory / file, table.to_csv(index=False, lineterminator="\n"))


def _join_rounds(logs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Puts the metrics of all variants side by side, each with its own training loss."""
    first = next(iter(logs.values()))
    rounds = first[["round", "learning_rate"]].copy()
    seconds = sum(log["seconds"].astype(float) for log in logs.values())
    rounds.insert(1, "seconds", seconds.round(3))
    for column in ("images", "clients", "failed_clients"):  # Of all variants together.
        rounds[column] = sum(log[column].astype(int) for log in logs.values())
    for name, log in logs.items():
        rounds[f"{name}/train_loss"] = log["train_loss"]
        for column in log.columns:
            if "/" in column:
                rounds[column] = log[column]
    return rounds.assign(stage=first["stage"])


def _read(path: pathlib.Path) -> pd.DataFrame:
    """Reads a table as text: numbers keep every digit."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
