"""A study over hospitals against the same in one place, with who took part in each round."""

from __future__ import annotations

import functools
import pathlib

import numpy as np

from tests.experiments import compared_runs, programs
from tests.soak.federation import RECIPE, SITES, Study
from tffcxr.clients.sampling import Sampler

_HOSPITALS = "hospitals.csv"
_MOST_SECONDS = 7200.0
# Of a round whatever its hospitals were; of a finding, also what is measured afterwards.
_ALWAYS = ("round", "images", "clients", "learning_rate", "train_loss", "stage")


def participation(clients: pathlib.Path) -> dict[int, list[str]]:
    """Who took part in each round, by a `clients.csv`."""
    rounds: dict[int, list[str]] = {}
    for row in programs.read_rows(clients):
        took_part = rounds.setdefault(int(row["round"]), [])
        if not row["status"].startswith("left out"):
            took_part.append(row["client"])
    return {number: sorted(took_part) for number, took_part in rounds.items()}


def sample_as(clients: pathlib.Path) -> None:
    """Has the sampler of this process draw whom a `clients.csv` names."""
    rounds = participation(clients)
    # A class cannot be told by its type that one of its methods is replaced.
    setattr(Sampler, "sample", lambda self, number: rounds[number])  # noqa: B010


def replay(study: Study, folder: pathlib.Path) -> None:
    """Runs the study in one place."""
    prepare = functools.partial(sample_as, study.run / "clients.csv")
    words = [*study.settings, *study.site_flags]
    programs.succeed(folder, RECIPE, *words, prepare=prepare, timeout=_MOST_SECONDS)


def assert_same(study: Study, local: pathlib.Path) -> None:
    """Asserts that a study has each round once, and ends with the bits of its replay."""
    expected = [str(number) for number in range(1, study.rounds + 1)]
    rounds = programs.read_rows(study.run / "rounds.csv")
    assert [row["round"] for row in rounds] == expected
    clients = [
        (row["round"], row["client"]) for row in programs.read_rows(study.run / "clients.csv")
    ]
    assert clients == [(number, site) for number in expected for site in SITES]
    exchanged = [(row["round"], row["site"]) for row in programs.read_rows(study.run / _HOSPITALS)]
    assert len(set(exchanged)) == len(exchanged)
    assert {number for number, _ in exchanged} == set(expected)
    for found, replayed in zip(rounds, programs.read_rows(local / "rounds.csv"), strict=True):
        for column in found:
            is_measured = "/" in column and found[column] not in ("", "nan")
            if column in _ALWAYS or is_measured:
                assert found[column] == replayed[column], (column, found, replayed)
    _assert_same_states(study, local)
    rows = programs.read_json(local / "metrics.json")["rows"]
    assert programs.read_json(study.run / "metrics.json")["rows"] == rows
    predictions = programs.read_rows(local / "predictions.csv")
    for site in SITES:
        own = [row for row in predictions if row["client"] == site]
        assert own and programs.read_rows(study.hospital_run(site) / "predictions.csv") == own


def _assert_same_states(study: Study, local: pathlib.Path) -> None:
    """Of the server, and of each client, whose state stays at its hospital."""
    after, server = _split(_checkpoint(study.run, study.rounds), len(SITES))
    expected = _checkpoint(local, study.rounds)
    for site, round_number in zip(SITES, after):
        name = f"round_{int(round_number):06d}.npz"
        (path,) = (study.hospital_run(site) / "states").glob(f"*/{site}/{name}")
        private = _arrays(path)
        replayed, expected = _split(expected, len(private))
        assert sorted(map(_bits, private)) == sorted(map(_bits, replayed))  # In two orders.
    assert list(map(_bits, server)) == list(map(_bits, expected))


def _split(arrays: list[np.ndarray], first: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return arrays[:first], arrays[first:]


def _bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, array.tobytes()


def _checkpoint(run: pathlib.Path, rounds: int) -> list[np.ndarray]:
    """The leaves of the state after the last round, of the clients and then of the server."""
    return _arrays(run / "checkpoints" / "federated" / f"round_{rounds:06d}.npz")


def _arrays(path: pathlib.Path) -> list[np.ndarray]:
    """Those of a file, in the order of their names."""
    return [array for _, array in sorted(compared_runs.arrays(path).items())]
