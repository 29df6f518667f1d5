"""One log of the rounds of several models that a run trains one after the other."""

from __future__ import annotations

from collections.abc import Mapping
import pathlib
from typing import Any

import pandas as pd

from tffcxr import run_tables


def write_rounds(directory: pathlib.Path, names: Mapping[str, str], suffix: str = "") -> None:
    """Writes `rounds<suffix>.csv`: the metrics of all variants side by side.

    Variants whose learning rates differ have a column of it each. A variant whose training stopped
    before that of others has no numbers in later rounds.

    Args:
      directory: the run's, with `rounds_<variant><suffix>.csv` of each; the columns of their
        metrics, `<task>/<metric>`, all differ.
      names: variant, as in the names of files, to what tables call it.
      suffix: of a baseline, such as "_pooled".
    """
    logs = {
        name: _read(directory / f"rounds_{variant}{suffix}.csv") for variant, name in names.items()
    }
    longest = max(logs.values(), key=len)
    rounds = longest[["round"]].copy()
    logs = {name: log.reindex(longest.index, fill_value="") for name, log in logs.items()}

    def summed(column: str) -> Any:
        """Of all variants together."""
        return sum(pd.to_numeric(log[column].replace("", "0")) for log in logs.values())

    rounds.insert(1, "seconds", summed("seconds").round(3))
    for column in ("images", "clients", "failed_clients"):
        rounds[column] = summed(column)
    rates = [log["learning_rate"] for log in logs.values()]
    has_common_rate = all(rate.equals(rates[0]) for rate in rates)
    if has_common_rate:
        rounds["learning_rate"] = rates[0]
    for name, log in logs.items():
        if not has_common_rate:
            rounds[f"{name}/learning_rate"] = log["learning_rate"]
        rounds[f"{name}/train_loss"] = log["train_loss"]
        for column in log.columns:
            if "/" in column:
                rounds[column] = log[column]
    rounds = rounds.assign(stage=longest["stage"])
    run_tables.ROUNDS.write(directory, rounds, f"rounds{suffix}.csv")


def write_clients(directory: pathlib.Path, names: Mapping[str, str]) -> None:
    """Writes `clients.csv` of all variants from `clients_<variant>.csv`, as `write_rounds` does."""
    tables = [
        _read(directory / f"clients_{variant}.csv").assign(variant=name)
        for variant, name in names.items()
    ]
    run_tables.CLIENTS.write(directory, pd.concat(tables, ignore_index=True))


def _read(path: pathlib.Path) -> pd.DataFrame:
    """Reads a table as text: numbers keep every digit."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
