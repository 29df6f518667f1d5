"""What a hospital serves in a training, within which limits, and how that ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, Protocol

import numpy as np

from tffcxr.training.evaluators.validation import Evaluator
from tffcxr.training.federated import FederatedTraining


class Limits(Protocol):
    """What the hospital's policy says of what may leave; see `policy.Policy`."""

    @property
    def fewest_images(self) -> int:
        """Training images of a client, below which its update may not leave."""

    @property
    def smallest_count(self) -> int:
        """Images, below which neither their number nor a metric of them is reported."""

    @property
    def scores_per_image(self) -> bool:
        """Whether scores of single images may leave."""

    @property
    def fewest_hospitals(self) -> int:
        """In a secure sum that this hospital adds its part to, itself included."""

    @property
    def fingerprints(self) -> bool:
        """Whether nnU-Net's fingerprint of the training images may leave."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """The end of a training, as the hospital has it.

    Attributes:
      last: client to weights after the last round, in the order of `model.weights`.
      reported: the same after the round that is reported.
      round: the number of that round.
      rounds: how many were trained.
      planned: how many there would have been without early stopping.
      is_chosen: whether the reported round was chosen by a metric.
    """

    last: Mapping[str, list[np.ndarray]]
    reported: Mapping[str, list[np.ndarray]]
    round: int
    rounds: int
    planned: int
    is_chosen: bool


@dataclasses.dataclass(frozen=True)
class ClientTurn:
    """What a client has trained on in a round.

    Attributes:
      images: repetitions included.
      labels: known ones.
      loss: the sum over these.
    """

    images: int
    labels: float
    loss: float


@dataclasses.dataclass(frozen=True)
class Served:
    """A training that a hospital takes part in.

    Attributes:
      name: as the coordinator calls it.
      training: of this hospital's clients alone; builds the processes.
      plan: its rounds.
      data: the clients' images.
      evaluator: measures on them.
      clients: their ids.
      note: called with a round, the seconds that this hospital has worked on it, the turn of each
        of its clients that took part, and what it has measured.
    """

    name: str
    training: FederatedTraining
    plan: Any
    data: Any
    evaluator: Evaluator
    clients: Sequence[str]
    note: Callable[[int, float, Mapping[str, ClientTurn], Mapping[str, float]], None]
