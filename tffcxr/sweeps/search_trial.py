"""One trial of a search: the settings that it tries, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

from tffcxr.sweeps import sweep_plan

COMPLETE, PRUNED, FAILED, PENDING = "complete", "pruned", "failed", "pending"
# No trial that is one of these runs again.
ENDED = (COMPLETE, PRUNED, FAILED)


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial.

    Attributes:
      number: 1, 2, …
      settings: what it sets the flags of the space to.
      status: `COMPLETE`, `PRUNED`, `FAILED` or `PENDING`.
      value: of a complete trial, what the search compares; NaN otherwise.
      values: the metric by round, where it is defined; of a pruned trial up to `pruned_round`.
      error: why it failed, in one line; empty otherwise.
    """

    number: int
    settings: tuple[sweep_plan.Setting, ...]
    status: str = PENDING
    value: float = math.nan
    values: Mapping[int, float] = dataclasses.field(default_factory=dict)
    error: str = ""

    @property
    def pruned_round(self) -> int | None:
        """The round after which it was pruned; None if it was not."""
        return max(self.values) if self.status == PRUNED else None

    @property
    def outcome(self) -> str:
        """Its status in words: "pruned after round 3"."""
        return f"{PRUNED} after round {self.pruned_round}" if self.pruned_round else self.status

    def row(self) -> dict[str, Any]:
        """Its part of a row of `summary.csv`; NaN is what it does not have."""
        at = self.pruned_round
        return {
            "trial": self.number,
            "value": self.value,
            "pruned_round": math.nan if at is None else at,
        }

    def run(self, seed: int) -> sweep_plan.Run:
        """The run of the recipe that it is."""
        name = ",".join(f"{flag}={text}" for flag, text in self.settings)
        configuration = sweep_plan.Configuration(name, self.settings, f"trial_{self.number:04d}")
        return sweep_plan.Run(configuration, 1, seed)
