"""Federated training in which only the shared weights are averaged, as a TFF process.

With every layer shared this is FedAvg (McMahan et al., "Communication-Efficient Learning of Deep
Networks from Decentralized Data", AISTATS 2017). With the task block private it is the scheme of
Kulkarni et al., "From Competition to Collaboration: Making Toy Datasets on Kaggle Clinically Useful
for Chest X-Ray Diagnosis Using Federated Learning" (2022): nodes with different labels average only
the representation block. One round:

    server state ──broadcast──► start ──► step per batch ──► finish ──► client state (stays)
         ▲                                                     │
         └── server optimizer ◄── aggregator ◄── update ───────┘
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr import runtime
from tffcxr.learning import client_turn, keyed_noise, tampering, update_measures
from tffcxr.learning.dp_sgd import DpSgd
from tffcxr.learning.local_training import LocalTraining, LossFn
from tffcxr.learning.server import AggregationFactory, build_averaging, build_server_step
from tffcxr.learning.statistics import build_recomputation
from tffcxr.learning.weight_groups import Group, WeightPartition

_NOISE_SEED = "noise_seed"  # As in `LocalTraining`.


@dataclasses.dataclass(frozen=True)
class FederatedProcess:
    """The computations of a federated training.

    Attributes:
      initialize: `( -> S@SERVER)`; S is `<weights=<trainable, statistics, constants,
        learning_rate>, optimizer, aggregator>`.
      initialize_client: `( -> C)`, what a client that has not trained yet keeps; C is `<trainable,
        other>`, its private weights, or `<trainable, other, optimizer>`; with `DpSgd` followed by
        `noise_seed`, which is zero between rounds.
      next: `(<S@SERVER, {<state=C, data=B*>}@CLIENTS> -> <S@SERVER, {C}@CLIENTS, R@SERVER,
        {M}@CLIENTS>)`. R holds `loss` (mean over labels), `images` and `clients` (of those that
        succeeded), `aggregator` (the factory's measurements) and, where updates are measured,
        `updates` (see `tffcxr.learning.update_measures`); M holds `loss` (a sum), `labels`,
        `images` and `failed` (a code, see `tffcxr.learning.failure`).
      partition: the model's weights and their groups.
      recompute: the statistics of the server's weights by a pass over the clients' images, see
        `tffcxr.learning.statistics`; None if it is switched off or the model has no such
        statistics.
    """

    initialize: tff.Computation
    initialize_client: tff.Computation
    next: tff.Computation
    partition: WeightPartition
    recompute: tff.Computation | None = None

    def model_weights(self, server_state: Any, client_state: Any) -> list[np.ndarray]:
        """One client's model, in the order of `model.weights`."""
        return self.partition.merge_states(server_state["weights"], client_state)

    def with_model_weights(
        self, server_state: Any, weights: Sequence[np.ndarray]
    ) -> tuple[Any, Any]:
        """States that hold the given model.

        Args:
          server_state: supplies the optimizer's and the aggregator's state.
          weights: in the order of `model.weights`.

        Returns:
          `(server state with its shared weights, client state with its private weights)`; an
          optimizer's state in the latter is fresh.
        """
        shared = collections.OrderedDict(
            self.partition.server_weights(weights),
            learning_rate=server_state["weights"]["learning_rate"],
        )
        client_state = collections.OrderedDict(
            self.initialize_client(), **self.partition.client_state(weights)
        )
        return collections.OrderedDict(server_state, weights=shared), client_state

    def with_learning_rate(self, server_state: Any, learning_rate: float) -> Any:
        """The same state with another client learning rate for the next round."""
        weights = collections.OrderedDict(
            server_state["weights"], learning_rate=np.float32(learning_rate)
        )
        return collections.OrderedDict(server_state, weights=weights)

    def with_noise_seed(self, server_state: Any, seed: Callable[[], np.ndarray]) -> Any:
        """The same state with the seed of the next round's noise, if its aggregator takes one.

        Args:
          server_state: before a round.
          seed: gives int64 [2], see `tffcxr.learning.keyed_noise`; called only if it is needed.
        """
        aggregator = server_state["aggregator"]
        if not keyed_noise.takes_seed(aggregator):
            return server_state
        seeded = keyed_noise.with_seed(aggregator, seed())
        return collections.OrderedDict(server_state, aggregator=seeded)

    @property
    def has_noise_at_clients(self) -> bool:
        """Whether a client's state needs a seed in each round, see `DpSgd`."""
        return _NOISE_SEED in tff.structure.name_list(self.initialize_client.type_signature.result)

    def with_client_noise_seed(self, client_state: Any, seed: Callable[[], np.ndarray]) -> Any:
        """A client's state with the seed of its noise in the next round, if it needs one.

        Args:
          client_state: before a round.
          seed: gives int64 [2], not both zero; called only if it is needed.
        """
        if not self.has_noise_at_clients:
            return client_state
        return collections.OrderedDict(client_state, **{_NOISE_SEED: seed()})

    def with_recomputed_statistics(self, server_state: Any, clients: Sequence[Any]) -> Any:
        """The same state with the statistics that its weights give on the clients' images.

        Args:
          server_state: after a round.
          clients: `<state=C, data=B*>` of each client that takes part.
        """
        if self.recompute is None:
            return server_state
        statistics = self.recompute(server_state["weights"], clients)
        weights = collections.OrderedDict(server_state["weights"], statistics=tuple(statistics))
        return collections.OrderedDict(server_state, weights=weights)


def build_process(
    model: tf.keras.Model,
    initial_weights: Sequence[np.ndarray],
    *,
    private_layers: Sequence[str],
    batch_spec: Any,
    loss_fn: LossFn,
    client_optimizer: tff.learning.optimizers.Optimizer,
    server_optimizer: tff.learning.optimizers.Optimizer,
    learning_rate: float,
    aggregator: AggregationFactory | None = None,
    weighting: str = "examples",
    proximal: float = 0.0,
    keeps_optimizer: bool = False,
    recompute_statistics: bool = False,
    has_attackers: bool = False,
    measures_updates: bool = False,
    dp_sgd: DpSgd | None = None,
) -> FederatedProcess:
    """Builds the process.

    Without a choice by `tffcxr.runtime.use`, the device executor runs it.

    Args:
      model: a Keras model that was built eagerly; its structure counts, its weights do not.
      initial_weights: the start, in the order of `model.weights`.
      private_layers: top-level layers whose weights never leave the client.
      batch_spec: `tf.TensorSpec` structure of one batch: a dict with "images" and what `loss_fn`
        needs, or a tuple whose first part the model takes.
      loss_fn: see `tffcxr.learning.local_training.LossFn`.
      client_optimizer: local optimizer.
      server_optimizer: moves the shared trainable weights along the mean update. Batch-norm
        statistics are averages, not parameters, and take the plain mean.
      learning_rate: the client learning rate of the first round.
      aggregator: any TFF aggregation factory; by default the mean over clients that succeeded. An
        unweighted factory counts a failed client as a zero update.
      weighting: "examples" (by images trained on) or "uniform".
      proximal: mu of FedProx.
      keeps_optimizer: whether each client keeps its optimizer's state for its next round; otherwise
        that starts fresh in every round.
      recompute_statistics: whether the process has `recompute`.
      has_attackers: whether clients say what they do to their updates, as a rehearsal: their values
        have `tampering.TYPE` as a third part, "tampering".
      measures_updates: whether the server measures each client's update, which changes no other
        result. Without shared weights there is nothing to measure.
      dp_sgd: clips and noises the gradients of single images; None for plain gradients.

    Raises:
      ValueError: weights or layers that are not the model's, or an unknown weighting.
    """
    if weighting not in ("examples", "uniform"):
        raise ValueError(f"weighting: expected 'examples' or 'uniform', found {weighting!r}")
    runtime.use_device_unless_chosen()
    partition = WeightPartition.of(model, private_layers)
    partition.check_values(initial_weights)
    local = LocalTraining(
        model, partition, loss_fn, client_optimizer, proximal, keeps_optimizer, dp_sgd
    )

    @tff.tensorflow.computation
    def initialize_client():
        state = _constants(partition.client_state(initial_weights))
        if keeps_optimizer:
            state["optimizer"] = local.initial_optimizer()
        if dp_sgd:
            state[_NOISE_SEED] = tf.zeros([2], tf.int64)
        return state

    @tff.tensorflow.computation
    def initial_server_weights():
        return collections.OrderedDict(
            _constants(partition.server_weights(initial_weights)),
            learning_rate=tf.constant(learning_rate, tf.float32),
        )

    weights_type = initial_server_weights.type_signature.result
    train = client_turn.build(
        local, weights_type, initialize_client.type_signature.result, batch_spec
    )
    result_type = train.type_signature.result
    average = build_averaging(result_type, aggregator, weighting)
    initialize_optimizer, apply_update = build_server_step(
        server_optimizer,
        weights_type,
        result_type["update"],
        [partition.weights[i].statistic for i in partition.indices(Group.SHARED_STATISTICS)],
    )

    @tff.federated_computation
    def initialize():
        return tff.federated_zip(
            collections.OrderedDict(
                weights=tff.federated_eval(initial_server_weights, tff.SERVER),
                optimizer=tff.federated_eval(initialize_optimizer, tff.SERVER),
                aggregator=average.initialize(),
            )
        )

    update_type, metrics_type = result_type["update"], result_type["metrics"]
    measure = None
    if measures_updates and tff.structure.flatten(update_type):
        measure = update_measures.build(update_type, metrics_type)
    client_type = train.type_signature.parameter[1]
    turn = tampering.build(train) if has_attackers else train

    @tff.federated_computation(
        initialize.type_signature.result,
        tff.FederatedType(turn.type_signature.parameter[1], tff.CLIENTS),
    )
    def next_round(server_state, client_values):
        broadcast = tff.federated_broadcast(server_state["weights"])
        result = tff.federated_map(turn, (broadcast, client_values))
        aggregated = average.next(server_state["aggregator"], result["update"], result["metrics"])
        optimizer, weights = tff.federated_map(
            apply_update, (server_state["optimizer"], server_state["weights"], aggregated["mean"])
        )
        new_state = tff.federated_zip(
            collections.OrderedDict(
                weights=weights, optimizer=optimizer, aggregator=aggregated["state"]
            )
        )
        metrics = aggregated["metrics"]
        if measure:
            measured = measure(result["update"], result["metrics"], aggregated["mean"])
            metrics = tff.federated_zip(
                collections.OrderedDict(
                    round=metrics["round"], aggregator=metrics["aggregator"], updates=measured
                )
            )
        return new_state, result["client"], metrics, result["metrics"]

    recompute = None
    if recompute_statistics:
        recompute = build_recomputation(model, partition, weights_type, client_type, batch_spec)
    return FederatedProcess(initialize, initialize_client, next_round, partition, recompute)


def as_learning_process(process: FederatedProcess) -> tff.learning.templates.LearningProcess:
    """Ordinary FedAvg as TFF's own interface, for a process without private weights.

    Raises:
      ValueError: some weights are private, or clients keep their optimizer's state, and TFF's
        interface keeps no client state between rounds; or statistics are recomputed after the
        round.
    """
    if process.recompute is not None:
        raise ValueError("expected a process that averages statistics, found one with `recompute`")
    private = [
        w.name
        for w in process.partition.weights
        if w.group in (Group.PRIVATE_TRAINABLE, Group.PRIVATE_OTHER)
    ]
    if private:
        raise ValueError(f"expected a process without private weights, found {private}")
    state_type = process.initialize.type_signature.result
    client_type = process.next.type_signature.parameter[1].member
    data_type = client_type["data"]
    if "optimizer" in tff.structure.name_list(client_type["state"]):
        raise ValueError("expected clients that keep nothing, found `keeps_optimizer`")
    if process.has_noise_at_clients:
        raise ValueError("expected clients that need no seed, found `dp_sgd`")

    @tff.federated_computation(state_type, tff.FederatedType(data_type, tff.CLIENTS))
    def next_round(state, data):
        client_state = tff.federated_eval(process.initialize_client, tff.CLIENTS)
        clients = tff.federated_zip(collections.OrderedDict(state=client_state, data=data))
        new_state, _, metrics, _ = process.next(state, clients)
        return tff.learning.templates.LearningProcessOutput(new_state, metrics)

    @tff.tensorflow.computation(state_type.member)
    def get_model_weights(state):
        weights = state["weights"]
        return tff.learning.models.ModelWeights(
            trainable=weights["trainable"], non_trainable=weights["statistics"]
        )

    @tff.tensorflow.computation(state_type.member, get_model_weights.type_signature.result)
    def set_model_weights(state, model_weights):
        weights = collections.OrderedDict(
            state["weights"],
            trainable=model_weights.trainable,
            statistics=model_weights.non_trainable,
        )
        return collections.OrderedDict(state, weights=weights)

    return tff.learning.templates.LearningProcess(
        process.initialize, next_round, get_model_weights, set_model_weights
    )


def _constants(
    groups: Mapping[str, Sequence[np.ndarray]],
) -> collections.OrderedDict[str, tuple[tf.Tensor, ...]]:
    return collections.OrderedDict(
        (name, tuple(tf.constant(value) for value in values)) for name, values in groups.items()
    )
