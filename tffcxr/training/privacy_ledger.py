"""How much privacy the clients of a training have lost, by the rounds that it has finished."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import json
import math
import pathlib
from typing import Any

from tffcxr import options, run_tables
from tffcxr.clients.sampling import Sampler
from tffcxr.errors import InputError
from tffcxr.files import write_json
from tffcxr.learning import aggregators, privacy_accounting


@dataclasses.dataclass(frozen=True)
class Privacy:
    """What `--aggregator=dp` is to give.

    Attributes:
      noise_multiplier: of updates and count together, relative to the clipping norm; None to choose
        it by `target_epsilon`.
      target_epsilon: of all planned rounds.
      budget: the epsilon that no round may exceed; None for none.
      delta: of every epsilon.
      clip: the clipping norm of the first round; it costs nothing, as long as no data decide it.
    """

    noise_multiplier: float | None = None
    target_epsilon: float | None = None
    budget: float | None = None
    delta: float = options.DP_DELTA
    clip: float = options.DP_CLIP

    def __post_init__(self) -> None:
        if (self.noise_multiplier is None) == (self.target_epsilon is None):
            raise ValueError("expected a noise multiplier or a target epsilon, not both")

    @property
    def limit(self) -> float:
        """The epsilon that no round may exceed."""
        limits = (self.budget, self.target_epsilon)
        return min((limit for limit in limits if limit is not None), default=math.inf)


class Ledger:
    """Accounts for a training's rounds; every epsilon is that of the client that lost most.

    It keeps nothing: each answer follows from the rows of `clients.csv`. A client whose update was
    not finite has taken part, since its zeros are in the sum; one that was left out has not.

    Args:
      privacy: what is wanted.
      sampler: draws the clients of a round.
      rounds: how many are planned.
      is_released: whether a round, counted from 1, gives away anything that clients trained.

    Raises:
      InputError: not even one round fits into the budget.
    """

    def __init__(
        self,
        privacy: Privacy,
        sampler: Sampler,
        rounds: int,
        is_released: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._privacy = privacy
        self._sampler = sampler
        self._is_released = functools.cache(is_released)
        released = [number for number in range(1, rounds + 1) if self._is_released(number)]
        planned = collections.Counter(c for number in released for c in sampler.sample(number))
        self._planned = max(planned.values(), default=0)
        self.noise_multiplier = self._noise()
        least = self._of(1)
        if released and least > privacy.limit:
            raise InputError(
                f"--epsilon_budget: expected at least {least:.4g}, the epsilon of one round with a "
                f"noise multiplier of {self.noise_multiplier:.4g} at delta {privacy.delta:g}, "
                f"found {privacy.limit:g}"
            )

    def _noise(self) -> float:
        privacy = self._privacy
        if privacy.noise_multiplier is not None:
            return privacy.noise_multiplier
        assert privacy.target_epsilon is not None
        return privacy_accounting.noise_for(
            privacy.target_epsilon, max(1, self._planned), privacy.delta
        )

    @property
    def delta(self) -> float:
        """Of every epsilon."""
        return self._privacy.delta

    @property
    def plan(self) -> str:
        """A line on what the training is to cost."""
        return (
            f"noise multiplier {self.noise_multiplier:.4g}; a client takes part in at most "
            f"{self._planned} rounds, which is epsilon {self._of(self._planned):.4g} at delta "
            f"{self._privacy.delta:g}"
        )

    def epsilon(self, rows: Sequence[Mapping[str, Any]]) -> float:
        """The epsilon of the rounds so far.

        Args:
          rows: of `clients.csv`.
        """
        return self._of(max(self._taken_part(rows).values(), default=0))

    def is_spent(self, rows: Sequence[Mapping[str, Any]], number: int) -> bool:
        """Whether a round could exceed the budget.

        Args:
          rows: of `clients.csv`, of the rounds before.
          number: of the round.
        """
        if not self._is_released(number) or math.isinf(self._privacy.limit):
            return False
        taken_part = self._taken_part(rows)
        most = max(taken_part[client] for client in self._sampler.sample(number)) + 1
        return self._of(most) > self._privacy.limit

    def summary(self, rows: Sequence[Mapping[str, Any]], is_stopped: bool) -> dict[str, Any]:
        """What `privacy.json` says of the training.

        Args:
          rows: of `clients.csv`.
          is_stopped: whether the budget ended it.
        """
        taken_part, privacy = self._taken_part(rows), self._privacy
        most = max(taken_part.values(), default=0)
        released = {int(row["round"]) for row in rows if self._is_released(int(row["round"]))}
        releases = {self.noise_multiplier: most}
        clients, sampled = len(self._sampler.client_ids), self._sampler.count
        updates, count = aggregators.split_noise(self.noise_multiplier, float(sampled))
        found: dict[str, Any] = {
            "noise_multiplier": self.noise_multiplier,
            "noise_multiplier_of_updates": updates,
            "noise_of_count": count,
            "first_clip": self._privacy.clip,
            "clients": clients,
            "clients_per_round": sampled,
            "rounds": len(released),
            "most_rounds_of_a_client": most,
            "epsilon": self._of(most),
            "epsilon_left_out": privacy_accounting.epsilon(
                releases, privacy.delta, privacy_accounting.LEFT_OUT
            ),
            "right_guesses": privacy_accounting.right_guesses(releases),
            "budget": None if math.isinf(privacy.limit) else privacy.limit,
            "stopped_by_budget": is_stopped,
            "taken_part": dict(sorted(taken_part.items())),
        }
        if sampled < clients and not any(map(is_left_out, rows)):
            found["epsilon_of_secret_samples"] = privacy_accounting.epsilon_of_secret_samples(
                self.noise_multiplier, clients, sampled, len(released), privacy.delta
            )
        return found

    def write(
        self,
        directory: pathlib.Path,
        training: str,
        rows: Sequence[Mapping[str, Any]],
        is_stopped: bool = False,
    ) -> dict[str, Any]:
        """Writes the training into the run's `privacy.json`, beside its other trainings.

        Args:
          directory: the run's.
          training: its name.
          rows: of `clients.csv`.
          is_stopped: see `summary`.

        Returns:
          The summary.

        Raises:
          InputError: the file that is there is damaged.
          OSError: it cannot be written.
        """
        summary = self.summary(rows, is_stopped)
        write(directory, "trainings", training, summary, self._privacy.delta)
        return summary

    def _taken_part(self, rows: Sequence[Mapping[str, Any]]) -> collections.Counter[str]:
        """How many releases depend on each client."""
        return collections.Counter(
            row["client"]
            for row in rows
            if self._is_released(int(row["round"])) and not is_left_out(row)
        )

    def _of(self, rounds: int) -> float:
        return _epsilon(self.noise_multiplier, rounds, self._privacy.delta)


def write(
    directory: pathlib.Path, section: str, training: str, summary: Mapping[str, Any], delta: float
) -> None:
    """Writes a training into the run's `privacy.json`, beside what is there.

    Args:
      directory: the run's.
      section: "trainings", of clients, or "images".
      training: its name.
      summary: what to say of it.
      delta: of its epsilon.

    Raises:
      InputError: the file that is there is damaged.
      OSError: it cannot be written.
    """
    path = directory / run_tables.PRIVACY
    found: dict[str, Any] = {"trainings": {}, "images": {}}
    try:
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
        found[section][training] = dict(summary)
        together = _together(list(found["trainings"].values()), delta)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected the trainings of this run, found {error}") from error
    write_json(path, {**found, "version": 1, "delta": delta, "together": together})


def is_left_out(row: Mapping[str, Any]) -> bool:
    """Whether a row of `clients.csv` is of a client that had no part in the round."""
    return bool(row["status"].startswith(run_tables.LEFT_OUT))


@functools.lru_cache(maxsize=4096)
def _epsilon(noise_multiplier: float, rounds: int, delta: float) -> float:
    return privacy_accounting.epsilon({noise_multiplier: rounds}, delta)


def _together(trainings: Sequence[Mapping[str, Any]], delta: float) -> dict[str, float]:
    """What all trainings of a run on the same clients give away together."""
    worst: dict[str, float] = {"epsilon": 0.0, "right_guesses": 0.5}
    for client in {client for training in trainings for client in training["taken_part"]}:
        releases: collections.Counter[float] = collections.Counter()
        for training in trainings:
            releases[training["noise_multiplier"]] += training["taken_part"].get(client, 0)
        found = privacy_accounting.epsilon(releases, delta)
        if found > worst["epsilon"]:
            guesses = privacy_accounting.right_guesses(releases)
            worst = {"epsilon": found, "right_guesses": guesses}
    return worst
