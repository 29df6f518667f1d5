"""What a server measures of each client's update, whatever the aggregator does with them.

Each client's update is made a short row: its length, its largest number, and a sketch of its
direction. The rows of a round are brought together at the server, which has their angles with each
other and with the round's update. A sketch is a count sketch (Charikar, Chen and Farach-Colton,
"Finding frequent items in data streams", ICALP 2002): the numbers get random signs and are added
up in as many groups. Its inner products are those of the updates in expectation. With 16,381 groups
a cosine is off by about 1 / sqrt(16381) = 0.008 in the standard deviation, or less; up to as many
weights it is exact. So a thousand clients take 64 MB at the server, of whatever network.

Where clients are at hospitals, the rows are made there: a hospital whose program was changed can
send a row that does not belong to its update. It need not even do that. The signs are the same in
all runs, and of more weights than groups it can make an update whose own sketch points anywhere,
while the update itself does not: the sketch has as many equations as groups, and the rest is free.
Secret signs would have to be sent to the hospital that makes the sketch, so they would not prevent
it, and what is measured would depend on the secret. So angles say nothing of who knows this module
and wants to pass; `robust_aggregators` takes whole updates.
"""

from __future__ import annotations

import collections

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.learning import client_rows, failure

# A prime, so that layers of the usual sizes do not fall onto each other.
_GROUPS = 16381
_SEED = (20, 6)  # Public, see above.
_NUMBERS = 2  # Before the sketch: length and largest number.

# Float32 [N], for the clients in their order; NaN for one that failed or has no images.
NORMS, LARGEST, COSINES, AMONG_OTHERS = MEASURED = ("norms", "largest", "cosines", "among_others")


def build(update_type: tff.Type, metrics_type: tff.Type) -> tff.Computation:
    """`(<{U}@CLIENTS, {M}@CLIENTS, U@SERVER> -> <norms, largest, cosines, among_others>@SERVER)`.

    It takes the updates, the clients' metrics, and what the aggregator has made of the updates.
    `norms` are Euclidean lengths, `largest` the largest magnitudes of a number, `cosines` of the
    angles with the aggregator's result, and `among_others` the median of the cosines of the angles
    with each of the others.

    Args:
      update_type: U, float32 tensors, at least one.
      metrics_type: M, see `process.FederatedProcess`.
    """
    length = sum(int(np.prod(leaf.shape)) for leaf in tff.structure.flatten(update_type))
    groups = min(length, _GROUPS)

    @tff.tensorflow.computation(update_type, metrics_type)
    def row(update, metrics):
        counts = tf.logical_and(failure.succeeded(metrics["failed"]), metrics["images"] > 0)
        parts = tf.nest.flatten(update)
        numbers = tf.stack(
            [
                tf.linalg.global_norm(parts),
                tf.reduce_max([tf.reduce_max(tf.abs(part)) for part in parts]),
            ]
        )
        measured = tf.concat([numbers, sketch(parts, length, groups)], axis=0)
        return tf.where(counts, measured, np.float32(np.nan))

    rows_type = tff.TensorType(np.float32, [None, _NUMBERS + groups])

    @tff.tensorflow.computation(rows_type, update_type)
    def measure(rows, result):
        sketches = tf.math.l2_normalize(rows[:, _NUMBERS:], axis=1, epsilon=0.0)
        of_result = tf.math.l2_normalize(
            sketch(tf.nest.flatten(result), length, groups), epsilon=0.0
        )
        return collections.OrderedDict(
            zip(
                MEASURED,
                (
                    rows[:, 0],
                    rows[:, 1],
                    tf.linalg.matvec(sketches, of_result),
                    _among_others(sketches),
                ),
            )
        )

    @tff.federated_computation(
        tff.FederatedType(update_type, tff.CLIENTS),
        tff.FederatedType(metrics_type, tff.CLIENTS),
        tff.FederatedType(update_type, tff.SERVER),
    )
    def next_measures(updates, metrics, result):
        of_clients = tff.federated_map(row, (updates, metrics))
        rows = client_rows.collected(of_clients, _NUMBERS + groups)
        return tff.federated_map(measure, (rows, result))

    return next_measures


def sketch(parts: list[tf.Tensor], length: int, groups: int) -> tf.Tensor:
    """The sketch [groups] of tensors with `length` numbers in all; these if they are as many."""
    flat = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
    if length == groups:
        return flat
    # The same on every device.
    bits = tf.random.stateless_uniform([length], _SEED, 0, 2, tf.int32, alg="philox")
    signed = flat * tf.cast(2 * bits - 1, tf.float32)
    padded = tf.pad(signed, [[0, -length % groups]])
    return tf.reduce_sum(tf.reshape(padded, [-1, groups]), axis=0)


def _among_others(directions: tf.Tensor) -> tf.Tensor:
    """For each of the rows [N, D] of length 1, the median of its products with the others'.

    Rows of NaN are no others; without any other it is NaN.
    """
    known = tf.reduce_all(tf.math.is_finite(directions), axis=1)
    cosines = tf.matmul(directions, directions, transpose_b=True)
    are_others = tf.logical_and(
        known[None, :], tf.logical_not(tf.eye(tf.size(known), dtype=tf.bool))
    )
    # Those that are no others come last.
    ordered = tf.sort(tf.where(are_others, cosines, np.float32(np.inf)), axis=1)
    others = tf.reduce_sum(tf.cast(are_others, tf.int32), axis=1)
    middle = [
        tf.gather(ordered, tf.maximum(place, 0), axis=1, batch_dims=1)
        for place in ((others - 1) // 2, others // 2)
    ]
    is_defined = tf.logical_and(known, others > 0)
    return tf.where(is_defined, (middle[0] + middle[1]) / 2.0, np.float32(np.nan))
