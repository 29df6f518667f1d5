"""Batch norm's statistics of the averaged network, re-estimated by the clients after a round.

The mean of the clients' moving statistics does not fit the mean of their weights: weights that have
diverged cancel in part, and the averaged network's activations vary less than any client's. With
few or long rounds, the network then predicts a single class in inference, whatever it has learnt.
P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018,
arXiv:1803.05407, section 3.2, recompute the statistics by another pass over the data. Here each
client of the round makes this pass over its own training images, and the server gets sums: of
images, of the deviations of their means from the last statistics, and of squares. The result covers
the images of all clients of the round, including the variance between clients. Every image has the
same weight, whatever the weights of the clients in the average. Pooled training makes the same
pass, so that both are comparable.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.learning import random_layers, transplant
from tffcxr.learning.local_training import inputs_of, number_of_images
from tffcxr.learning.packing import Packing
from tffcxr.learning.weight_groups import Group, WeightPartition


def build_recomputation(
    model: tf.keras.Model,
    partition: WeightPartition,
    weights_type: tff.Type,
    client_type: tff.Type,
    batch_spec: Any,
) -> tff.Computation | None:
    """`(<W@SERVER, {<state=C, data=B*>}@CLIENTS> -> statistics@SERVER)`.

    A client without images, or with sums that are not finite, is left out; without any client, the
    statistics stay.

    Args:
      model: only its structure counts.
      partition: of its weights.
      weights_type: of what the server broadcasts, see `process.FederatedProcess`.
      client_type: of a client's state and data.
      batch_spec: `tf.TensorSpec` structure of one batch.

    Returns:
      The computation; its result follows the partition's shared statistics. None if no batch norm
      is shared and trained.
    """
    client = _Pass(model, partition)
    if not client.has_statistics:
        return None
    start = tff.tensorflow.computation(client.start, [weights_type, client_type["state"]])
    progress_type = start.type_signature.result
    traced = random_layers.trace(client.step, model, client.progress_spec(), batch_spec)
    step = tff.tensorflow.computation(
        lambda progress, batch: transplant.call_in_graph(traced, progress, batch),
        [progress_type, tff.types.tensorflow_to_type(batch_spec)],
    )
    finish = tff.tensorflow.computation(client.finish, progress_type)

    @tff.federated_computation(weights_type, client_type)
    def sums_of_client(weights, values):
        return finish(tff.sequence_reduce(values["data"], start(weights, values["state"]), step))

    @tff.tensorflow.computation(weights_type, finish.type_signature.result)
    def new_statistics(weights, totals):
        return client.statistics(weights["statistics"], totals)

    @tff.federated_computation(
        tff.FederatedType(weights_type, tff.SERVER), tff.FederatedType(client_type, tff.CLIENTS)
    )
    def recompute(weights, clients):
        sums = tff.federated_map(sums_of_client, (tff.federated_broadcast(weights), clients))
        return tff.federated_map(new_statistics, (weights, tff.federated_sum(sums)))

    return recompute


class _Pass:
    """A pass over images without training: `start`, `step` per batch, `finish`.

    Deviations from the last means are summed, since in float32 the variance of large values is lost
    in the difference of their mean square and squared mean.
    """

    def __init__(self, model: tf.keras.Model, partition: WeightPartition):
        self._model = model
        self._partition = partition
        self._packing = Packing(
            [tf.TensorSpec(weight.shape, weight.dtype) for weight in partition.weights]
        )
        statistics = partition.select(model.weights, Group.SHARED_STATISTICS)
        places = {id(weight): place for place, weight in enumerate(statistics)}
        self._layers = [
            layer
            for layer in model.submodules
            if isinstance(layer, tf.keras.layers.BatchNormalization)
            and id(layer.moving_mean) in places
        ]
        self._sizes = [layer.moving_mean.shape[0] for layer in self._layers]
        self._places = [
            (places[id(layer.moving_mean)], places[id(layer.moving_variance)])
            for layer in self._layers
        ]

    @property
    def has_statistics(self) -> bool:
        """Whether there is anything to be recomputed."""
        return bool(self._layers)

    def progress_spec(self) -> Any:
        """The `tf.TensorSpec`s of what `start` returns."""
        statistics = tf.TensorSpec([sum(self._sizes)])
        return collections.OrderedDict(
            weights=self._packing.specs,
            sums=statistics,
            squares=statistics,
            images=tf.TensorSpec([]),
        )

    def start(self, broadcast: Any, state: Any) -> Any:
        weights = self._partition.merge_states(broadcast, state)
        return collections.OrderedDict(weights=self._packing.pack(weights), **self.nothing())

    def nothing(self) -> Any:
        """The sums of no images."""
        zeros = tf.zeros([sum(self._sizes)])
        return collections.OrderedDict(sums=zeros, squares=zeros, images=tf.constant(0.0))

    def means(self) -> tf.Tensor:
        """The moving means that the model's own variables have by now."""
        return tf.concat([tf.convert_to_tensor(layer.moving_mean) for layer in self._layers], 0)

    def step(self, progress: Any, batch: Any) -> Any:
        for variable, value in zip(self._model.weights, self._packing.unpack(progress["weights"])):
            variable.assign(value)
        more = self.sums(self.means(), batch)
        sums = ((name, progress[name] + value) for name, value in more.items())
        return collections.OrderedDict(weights=progress["weights"], **dict(sums))

    def sums(self, last: tf.Tensor, batch: Any) -> Any:
        """One batch's, of the weights that the model's own variables have but for statistics."""
        for layer in self._layers:
            layer.moving_mean.assign(tf.zeros_like(layer.moving_mean))
            layer.moving_variance.assign(tf.zeros_like(layer.moving_variance))
        self._model(inputs_of(batch), training=True)
        # From 0 a moving statistic goes (1 - momentum) of the way to that of the batch.
        means = tf.concat(
            [tf.convert_to_tensor(n.moving_mean) / (1 - n.momentum) for n in self._layers], 0
        )
        variances = tf.concat(
            [tf.convert_to_tensor(n.moving_variance) / (1 - n.momentum) for n in self._layers], 0
        )
        deviations = means - last
        images = tf.cast(number_of_images(batch), tf.float32)
        return collections.OrderedDict(
            sums=images * deviations,
            squares=images * (variances + deviations**2),
            images=images,
        )

    def finish(self, progress: Any) -> Any:
        values = [progress[name] for name in ("sums", "squares", "images")]
        is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
        sums, squares, images = (
            tf.where(is_finite, value, tf.zeros_like(value)) for value in values
        )
        return collections.OrderedDict(sums=sums, squares=squares, images=images)

    def statistics(self, before: Sequence[tf.Tensor], totals: Any) -> tuple[tf.Tensor, ...]:
        deviations = tf.math.divide_no_nan(totals["sums"], totals["images"])
        squares = tf.math.divide_no_nan(totals["squares"], totals["images"])
        variances = tf.maximum(squares - deviations**2, 0.0)
        known = totals["images"] > 0
        after = list(before)
        parts = zip(tf.split(deviations, self._sizes), tf.split(variances, self._sizes))
        for (mean, variance), (deviation, new_variance) in zip(self._places, parts):
            after[mean] = before[mean] + deviation
            after[variance] = tf.where(known, new_variance, before[variance])
        return tuple(after)
