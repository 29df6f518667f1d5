"""Brings a row of numbers of each client together at the server, in the order of the clients."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff


def collected(rows: tff.Value, length: int) -> tff.Value:
    """`{float32[length]}@CLIENTS -> float32[N, length]@SERVER`, in a federated computation."""
    rows_type = tff.TensorType(np.float32, [None, length])

    @tff.tensorflow.computation
    def no_rows():
        return tf.ensure_shape(tf.zeros([0, length]), [None, length])

    @tff.tensorflow.computation(rows_type, rows.type_signature.member)
    def append(rows, another):
        return tf.concat([rows, another[None]], axis=0)

    @tff.tensorflow.computation(rows_type, rows_type)
    def merge(rows, others):
        return tf.concat([rows, others], axis=0)

    @tff.tensorflow.computation(rows_type)
    def report(rows):
        return rows

    return tff.federated_aggregate(rows, no_rows(), append, merge, report)
