"""Learning rates by round, computed by the coordinator and broadcast with the weights."""

from __future__ import annotations

import dataclasses
import math

from tffcxr import options
from tffcxr.errors import InputError


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A learning rate as a function of the rounds finished so far.

    Attributes:
      name: "constant", "plateau" (divide after `patience` rounds without a lower validation
        loss, as PyTorch's `ReduceLROnPlateau`), or "polynomial" (`rate * (1 - round / rounds) **
        exponent`, as in nnU-Net, Isensee et al. 2021).
      learning_rate: the rate of the first round, above 0.
      rounds: length of the schedule, for "polynomial".
      factor: what "plateau" multiplies the rate with.
      patience: rounds without improvement that "plateau" tolerates.
      minimum: "plateau" never goes below it.
      exponent: of "polynomial".
    """

    name: str
    learning_rate: float
    rounds: int
    factor: float = 0.1
    patience: int = 10
    minimum: float = 1e-8
    exponent: float = 0.9

    def __post_init__(self):
        if self.name not in options.SCHEDULES:
            raise InputError(f"schedule: expected one of {options.SCHEDULES}, found {self.name!r}")
        if not 0.0 < self.learning_rate < math.inf:
            raise InputError(f"learning rate: expected above 0, found {self.learning_rate}")
        if not 0.0 < self.factor < 1.0:
            raise InputError(f"plateau factor: expected in (0, 1), found {self.factor}")
        if self.patience < 0:
            raise InputError(f"plateau patience: expected at least 0, found {self.patience}")

    def rate(self, validation_losses: list[float]) -> float:
        """The learning rate of the next round.

        Args:
          validation_losses: one loss per finished round, in order; NaN counts as no improvement.

        A function of the history alone, so that a resumed run computes the same rates.
        """
        if self.name == "constant":
            return self.learning_rate
        if self.name == "polynomial":
            done = min(len(validation_losses), self.rounds - 1) / self.rounds
            return self.learning_rate * (1.0 - done) ** self.exponent
        return self._plateau(validation_losses)

    def _plateau(self, losses: list[float]) -> float:
        rate, best, waited = self.learning_rate, math.inf, 0
        for loss in losses:
            if loss < best * (1.0 - 1e-4):  # PyTorch's default threshold, relative
                best, waited = loss, 0
            else:
                waited += 1
            if waited > self.patience:
                rate, waited = min(rate, max(rate * self.factor, self.minimum)), 0
        return rate
