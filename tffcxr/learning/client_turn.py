"""One client's turn in a round as a TFF computation, and a client that has its turns alone."""

from __future__ import annotations

import collections
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.learning import failure, transplant
from tffcxr.learning.local_training import LocalTraining, LossFn
from tffcxr.learning.statistics import build_recomputation
from tffcxr.learning.weight_groups import Group, WeightPartition
from tffcxr.runtime import device


def build(
    local: LocalTraining, weights_type: tff.Type, state_type: tff.Type, batch_spec: Any
) -> tff.Computation:
    """`(<W, <state=C, data=B*>> -> <update=U, client=C, metrics=M>)`, one client's turn."""
    start = tff.tensorflow.computation(local.start, [weights_type, state_type])
    progress_type = start.type_signature.result
    batch_type = tff.types.tensorflow_to_type(batch_spec)
    traced = local.trace_step(_specs(weights_type), _specs(state_type), batch_spec)
    step = tff.tensorflow.computation(
        lambda progress, batch: transplant.call_in_graph(traced, progress, batch),
        [progress_type, batch_type],
    )
    finish = tff.tensorflow.computation(local.finish, [weights_type, state_type, progress_type])

    @tff.federated_computation(weights_type, _client_type(state_type, batch_spec))
    def train(weights, client):
        progress = tff.sequence_reduce(client["data"], start(weights, client["state"]), step)
        return finish(weights, client["state"], progress)

    return train


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a turn of a `LoneClient` has led to.

    Attributes:
      weights: in the order of `model.weights`; those from before if it failed.
      optimizer: its state, for the next turn; that from before if it failed.
      loss: the mean over all known labels; NaN without any.
      images: that it has trained on.
      failed: what was not finite; None if it succeeded.
    """

    weights: tuple[np.ndarray, ...]
    optimizer: Any
    loss: float
    images: int
    failed: failure.Failure | None


class LoneClient:
    """A client that shares nothing, and so trains a whole model by itself.

    It keeps nothing between turns, and several threads may train with it at once. It computes on
    the first TensorFlow device of this process, whatever `tffcxr.runtime.use` has chosen.

    Attributes:
      initial_optimizer: the optimizer's state before the first turn.

    Args:
      model: a Keras model that was built eagerly; its structure counts, its weights do not.
      batch_spec: `tf.TensorSpec` structure of one batch, see `process.build_process`.
      loss_fn: see `tffcxr.learning.local_training.LossFn`.
      optimizer: of `tffcxr.learning.optimizers`.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        batch_spec: Any,
        loss_fn: LossFn,
        optimizer: tff.learning.optimizers.Optimizer,
    ):
        self._partition = WeightPartition.of(model, [layer.name for layer in model.layers])
        local = LocalTraining(model, self._partition, loss_fn, optimizer, keeps_optimizer=True)
        self.initial_optimizer = tf.nest.map_structure(
            lambda value: tf.convert_to_tensor(value).numpy(), local.initial_optimizer()
        )
        specs = _weight_specs(self._partition)
        optimizer_specs = tf.nest.map_structure(
            lambda value: tf.TensorSpec(value.shape, value.dtype), self.initial_optimizer
        )
        self._train = build(
            local,
            tff.types.tensorflow_to_type(self._broadcast(specs, tf.TensorSpec([]))),
            tff.types.tensorflow_to_type(self._state(specs, optimizer_specs)),
            batch_spec,
        )
        self._context = _own_devices()

    def train(
        self,
        weights: Sequence[np.ndarray],
        optimizer: Any,
        data: tf.data.Dataset,
        learning_rate: float,
    ) -> Turn:
        """Has a turn: a step for every batch.

        Args:
          weights: in the order of `model.weights`.
          optimizer: the state after the turn before, or `initial_optimizer`.
          data: batches of images.
          learning_rate: of this turn.
        """
        with tff.framework.get_context_stack().install(self._context):
            result = self._train(
                self._broadcast(weights, np.float32(learning_rate)),
                collections.OrderedDict(state=self._state(weights, optimizer), data=data),
            )
        after, metrics = result["client"], result["metrics"]
        labels = float(metrics["labels"])
        return Turn(
            tuple(self._partition.merge_states(self._partition.server_weights(weights), after)),
            after["optimizer"],
            float(metrics["loss"]) / labels if labels else float("nan"),
            int(metrics["images"]),
            failure.decode(int(metrics["failed"])),
        )

    def _broadcast(self, weights: Sequence[Any], learning_rate: Any) -> Any:
        """What a server would send: no weights."""
        return collections.OrderedDict(
            self._partition.server_weights(weights), learning_rate=learning_rate
        )

    def _state(self, weights: Sequence[Any], optimizer: Any) -> Any:
        return collections.OrderedDict(self._partition.client_state(weights), optimizer=optimizer)


class LoneRecomputation:
    """The pass of `tffcxr.learning.statistics` over the images of one place.

    Args:
      model: see `LoneClient`.
      batch_spec: see `LoneClient`.
    """

    def __init__(self, model: tf.keras.Model, batch_spec: Any):
        self._partition = WeightPartition.of(model, ())
        specs = _weight_specs(self._partition)
        state_type = tff.types.tensorflow_to_type(self._partition.client_state(specs))
        self._recompute = build_recomputation(
            model,
            self._partition,
            tff.types.tensorflow_to_type(self._partition.server_weights(specs)),
            _client_type(state_type, batch_spec),
            batch_spec,
        )
        self._context = _own_devices()

    def __call__(
        self, weights: Sequence[np.ndarray], data: tf.data.Dataset
    ) -> tuple[np.ndarray, ...]:
        """The weights, in the order of `model.weights`, with the statistics of the images."""
        if self._recompute is None:
            return tuple(weights)
        client = collections.OrderedDict(state=self._partition.client_state(weights), data=data)
        with tff.framework.get_context_stack().install(self._context):
            statistics = self._recompute(self._partition.server_weights(weights), [client])
        after = list(weights)
        for place, value in zip(self._partition.indices(Group.SHARED_STATISTICS), statistics):
            after[place] = np.asarray(value)
        return tuple(after)


@functools.cache
def _own_devices() -> device.DeviceContext:
    return device.device_context()


def _weight_specs(partition: WeightPartition) -> list[tf.TensorSpec]:
    return [tf.TensorSpec(weight.shape, weight.dtype) for weight in partition.weights]


def _client_type(state_type: tff.Type, batch_spec: Any) -> tff.Type:
    """`<state=C, data=B*>`."""
    data_type = tff.SequenceType(tff.types.tensorflow_to_type(batch_spec))
    return tff.StructWithPythonType(
        [("state", state_type), ("data", data_type)], collections.OrderedDict
    )


def _specs(member: tff.Type) -> Any:
    """The `tf.TensorSpec`s of a TFF type of ordered dicts, tuples and tensors."""
    if isinstance(member, tff.TensorType):
        return tf.TensorSpec(member.shape, member.dtype)
    elements = tff.structure.to_elements(member)
    if member.python_container is tuple:
        return tuple(_specs(element) for _, element in elements)
    return collections.OrderedDict((name, _specs(element)) for name, element in elements)
