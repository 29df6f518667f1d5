"""The coordinator's half of a round: aggregate updates, move the shared weights, sum metrics."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.learning import failure
from tffcxr.learning.weight_groups import Statistic

AggregationFactory: TypeAlias = (
    tff.aggregators.WeightedAggregationFactory | tff.aggregators.UnweightedAggregationFactory
)


class Averaging(NamedTuple):
    """How updates become one update.

    Attributes:
      initialize: `( -> A@SERVER)`.
      next: `(<A@SERVER, {U}@CLIENTS, {M}@CLIENTS> -> <state=A@SERVER, mean=U@SERVER,
        metrics=R@SERVER>)`.
    """

    initialize: tff.Computation
    next: tff.Computation


def build_averaging(
    result_type: tff.StructType, factory: AggregationFactory | None, weighting: str
) -> Averaging:
    """Wraps an aggregation factory so that it takes what `LocalTraining.finish` returns.

    Args:
      result_type: the type of one client's result: `<update=U, client=C, metrics=M>`.
      factory: any of `tff.aggregators`; by default the weighted mean, whose weight is 0 for a
        client that failed.
      weighting: "examples" or "uniform", for weighted factories.
    """
    update_type, metrics_type = result_type["update"], result_type["metrics"]
    if factory is None:
        factory = tff.aggregators.MeanFactory(no_nan_division=True)

    @tff.tensorflow.computation(metrics_type)
    def weight_of(metrics):
        size = tf.cast(metrics["images"], tf.float32) if weighting == "examples" else 1.0
        trained = tf.logical_and(failure.succeeded(metrics["failed"]), metrics["images"] > 0)
        return tf.where(trained, size, 0.0)

    if not tff.structure.flatten(update_type):
        aggregation = _nothing_to_aggregate(update_type)
    elif isinstance(factory, tff.aggregators.WeightedAggregationFactory):
        aggregation = factory.create(update_type, tff.TensorType(np.float32))
    else:
        aggregation = factory.create(update_type)
    initialize = aggregation.initialize

    @tff.federated_computation(
        initialize.type_signature.result,
        tff.FederatedType(update_type, tff.CLIENTS),
        tff.FederatedType(metrics_type, tff.CLIENTS),
    )
    def next_average(state, updates, metrics):
        if len(aggregation.next.type_signature.parameter) == 3:
            output = aggregation.next(state, updates, tff.federated_map(weight_of, metrics))
        else:
            output = aggregation.next(state, updates)
        totals = tff.federated_sum(tff.federated_map(_build_counts(metrics_type), metrics))
        summary = tff.federated_map(_build_summary(totals.type_signature.member), totals)
        measured = collections.OrderedDict(round=summary, aggregator=output.measurements)
        return collections.OrderedDict(
            state=output.state, mean=output.result, metrics=tff.federated_zip(measured)
        )

    return Averaging(initialize, next_average)


def _nothing_to_aggregate(update_type: tff.Type) -> tff.templates.AggregationProcess:
    """An aggregation for a round in which no weight is shared (task-block training only)."""

    @tff.federated_computation
    def initialize():
        return tff.federated_value((), tff.SERVER)

    @tff.tensorflow.computation
    def no_update():
        return collections.OrderedDict(trainable=(), statistics=())

    @tff.federated_computation(
        initialize.type_signature.result, tff.FederatedType(update_type, tff.CLIENTS)
    )
    def next_nothing(state, updates):
        del updates
        return tff.templates.MeasuredProcessOutput(
            state, tff.federated_eval(no_update, tff.SERVER), tff.federated_value((), tff.SERVER)
        )

    return tff.templates.AggregationProcess(initialize, next_nothing)


def _build_counts(metrics_type: tff.Type) -> tff.Computation:
    @tff.tensorflow.computation(metrics_type)
    def counts(metrics):
        succeeded = failure.succeeded(metrics["failed"])

        def unless_failed(value):
            return tf.where(succeeded, value, tf.zeros_like(value))

        return collections.OrderedDict(
            loss=unless_failed(metrics["loss"]),
            labels=unless_failed(metrics["labels"]),
            images=unless_failed(metrics["images"]),
            clients=tf.cast(succeeded, tf.int32),
        )

    return counts


def _build_summary(totals_type: tff.Type) -> tff.Computation:
    @tff.tensorflow.computation(totals_type)
    def summary(totals):
        # 0/0 is NaN on purpose: without a label there is no loss.
        return collections.OrderedDict(
            loss=totals["loss"] / totals["labels"],
            images=totals["images"],
            clients=totals["clients"],
        )

    return summary


def build_server_step(
    optimizer: tff.learning.optimizers.Optimizer,
    weights_type: tff.StructType,
    mean_type: tff.Type,
    statistics: Sequence[Statistic | None],
) -> tuple[tff.Computation, tff.Computation]:
    """The server optimizer as two computations.

    Args:
      optimizer: see `tffcxr.learning.optimizers`.
      weights_type: W.
      mean_type: U.
      statistics: which one each weight of W's `statistics` is. A variance is kept at 0 or above,
        which a mean with noise or lossy compression does not ensure.

    Returns:
      `( -> O)` and `(<O, W, U> -> <O, W>)`, with optimizer state O, server weights W and mean
      update U. Trainable weights follow the optimizer on the pseudo-gradient `-U`; statistics are
      moved by the mean itself.
    """
    specs = tuple(tf.TensorSpec(t.shape, t.dtype) for t in weights_type["trainable"])

    @tff.tensorflow.computation
    def initialize_optimizer():
        return optimizer.initialize(specs)

    @tff.tensorflow.computation(initialize_optimizer.type_signature.result, weights_type, mean_type)
    def apply_update(state, weights, mean):
        gradient = tuple(-update for update in mean["trainable"])
        state, trainable = optimizer.next(state, tuple(weights["trainable"]), gradient)
        moved = tuple(
            tf.maximum(w + u, 0.0) if statistic is Statistic.VARIANCE else w + u
            for statistic, w, u in zip(statistics, weights["statistics"], mean["statistics"])
        )
        return state, collections.OrderedDict(weights, trainable=trainable, statistics=moved)

    return initialize_optimizer, apply_update
