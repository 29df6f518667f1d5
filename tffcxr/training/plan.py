"""What is trained, in frozen objects that check themselves: stages, local training, federation."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Protocol

import numpy as np
import tensorflow_federated as tff

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.learning import optimizers
from tffcxr.learning.dp_sgd import DpSgd
from tffcxr.learning.local_training import LossFn
from tffcxr.learning.schedules import Schedule
from tffcxr.models.blocks import CxrModel
from tffcxr.training.privacy_ledger import Privacy


class ModelSource(Protocol):
    """Makes the model that is trained; `ModelSpec` and `PlannedSpec` are such.

    Attributes:
      network: its name in tables.
      batch_norm: the batch-norm policy, one of `options.BATCH_NORM`.
      precision: one of `options.PRECISIONS`; "float16" scales the loss.
    """

    @property
    def network(self) -> str:
        """See the class."""

    @property
    def batch_norm(self) -> options.BatchNorm:
        """See the class."""

    @property
    def precision(self) -> options.Precision:
        """See the class."""

    def build(self, frozen: options.Frozen = None) -> CxrModel:
        """A fresh model with its initial weights, the same at every call."""

    def structure(self, frozen: options.Frozen = None) -> CxrModel:
        """As `build`, for a caller that sets all weights."""

    def measuring_model(self) -> CxrModel:
        """A float32 model of whole images with the same weights, in the same order."""

    def __hash__(self) -> int:
        """Equal sources make equal models."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """Some rounds with one set of trainable layers and one schedule.

    Attributes:
      name: shown in the progress and in `rounds.csv`, such as "head".
      rounds: how many, at least 1.
      schedule: the client learning rate by round, counted from the start of the stage.
      frozen: "representation" trains only the task block.
      patience: rounds without a lower validation loss after which the training ends, see
        `selection.stops`; 0 for never. Only the last stage of a plan may have it.
    """

    name: str
    rounds: int
    schedule: Schedule
    frozen: options.Frozen = None
    patience: int = 0

    def __post_init__(self):
        if self.rounds < 1:
            raise InputError(f"{self.name} rounds: expected at least 1, found {self.rounds}")
        if self.patience < 0:
            raise InputError(f"early stopping: expected at least 0, found {self.patience}")


class Rounds(Protocol):
    """What the loop and a federated training have to know of a plan."""

    @property
    def rounds(self) -> int:
        """How many."""

    @property
    def local_epochs(self) -> int:
        """Passes over its own images that a client makes in a round."""

    def stage_of(self, round_number: int) -> tuple[int, Stage]:
        """The stage of a round (counted from 1), and the rounds before that stage."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything about a training except its data and its seed.

    Attributes:
      model: makes the model, and defines its batch norm and its precision.
      stages: in order.
      loss_fn: see `LossFn`.
      local_epochs: passes over its own images that a client makes in a round.
      optimizer: a name of `options.CLIENT_OPTIMIZERS`.
      momentum: of "sgd".
      nesterov: whether that momentum is Nesterov's.
      weight_decay: L2 as in PyTorch.
      clip_norm: maximum global norm of the gradients; 0 for no limit.
      adam_epsilon: of "adam" and "adamw".
      server_optimizer: a name of `options.SERVER_OPTIMIZERS`.
      server_learning_rate: None for the usual rate of the optimizer.
      share: "representation" keeps the task block of every client private, "all" shares it too.
      proximal: mu of FedProx.
      keeps_optimizer: whether a client keeps its optimizer's state from round to round.
      weighting: "examples" or "uniform".
      aggregator: a `tff.aggregators` factory, or None for the mean.
      dp_sgd: clips and noises the gradients of single images; None for plain gradients.
      delta: of the epsilon of `dp_sgd`.
      privacy: what `aggregator`, which follows from it and from who takes part, gives; None without
        differential privacy.
      sees_updates: whether the server may measure each client's update.
      quarantine: one of `options.QUARANTINES`.
    """

    model: ModelSource
    stages: tuple[Stage, ...]
    loss_fn: LossFn
    local_epochs: int = 1
    optimizer: str = "adam"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    adam_epsilon: float = options.KERAS_EPSILON
    server_optimizer: str = "average"
    server_learning_rate: float | None = None
    share: options.Share = "representation"
    proximal: float = 0.0
    keeps_optimizer: bool = False
    weighting: str = "examples"
    aggregator: Any = None
    privacy: Privacy | None = None
    dp_sgd: DpSgd | None = None
    delta: float = options.DP_DELTA
    sees_updates: bool = True
    quarantine: options.Quarantine = "report"

    def __post_init__(self):
        if not self.stages:
            raise InputError("a plan needs at least one stage, found none")
        if any(stage.patience for stage in self.stages[:-1]):
            raise ValueError("expected early stopping in the last stage alone")
        if self.local_epochs < 1:
            raise InputError(f"local epochs: expected at least 1, found {self.local_epochs}")
        if self.share not in options.SHARES:
            raise InputError(f"share: expected one of {options.SHARES}, found {self.share!r}")
        if self.proximal < 0:
            raise InputError(f"proximal: expected at least 0, found {self.proximal}")
        if self.weighting not in options.WEIGHTINGS:
            raise InputError(
                f"weighting: expected one of {options.WEIGHTINGS}, found {self.weighting!r}"
            )
        self.client_optimizer(1.0)
        optimizers.server_optimizer(self.server_optimizer, self.server_learning_rate)

    @property
    def rounds(self) -> int:
        """Rounds of all stages."""
        return sum(stage.rounds for stage in self.stages)

    @property
    def patience(self) -> int:
        """Of the last stage: rounds without a lower validation loss that end it; 0 for never."""
        return self.stages[-1].patience

    def initial_weights(self) -> list[np.ndarray]:
        """What every training starts from, in the order of `model.weights`."""
        return [weight.numpy() for weight in _built(self.model).keras.weights]

    def structure(self, frozen: options.Frozen = None) -> CxrModel:
        """A model whose structure counts, for tracing; its weights are not to be changed."""
        return _built(self.model) if frozen is None else self.model.structure(frozen)

    def client_optimizer(self, learning_rate: float) -> tff.learning.optimizers.Optimizer:
        """The optimizer of local training."""
        return optimizers.client_optimizer(
            self.optimizer,
            learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            adam_epsilon=self.adam_epsilon,
            scales_loss=self.model.precision == "float16",
        )

    def in_epochs(self, epochs: int) -> Plan:
        """The plan with so many rounds of one epoch in its last stage."""
        *first, stage = self.stages
        schedule = dataclasses.replace(stage.schedule, rounds=epochs)
        stage = dataclasses.replace(stage, rounds=epochs, schedule=schedule)
        return dataclasses.replace(self, stages=(*first, stage), local_epochs=1)

    def stage_of(self, round_number: int) -> tuple[int, Stage]:
        """The stage of a round (counted from 1), and the rounds before that stage."""
        before = 0
        for stage in self.stages:
            if round_number <= before + stage.rounds:
                return before, stage
            before += stage.rounds
        raise ValueError(f"round {round_number} is after the last, {before}")


@functools.lru_cache(maxsize=8)
def _built(model: ModelSource) -> CxrModel:
    """Built once for all trainings of a network: a large one takes seconds."""
    return model.build()
