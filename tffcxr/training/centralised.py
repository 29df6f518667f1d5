"""The baseline: the same model, images, epochs and optimizer, trained on pooled images."""

from __future__ import annotations

import collections
from collections.abc import Sequence
import threading
from typing import Any

import numpy as np

from tffcxr.clients.client_data import ClientData
from tffcxr.learning import client_turn
from tffcxr.training.evaluators.validation import Evaluator
from tffcxr.training.loop import ClientResult, RoundResult, TrainingFailed
from tffcxr.training.plan import Plan, Stage


class CentralisedTraining:
    """A `loop.Training` on the pooled images of some clients.

    A "round" is the plan's `local_epochs` passes over all images. The optimizer is the clients'
    own; unlike theirs, its state lasts for the whole stage. The state is `<weights, optimizer>`,
    the weights in the order of `model.weights`, and packed what the optimizer keeps of them.

    Args:
      plan: what to train.
      client_data: the clients' images.
      client_ids: one client for a site's own model, all of them for the pooled one.
      evaluator: measures the model on every client's images after each round.
      turns: of the plan, where other trainings share them.
    """

    def __init__(
        self,
        plan: Plan,
        client_data: ClientData,
        client_ids: Sequence[str],
        evaluator: Evaluator,
        turns: Turns | None = None,
    ):
        self._plan = plan
        self._data = client_data
        self._client_ids = tuple(sorted(client_ids))
        self._evaluator = evaluator
        self._initial_weights = plan.initial_weights()
        self._turns = turns or Turns(plan, client_data.element_spec)

    def initial_state(self, round_number: int) -> Any:
        """See `loop.Training`."""
        _, stage = self._plan.stage_of(round_number)
        return collections.OrderedDict(
            weights=tuple(self._initial_weights),
            optimizer=self._turns.of(stage).client.initial_optimizer,
        )

    def advance(
        self, state: Any, round_number: int, stage: Stage, learning_rate: float
    ) -> tuple[Any, RoundResult]:
        """See `loop.Training`.

        Raises:
          TrainingFailed: the loss or a weight is not finite.
        """
        turn = self._turns.of(stage)
        before, _ = self._plan.stage_of(round_number)
        optimizer = state["optimizer"]
        if round_number == before + 1:
            optimizer = turn.client.initial_optimizer
        dataset = self._data.train_dataset(
            list(self._client_ids), round_number, self._plan.local_epochs
        )
        done = turn.client.train(state["weights"], optimizer, dataset, learning_rate)
        name = "+".join(self._client_ids)
        if done.failed or not np.isfinite(done.loss):
            raise TrainingFailed(
                f"epoch {round_number} of {name}: a weight or the loss is not finite; a lower "
                "learning rate may help"
            )
        weights = done.weights
        if turn.recompute is not None:
            once = self._data.train_dataset(list(self._client_ids), round_number, 1)
            weights = turn.recompute(weights, once)
        state = collections.OrderedDict(weights=weights, optimizer=done.optimizer)
        by_client = {client: self._evaluator.score(weights, client) for client in self._client_ids}
        return state, RoundResult(
            clients=(ClientResult(name, done.images, done.loss),),
            train_loss=done.loss,
            validation=self._evaluator.metrics(list(by_client.values())),
            validation_by_client={
                client: self._evaluator.metrics([scores]) for client, scores in by_client.items()
            },
        )


class Turns:
    """How each stage of a plan trains in one place: traced once for all places.

    Args:
      plan: what to train.
      batch_spec: `tf.TensorSpec` structure of one batch.
    """

    def __init__(self, plan: Plan, batch_spec: Any):
        self._plan = plan
        self._batch_spec = batch_spec
        self._stages: dict[str, _Turn] = {}
        # Python could not trace two at once anyway, and the interpreter once died of a
        # segmentation fault there.
        self._lock = threading.Lock()

    def of(self, stage: Stage) -> _Turn:
        """How a stage trains."""
        with self._lock:
            if stage.name not in self._stages:
                self._stages[stage.name] = _Turn(self._plan, stage, self._batch_spec)
            return self._stages[stage.name]


class _Turn:
    """One stage's; see `client_turn`."""

    def __init__(self, plan: Plan, stage: Stage, batch_spec: Any):
        model = plan.structure(stage.frozen).keras
        optimizer = plan.client_optimizer(stage.schedule.learning_rate)
        self.client = client_turn.LoneClient(model, batch_spec, plan.loss_fn, optimizer)
        self.recompute = None
        if plan.model.batch_norm == "recompute":
            self.recompute = client_turn.LoneRecomputation(model, batch_spec)
