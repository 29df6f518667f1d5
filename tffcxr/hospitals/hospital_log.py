"""Logs of a run over hospitals: the coordinator's of all, and a hospital's of its own rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import pathlib
import sys
from typing import Any, Protocol

from tffcxr import run_tables
from tffcxr.training.loop import RoundResult
from tffcxr.training.plan import Rounds
from tffcxr.training.round_log import RoundLog


class Traffic(Protocol):
    """What the coordinator knows of a round."""

    @property
    def traffic(self) -> Mapping[str, Mapping[str, Any]]:
        """Of the last round, by hospital: columns of `hospitals.csv`."""

    def report(self, about: Mapping[str, Any]) -> None:
        """Takes what `hospital status` tells of the run from now on: JSON values."""


class HospitalLog:
    """An observer of `loop.Journal` that writes `hospitals.csv`: a row per round and hospital.

    Args:
      path: the file.
      hospitals: knows the last round.
    """

    def __init__(self, path: pathlib.Path, hospitals: Traffic) -> None:
        self._log = RoundLog(path, run_tables.HOSPITALS.always)
        self._hospitals = hospitals

    def __call__(self, row: Mapping[str, Any], result: RoundResult, state: Any) -> None:
        """See `loop.Journal`."""
        del result, state
        number = int(row["round"])
        self._log.rewind(number - 1)
        self._log.append(
            [
                {"round": number, "site": site, **about}
                for site, about in sorted(self._hospitals.traffic.items())
            ]
        )


class Standing:
    """An observer of `loop.Journal` that has `hospital status` say how far the training is.

    Args:
      training: its name.
      rounds: that are planned.
      hospitals: knows the last round, and tells.
    """

    def __init__(self, training: str, rounds: int, hospitals: Traffic) -> None:
        self._training = training
        self._rounds = rounds
        self._hospitals = hospitals

    def __call__(self, row: Mapping[str, Any], result: RoundResult, state: Any) -> None:
        """See `loop.Journal`."""
        del result, state
        took_part = [
            site
            for site, about in sorted(self._hospitals.traffic.items())
            if about["took_part"] == "yes"
        ]
        self._hospitals.report(
            {
                "training": self._training,
                "round": int(row["round"]),
                "rounds": self._rounds,
                "took_part": took_part,
            }
        )


class OwnRounds:
    """Writes a hospital's own `rounds.csv`: what the rounds' models do on its images.

    Args:
      path: the file.
      plan: its rounds.
      columns: of the evaluator.
      clients: how many this hospital has.
    """

    def __init__(
        self, path: pathlib.Path, plan: Rounds, columns: Sequence[str], clients: int
    ) -> None:
        *numbers, stage = run_tables.ROUNDS.always
        self._log = RoundLog(path, [*numbers, *columns, stage])
        self._plan = plan
        self._clients = clients

    def __call__(
        self, number: int, seconds: float, images: int, measured: Mapping[str, float]
    ) -> None:
        """Notes a round.

        Args:
          number: of the round, counted from 1.
          seconds: that this hospital has worked on it.
          images: that it has trained on.
          measured: by the columns.
        """
        _, stage = self._plan.stage_of(number)
        self._log.rewind(number - 1)
        row = {
            "round": number,
            "seconds": round(seconds, 3),
            "images": images,
            "clients": self._clients,
            "failed_clients": 0,
            **measured,
            "stage": stage.name,
        }
        self._log.append([row])
        told = ", ".join(
            f"{name} {value:.3f}" for name, value in measured.items() if value == value
        )
        print(
            f"round {number}/{self._plan.rounds}: {images} images in {seconds:.1f} s; {told}",
            file=sys.stderr,
            flush=True,
        )
