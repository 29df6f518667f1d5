"""One log of the rounds of several models that a run trains one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import pathlib

import pandas as pd

from tffcxr import run_tables


def write_rounds(directory: pathlib.Path, names: Mapping[str, str], suffix: str = "") -> None:
    """Writes `rounds<suffix>.csv`: the metrics of all variants side by side.

    Variants whose learning rates differ have a column of it each. Where one has fewer rounds than
    others, its metrics end before theirs; where their stages differ, the stage is empty.

    Args:
      directory: the run's, with `rounds_<variant><suffix>.csv` of each; the columns of their
        metrics, `<task>/<metric>`, all differ.
      names: variant, as in the names of files, to what tables call it.
      suffix: of a baseline, such as "_pooled".
    """
    logs = {
        name: _read(directory / f"rounds_{variant}{suffix}.csv").set_index("round")
        for variant, name in names.items()
    }
    longest = max(logs.values(), key=len)
    # Text; a cell of a variant that has ended is empty.
    logs = {name: log.reindex(longest.index, fill_value="") for name, log in logs.items()}
    rounds = pd.DataFrame({"round": longest.index}, index=longest.index)
    rounds["seconds"] = _sum(logs, "seconds", float).round(3)
    for column in ("images", "clients", "failed_clients"):  # Of all variants together.
        rounds[column] = _sum(logs, column, int)
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
    stages = pd.DataFrame({name: log["stage"] for name, log in logs.items()})
    rounds = rounds.assign(stage=[_common_stage(row) for row in stages.to_numpy()])
    run_tables.ROUNDS.write(directory, rounds, f"rounds{suffix}.csv")


def write_clients(directory: pathlib.Path, names: Mapping[str, str]) -> None:
    """Writes `clients.csv` of all variants from `clients_<variant>.csv`, as `write_rounds` does."""
    _write_joined(directory, names, run_tables.CLIENTS)


def write_hospitals(directory: pathlib.Path, names: Mapping[str, str]) -> None:
    """Writes `hospitals.csv` from `hospitals_<variant>.csv`; only a coordinator has these."""
    if any((directory / f"hospitals_{variant}.csv").exists() for variant in names):
        _write_joined(directory, names, run_tables.HOSPITALS)


def _write_joined(
    directory: pathlib.Path, names: Mapping[str, str], schema: run_tables.Table
) -> None:
    """Writes the rows of all variants below each other, with the variant's name in each."""
    stem = schema.file.removesuffix(".csv")
    tables = [
        _read(directory / f"{stem}_{variant}.csv").assign(variant=name)
        for variant, name in names.items()
    ]
    schema.write(directory, pd.concat(tables, ignore_index=True))


def _sum(logs: Mapping[str, pd.DataFrame], column: str, number: type) -> pd.Series:
    """Adds up a column of all variants; one that has ended adds nothing."""
    return sum(log[column].replace("", "0").astype(number) for log in logs.values())


def _common_stage(stages: Sequence[str]) -> str:
    """The stage of all variants that are still in training; empty where they differ."""
    found = {stage for stage in stages if stage}
    return found.pop() if len(found) == 1 else ""


def _read(path: pathlib.Path) -> pd.DataFrame:
    """Reads a table as text: numbers keep every digit."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
