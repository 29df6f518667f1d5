"""The baseline: the same model, images, epochs and optimizer, trained on pooled images."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
import threading
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.clients.client_data import ClientData
from tffcxr.learning import statistics
from tffcxr.learning.loss_scale import loss_scale
from tffcxr.learning.packing import Packing
from tffcxr.training.evaluators.validation import Evaluator
from tffcxr.training.loop import ClientResult, RoundResult, TrainingFailed
from tffcxr.training.plan import Plan, Stage

# Trainings run side by side, but only one at a time makes its model and traces its step. Python
# could not do two at once anyway, and the interpreter once died of a segmentation fault there.
_making = threading.Lock()


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
    """

    def __init__(
        self,
        plan: Plan,
        client_data: ClientData,
        client_ids: Sequence[str],
        evaluator: Evaluator,
    ):
        self._plan = plan
        self._data = client_data
        self._client_ids = tuple(sorted(client_ids))
        self._evaluator = evaluator
        self._initial_weights = plan.initial_weights()
        self._stages: dict[str, _StageTrainer] = {}

    def initial_state(self, round_number: int) -> Any:
        """See `loop.Training`."""
        _, stage = self._plan.stage_of(round_number)
        return collections.OrderedDict(
            weights=tuple(self._initial_weights),
            optimizer=self._trainer(stage).initial_optimizer_state(),
        )

    def advance(
        self, state: Any, round_number: int, stage: Stage, learning_rate: float
    ) -> tuple[Any, RoundResult]:
        """See `loop.Training`.

        Raises:
          TrainingFailed: the loss or a weight is not finite.
        """
        trainer = self._trainer(stage)
        before, _ = self._plan.stage_of(round_number)
        optimizer = state["optimizer"]
        if round_number == before + 1:
            optimizer = trainer.initial_optimizer_state()
        dataset = self._data.train_dataset(
            list(self._client_ids), round_number, self._plan.local_epochs
        )
        weights, optimizer, loss, images = trainer.train(
            state["weights"], optimizer, dataset, learning_rate
        )
        name = "+".join(self._client_ids)
        if not (np.isfinite(loss) and all(np.isfinite(w).all() for w in weights)):
            raise TrainingFailed(
                f"epoch {round_number} of {name}: a weight or the loss is not finite; a lower "
                "learning rate may help"
            )
        if self._plan.model.batch_norm == "recompute":
            once = self._data.train_dataset(list(self._client_ids), round_number, 1)
            weights = trainer.recompute(weights, once)
        state = collections.OrderedDict(weights=weights, optimizer=optimizer)
        by_client = {client: self._evaluator.score(weights, client) for client in self._client_ids}
        return state, RoundResult(
            clients=(ClientResult(name, images, loss),),
            train_loss=loss,
            validation=self._evaluator.metrics(list(by_client.values())),
            validation_by_client={
                client: self._evaluator.metrics([scores]) for client, scores in by_client.items()
            },
        )

    def _trainer(self, stage: Stage) -> _StageTrainer:
        if stage.name not in self._stages:
            self._stages[stage.name] = _StageTrainer(self._plan, stage)
        return self._stages[stage.name]


class _StageTrainer:
    """Trains the layers of one stage, a TensorFlow function call per batch.

    The optimizer sees the weights as a client's does, packed; see `packing`.
    """

    def __init__(self, plan: Plan, stage: Stage):
        with _making:
            self._model = plan.model.structure(stage.frozen).keras
        self._packing = Packing(
            [tf.TensorSpec(w.shape, w.dtype) for w in self._model.trainable_weights]
        )
        self._optimizer = plan.client_optimizer(stage.schedule.learning_rate)
        self._loss_fn = plan.loss_fn
        self._step: Callable[..., Any] | None = None
        self.recompute = statistics.Recomputation(self._model)

    def initial_optimizer_state(self) -> Any:
        state = self._optimizer.initialize(self._packing.specs)
        return tf.nest.map_structure(lambda v: tf.convert_to_tensor(v).numpy(), state)

    def train(
        self, weights: Sequence[np.ndarray], optimizer: Any, dataset: tf.data.Dataset, rate: float
    ) -> tuple[tuple[np.ndarray, ...], Any, float, int]:
        """Returns `(weights, optimizer state, mean loss, images)` after the batches of a round."""
        for variable, value in zip(self._model.weights, weights):
            variable.assign(value)
        hyperparameters = self._optimizer.get_hparams(optimizer)
        hyperparameters[tff.learning.optimizers.LEARNING_RATE_KEY] = np.float32(rate)
        state = tf.nest.map_structure(
            tf.convert_to_tensor, self._optimizer.set_hparams(optimizer, hyperparameters)
        )
        step = self._step = self._step or self._trace(state, dataset.element_spec)
        total, labels, images = tf.constant(0.0), tf.constant(0.0), 0
        for batch in dataset:
            state, loss, known = step(state, batch)
            total, labels, images = total + loss, labels + known, images + len(batch["images"])
        moved = tuple(variable.numpy() for variable in self._model.weights)
        mean = float(total) / float(labels) if float(labels) else float("nan")
        return moved, tf.nest.map_structure(lambda v: v.numpy(), state), mean, images

    def _trace(self, state: Any, batch_spec: Any) -> Callable[..., Any]:
        """The step as a graph of batches of any length, so that the last batch needs no other."""
        with _making:
            step = tf.function(self._run_step, autograph=False)
            state_spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, state)
            return step.get_concrete_function(state_spec, batch_spec)

    def _run_step(self, state: Any, batch: Any) -> tuple[Any, tf.Tensor, tf.Tensor]:
        variables = self._model.trainable_weights
        with tf.GradientTape() as tape:
            loss, labels = self._loss_fn(batch, self._model(batch["images"], training=True))
            objective = loss_scale(state) * tf.math.divide_no_nan(loss, labels)
        gradients = tape.gradient(
            objective, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        values = self._packing.pack([tf.convert_to_tensor(variable) for variable in variables])
        state, values = self._optimizer.next(state, values, self._packing.pack(gradients))
        for variable, value in zip(variables, self._packing.unpack(values)):
            variable.assign(value)
        return state, loss, labels
