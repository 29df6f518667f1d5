"""Logs of a run over hospitals: the coordinator's of all, and a hospital's of its own rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
import pathlib
import sys
from typing import Any, Protocol

from tffcxr import run_tables
from tffcxr.hospitals.serving import ClientTurn
from tffcxr.training.loop import RoundResult, round_columns
from tffcxr.training.plan import Rounds
from tffcxr.training.round_log import RoundLog


class Traffic(Protocol):
    """What the coordinator knows of a round."""

    @property
    def traffic(self) -> Mapping[str, Mapping[str, Any]]:
        """Of the last round, by hospital: columns of `hospitals.csv`."""

    def report(self, about: Mapping[str, Any]) -> None:
        """Takes what `hospital status` says of the run from now on: JSON values."""


class HospitalLog:
    """One of the tables of `loop.Journal`, `hospitals.csv`: a row per round and hospital.

    Args:
      path: the file.
      hospitals: knows the last round.
    """

    def __init__(self, path: pathlib.Path, hospitals: Traffic) -> None:
        self._log = _GrowingLog(path, run_tables.HOSPITALS.always)
        self._hospitals = hospitals

    def __call__(self, row: Mapping[str, Any], result: RoundResult, state: Any) -> None:
        """See `loop.Journal`."""
        del result, state
        number = int(row["round"])
        self._log.write(
            number,
            [
                {"round": number, "site": site, **about}
                for site, about in sorted(self._hospitals.traffic.items())
            ],
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
    """Writes a hospital's own `rounds.csv` and `clients.csv`, of its clients and images alone.

    Args:
      rounds: the first file.
      clients: the second.
      plan: of the training.
      columns: of the evaluator.
    """

    def __init__(
        self, rounds: pathlib.Path, clients: pathlib.Path, plan: Rounds, columns: Sequence[str]
    ) -> None:
        self._log = _GrowingLog(rounds, round_columns(columns))
        self._clients = _GrowingLog(clients, run_tables.CLIENTS.always)
        self._plan = plan

    def client_rows(self) -> list[dict[str, str]]:
        """The rows of `clients.csv`."""
        return self._clients.rows(self._plan.rounds)

    def __call__(
        self,
        number: int,
        seconds: float,
        turns: Mapping[str, ClientTurn],
        measured: Mapping[str, float],
    ) -> None:
        """Notes a round.

        Args:
          number: of the round, counted from 1.
          seconds: that this hospital has worked on it.
          turns: of the clients that took part.
          measured: by the columns.
        """
        _, stage = self._plan.stage_of(number)
        row = {
            "round": number,
            "seconds": round(seconds, 3),
            "images": sum(turn.images for turn in turns.values()),
            "clients": len(turns),
            "failed_clients": 0,
            "learning_rate": math.nan,  # The coordinator knows it.
            "train_loss": _mean_loss(list(turns.values())),
            **measured,
            "stage": stage.name,
        }
        self._log.write(number, [row])
        self._clients.write(
            number,
            [
                {
                    "round": number,
                    "client": client,
                    "images": turn.images,
                    "train_loss": _mean_loss([turn]),
                    "status": "ok",
                }
                for client, turn in sorted(turns.items())
            ],
        )
        values = [f"{name} {value:.3f}" for name, value in measured.items() if value == value]
        trained = f"{row['images']} images in {seconds:.1f} s"
        line = f"round {number}/{self._plan.rounds}: {', '.join([trained, *values])}"
        print(line, file=sys.stderr, flush=True)


class _GrowingLog:
    """A `RoundLog` that is taken back where a round does not follow the last one that was written.

    That is the first one, and one that is trained again.
    """

    def __init__(self, path: pathlib.Path, columns: Sequence[str]) -> None:
        self._log = RoundLog(path, columns)
        self._last: int | None = None

    def write(self, number: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the rows of a round."""
        if self._last is None or number != self._last + 1:
            self._log.rewind(number - 1)
        self._log.append(rows)
        self._last = number

    def rows(self, last_round: int) -> list[dict[str, str]]:
        """The rows so far, up to a round that is not before the last one."""
        return self._log.rewind(last_round)


def _mean_loss(turns: Sequence[ClientTurn]) -> float:
    """The mean over labels; NaN without one."""
    labels = sum(turn.labels for turn in turns)
    return sum(turn.loss for turn in turns) / labels if labels else math.nan
