"""Aggregators that a few hostile or broken clients cannot lead astray, as TFF factories.

All updates of a round are brought together at the server, a row per client, and combined there:

  median            of each coordinate (Yin et al., "Byzantine-Robust Distributed Learning: Towards
                    Optimal Statistical Rates", ICML 2018)
  trimmed mean      of each coordinate, without the F largest and F smallest (the same paper)
  multi-Krum        the mean of the N - F updates that are nearest to their N - F - 2 nearest others
                    (Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant
                    Gradient Descent", NIPS 2017)
  geometric median  the point with the least sum of distances (RFA: Pillutla et al., "Robust
                    Aggregation for Federated Learning", IEEE TSP 2022), by their smoothed Weiszfeld
                    iterations, but to convergence, since nothing is sent between them

Every client counts the same: how many images it has trained on is what a client says of itself. One
that failed does not count, nor does an update that is not finite. N is the number of those that
count; where it is too small for F, F is as large as N allows.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
import functools

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.learning import client_rows

_WEISZFELD_STEPS = 100
_SMOOTHING = 1e-6  # As RFA's nu: least distance that a weight is divided by.
_CONVERGED = 1e-6  # Relative step.

# Rows [N, D] float32, all finite, at least one; F -> a row [D], and who counted [N] bool.
Rule = Callable[[tf.Tensor, int], tuple[tf.Tensor, tf.Tensor]]


def median(rows: tf.Tensor, hostile: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The median of each coordinate; the mean of the middle two if there are two."""
    del hostile  # It bears any minority.
    ordered = tf.sort(rows, axis=0)
    count = tf.shape(rows)[0]
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2.0, _everyone(rows)


def trimmed_mean(rows: tf.Tensor, hostile: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean of each coordinate without the F largest and F smallest."""
    count = tf.shape(rows)[0]
    cut = tf.minimum(hostile, (count - 1) // 2)
    return tf.reduce_mean(tf.sort(rows, axis=0)[cut : count - cut], axis=0), _everyone(rows)


def multi_krum(rows: tf.Tensor, hostile: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean of the N - F rows whose N - F - 2 nearest others are nearest."""
    count = tf.shape(rows)[0]
    left_out = tf.clip_by_value((count - 3) // 2, 0, hostile)  # Krum needs N >= 2 F + 3.
    # Not by products, which lose the small differences of long rows.
    squares = tf.map_fn(lambda row: tf.reduce_sum((rows - row) ** 2, axis=1), rows)
    neighbours = tf.maximum(count - left_out - 2, 0)
    # The nearest to each row is itself.
    scores = tf.reduce_sum(tf.sort(squares, axis=1)[:, 1 : neighbours + 1], axis=1)
    chosen = tf.argsort(scores, stable=True)[: count - left_out]
    counted = tf.scatter_nd(chosen[:, None], tf.ones_like(chosen), [count]) > 0
    return tf.reduce_mean(tf.boolean_mask(rows, counted), axis=0), counted


def geometric_median(rows: tf.Tensor, hostile: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The point with the least sum of distances from the rows."""
    del hostile  # It bears any minority.

    def step(point, unused_moved, steps):
        distances = tf.norm(rows - point, axis=1)
        weights = 1.0 / tf.maximum(distances, _SMOOTHING)
        after = tf.linalg.matvec(rows, weights / tf.reduce_sum(weights), transpose_a=True)
        return after, tf.norm(after - point), steps + 1

    def moves(point, moved, steps):
        return tf.logical_and(steps < _WEISZFELD_STEPS, moved > _CONVERGED * tf.norm(point))

    # From the median, not the mean, which one client may have put at the edge of the numbers.
    start, counted = median(rows, 0)
    point, *_ = tf.while_loop(moves, step, step(start, 0.0, 0))
    return point, counted


RULES: dict[str, Rule] = {
    "median": median,
    "trimmed_mean": trimmed_mean,
    "krum": multi_krum,
    "geometric_median": geometric_median,
}


class RobustFactory(tff.aggregators.WeightedAggregationFactory):
    """Combines the updates of a round by one of `RULES`.

    Of a client's weight only counts whether it is above 0. Without any, the result is 0.

    The measurement `counted` is float32, for the clients in their order: 1 where a client's update
    went into the result as a whole, 0 where it was left out.

    Attributes:
      rule: as given.
      hostile: as given.
      least_clients: N without which F clients are not borne.

    Args:
      rule: a key of `RULES`.
      hostile: F, how many clients of a round may be hostile.
    """

    COUNTED = "counted"

    def __init__(self, rule: str, hostile: int = 1) -> None:
        self.rule, self.hostile = rule, hostile
        self.least_clients = 2 * hostile + (3 if rule == "krum" else 1)
        self._combine = functools.partial(_combine, RULES[rule], hostile)

    def borne(self, clients: int) -> int:
        """How many hostile ones are borne where so many clients count: F, or what they allow."""
        missing = max(0, self.least_clients - clients)
        return max(0, self.hostile - (missing + 1) // 2)

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Creates the process for one type of update, whose tensors must be float32."""
        leaves = tff.structure.flatten(value_type)
        shapes = [tuple(leaf.shape) for leaf in leaves]
        length = sum(int(np.prod(shape)) for shape in shapes)
        rows_type = tff.TensorType(np.float32, [None, length])

        @tff.tensorflow.computation(value_type, weight_type)
        def row(value, weight):
            """The update, or NaN where it does not count."""
            # In the order of the type; TensorFlow would sort the names.
            leaves = tff.structure.flatten(tff.structure.from_container(value, recursive=True))
            flat = [tf.reshape(leaf, [-1]) for leaf in leaves]
            return tf.where(weight > 0, tf.concat(flat, axis=0), np.float32(np.nan))

        @tff.tensorflow.computation(rows_type)
        def combine(rows):
            result, measured = self._combine(rows)
            sizes = [int(np.prod(shape)) for shape in shapes]
            parts = [
                tf.reshape(part, shape) for part, shape in zip(tf.split(result, sizes), shapes)
            ]
            return tff.structure.pack_sequence_as(value_type, parts), measured

        @tff.federated_computation
        def initialize():
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, values, weights):
            rows = client_rows.collected(tff.federated_map(row, (values, weights)), length)
            combined = tff.federated_map(combine, rows)
            return tff.templates.MeasuredProcessOutput(state, combined[0], combined[1])

        return tff.templates.AggregationProcess(initialize, next_fn)


def _combine(
    rule: Rule, hostile: int, rows: tf.Tensor
) -> tuple[tf.Tensor, collections.OrderedDict[str, tf.Tensor]]:
    """Combines rows [N, D], those that count being finite, to [D], and measures them."""
    finite = tf.reduce_all(tf.math.is_finite(rows), axis=1)
    counting = tf.boolean_mask(rows, finite)
    result, counted = tf.cond(
        tf.shape(counting)[0] > 0,
        lambda: rule(counting, hostile),
        lambda: (tf.zeros(tf.shape(rows)[1:]), _everyone(counting)),
    )
    places, shape = tf.where(finite), tf.shape(rows, tf.int64)[:1]
    return result, collections.OrderedDict(
        [(RobustFactory.COUNTED, tf.scatter_nd(places, tf.cast(counted, tf.float32), shape))]
    )


def _everyone(rows: tf.Tensor) -> tf.Tensor:
    return tf.ones(tf.shape(rows)[:1], tf.bool)
