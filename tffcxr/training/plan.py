"""What is trained, in frozen objects that check themselves: stages, local training, federation."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import functools
from typing import Any, Literal, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.errors import InputError
from tffcxr.learning import optimizers
from tffcxr.learning.local_training import LossFn
from tffcxr.learning.schedules import Schedule

BATCH_NORM_POLICIES = ("aggregate", "recompute", "local", "frozen", "group")


class BlockedModel(Protocol):
    """A Keras model and the names of its top-level layers by block.

    Attributes:
      keras: maps images [B, S, S, 1] to logits [B, F].
      task: the layers of the task block; all others are the representation block.
    """

    @property
    def keras(self) -> tf.keras.Model:
        """The whole model."""

    @property
    def task(self) -> tuple[str, ...]:
        """Names of the task block's layers."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """Some rounds with one set of trainable layers and one schedule.

    Attributes:
      name: shown in the progress and in `rounds.csv`, such as "head".
      rounds: how many, at least 1.
      schedule: the client learning rate by round, counted from the start of the stage.
      frozen: "representation" trains the task block alone.
    """

    name: str
    rounds: int
    schedule: Schedule
    frozen: Literal[None, "representation"] = None

    def __post_init__(self):
        if self.rounds < 1:
            raise InputError(f"{self.name} rounds: expected at least 1, found {self.rounds}")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything about a training except its data and its seed.

    Attributes:
      build_model: `(frozen) -> BlockedModel`, the same initial weights at every call; it may be the
        same model.
      stages: in order.
      loss_fn: see `LossFn`.
      local_epochs: passes over its own images that a client makes in a round.
      optimizer: a name of `optimizers.CLIENT_OPTIMIZERS`.
      momentum: of "sgd".
      nesterov: whether that momentum is Nesterov's.
      weight_decay: L2 as in PyTorch.
      clip_norm: the largest norm of the gradients over all weights; 0 for any.
      server_optimizer: a name of `optimizers.SERVER_OPTIMIZERS`.
      server_learning_rate: None for the usual rate of the optimizer.
      share: "representation" keeps the task block of every client private, "all" shares it too.
      batch_norm: "aggregate", "recompute" (see `tffcxr.learning.statistics`), "local" (private),
        "frozen" or "group" (both built into the model).
      proximal: mu of FedProx.
      weighting: "examples" or "uniform".
      aggregator: a `tff.aggregators` factory, or None for the mean.
      precision: a name of `tffcxr.models.build.PRECISIONS`, the one that `build_model` uses;
        "float16" scales the loss.
    """

    build_model: Callable[[Literal[None, "representation"]], BlockedModel]
    stages: tuple[Stage, ...]
    loss_fn: LossFn
    local_epochs: int = 1
    optimizer: str = "adam"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    server_optimizer: str = "average"
    server_learning_rate: float | None = None
    share: Literal["representation", "all"] = "representation"
    batch_norm: Literal["aggregate", "recompute", "local", "frozen", "group"] = "aggregate"
    proximal: float = 0.0
    weighting: str = "examples"
    aggregator: Any = None
    precision: str = "float32"

    def __post_init__(self):
        if not self.stages:
            raise InputError("a plan needs at least one stage, found none")
        if self.local_epochs < 1:
            raise InputError(f"local epochs: expected at least 1, found {self.local_epochs}")
        if self.share not in ("representation", "all"):
            raise InputError(f"share: expected 'representation' or 'all', found {self.share!r}")
        if self.batch_norm not in BATCH_NORM_POLICIES:
            raise InputError(
                f"batch norm: expected one of {BATCH_NORM_POLICIES}, found {self.batch_norm!r}"
            )
        if self.proximal < 0:
            raise InputError(f"proximal: expected at least 0, found {self.proximal}")
        if self.weighting not in ("examples", "uniform"):
            raise InputError(
                f"weighting: expected 'examples' or 'uniform', found {self.weighting!r}"
            )
        self.client_optimizer(1.0)
        optimizers.server_optimizer(self.server_optimizer, self.server_learning_rate)

    @property
    def rounds(self) -> int:
        """Rounds of all stages."""
        return sum(stage.rounds for stage in self.stages)

    def initial_weights(self) -> list[np.ndarray]:
        """What every training starts from, in the order of `model.weights`; not to be changed."""
        return list(_initial_weights(self.build_model))

    def client_optimizer(self, learning_rate: float) -> tff.learning.optimizers.Optimizer:
        """The optimizer of local training."""
        return optimizers.client_optimizer(
            self.optimizer,
            learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            scales_loss=self.precision == "float16",
        )

    def stage_of(self, round_number: int) -> tuple[int, Stage]:
        """The stage of a round (counted from 1), and the rounds before that stage."""
        before = 0
        for stage in self.stages:
            if round_number <= before + stage.rounds:
                return before, stage
            before += stage.rounds
        raise ValueError(f"round {round_number} is after the last, {before}")


@functools.lru_cache(maxsize=1)
def _initial_weights(
    build_model: Callable[[Literal[None, "representation"]], BlockedModel],
) -> tuple[np.ndarray, ...]:
    """Built once for all trainings of a study: a large network takes seconds."""
    return tuple(weight.numpy() for weight in build_model(None).keras.weights)
