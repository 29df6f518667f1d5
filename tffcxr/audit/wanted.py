"""What an audit is asked for."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from tffcxr.audit.seen import Protection

INITIAL, FINAL = "initial", "final"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a user asks for.

    Attributes:
      batches: images of a step, for gradient inversion.
      weights: "initial" or "final", at which updates are made.
      iterations: of gradient inversion.
      restarts: of gradient inversion.
      repeats: updates of one step that are inverted in each case, of other images each.
      updates: whose class mix is inferred, and as many of the attacker's own.
      protections: which, "nothing" first.
      rounds: of the models whose members are inferred; None for those of the run.
      replicates: of the bootstrap.
      seed: of everything random.
    """

    batches: Sequence[int]
    weights: str
    iterations: int
    restarts: int
    repeats: int
    updates: int
    protections: Sequence[Protection]
    rounds: int | None
    replicates: int
    seed: int
