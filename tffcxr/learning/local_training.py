"""The TensorFlow maths of one client's turn: start, one step per batch, finish.

    start:  <broadcast, client state>               -> progress
    step:   <progress, batch>                       -> progress
    finish: <broadcast, client state, progress>     -> result

Nothing here knows about federation. The loop over batches is `tff.sequence_reduce` in
`client_turn.py`, so that each step is a function of its own that an executor calls once per batch;
a loop inside the graph costs about a third of the speed. The progress holds the weights, and the
optimizer's state for them, as vectors (see `packing.py`): every optimizer of `optimizers.py` works
element by element, so one long vector gives the same result as many tensors.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.errors import InputError
from tffcxr.learning import dp_sgd as dp_sgd_lib
from tffcxr.learning import failure, random_layers
from tffcxr.learning.loss_scale import loss_scale
from tffcxr.learning.packing import Packing
from tffcxr.learning.weight_groups import Group, WeightPartition, groups_of

# A batch is a mapping, or a tuple as Keras takes it, see `inputs_of`.
# (batch, model outputs) -> (sum of losses, number of labels that the sum is over), both float32
# scalars. The objective of a step is their ratio; a batch without known labels has 0 and 0.
LossFn = Callable[[Any, Any], tuple[tf.Tensor, tf.Tensor]]


def inputs_of(batch: Any) -> Any:
    """What the model takes: "images" of a mapping, or the first part of a tuple."""
    return batch["images"] if isinstance(batch, Mapping) else batch[0]


def number_of_images(batch: Any) -> tf.Tensor:
    """int64 scalar; where a model has several inputs, those of the first count."""
    return tf.shape(tf.nest.flatten(inputs_of(batch))[0], out_type=tf.int64)[0]


class LocalTraining:
    """Local training of one Keras model with a functional optimizer.

    Args:
      model: maps `inputs_of(batch)` to the outputs that `loss_fn` takes. Only its structure counts:
        every step gets its weights with the progress.
      partition: the groups of the model's weights.
      loss_fn: see `LossFn`.
      optimizer: of `tffcxr.learning.optimizers`.
      keeps_optimizer: whether the client's state has the optimizer's, as "optimizer", from which
        its next round goes on; otherwise that starts fresh in every round.
      proximal: mu of FedProx (Li et al., "Federated Optimization in Heterogeneous Networks", MLSys
        2020): `mu / 2 * |w - w_server|^2` over the shared trainable weights is added to the loss.
      dp_sgd: how gradients of single images are clipped and noised; None for plain gradients. The
        client's state then has the seed of the noise, as "noise_seed"; it is zero in the result.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        partition: WeightPartition,
        loss_fn: LossFn,
        optimizer: tff.learning.optimizers.Optimizer,
        proximal: float = 0.0,
        keeps_optimizer: bool = False,
        dp_sgd: dp_sgd_lib.DpSgd | None = None,
    ):
        if proximal < 0.0:
            raise ValueError(f"proximal: expected at least 0, found {proximal}")
        statistics = Group.SHARED_STATISTICS, Group.PRIVATE_OTHER
        if dp_sgd and any(partition.indices(group) for group in statistics):
            raise ValueError("dp_sgd: expected no batch norm, by which images change each other's")
        self._model = model
        self._partition = partition
        self._loss_fn = loss_fn
        self._optimizer = optimizer
        self._proximal = proximal
        self._keeps_optimizer = keeps_optimizer
        self._dp_sgd = dp_sgd
        self._packings = {
            group: Packing(
                [
                    tf.TensorSpec(weight.shape, weight.dtype)
                    for weight in partition.weights
                    if weight.group is group
                ]
            )
            for group in Group
        }

    def initial_optimizer(self) -> Any:
        """The optimizer's state before a client's first step."""
        groups = Group.SHARED_TRAINABLE, Group.PRIVATE_TRAINABLE
        return self._optimizer.initialize(tuple(self._packings[group].specs for group in groups))

    def start(self, broadcast: Any, client: Any) -> Any:
        """The progress before the first batch."""
        packed = {
            group: self._packings[group].pack(values)
            for group, values in groups_of(broadcast, client).items()
        }
        groups = Group.SHARED_TRAINABLE, Group.PRIVATE_TRAINABLE
        trainable = tuple(packed[group] for group in groups)
        optimizer_state = client["optimizer"] if self._keeps_optimizer else self.initial_optimizer()
        optimizer_state = self._optimizer.set_hparams(
            optimizer_state,
            collections.OrderedDict(
                self._optimizer.get_hparams(optimizer_state),
                **{tff.learning.optimizers.LEARNING_RATE_KEY: broadcast["learning_rate"]},
            ),
        )
        return collections.OrderedDict(
            trainable=trainable,
            statistics=packed[Group.SHARED_STATISTICS],
            constants=packed[Group.SHARED_CONSTANTS],
            private_other=packed[Group.PRIVATE_OTHER],
            anchor=packed[Group.SHARED_TRAINABLE] if self._proximal else (),
            optimizer=optimizer_state,
            noise=(client["noise_seed"], tf.constant(0, tf.int64)) if self._dp_sgd else (),
            loss=tf.constant(0.0),
            labels=tf.constant(0.0),
            images=tf.constant(0, tf.int64),
        )

    def trace_step(self, weights_spec: Any, state_spec: Any, batch_spec: Any) -> Any:
        """Traces one optimizer step on one batch.

        Args:
          weights_spec: `tf.TensorSpec`s of the broadcast.
          state_spec: of a client's state.
          batch_spec: of a batch.

        Returns:
          A concrete function `<progress, batch> -> progress`.

        Raises:
          InputError: images are to be private, and random layers mix them.
        """
        start = tf.function(self.start, autograph=False)
        progress = start.get_concrete_function(weights_spec, state_spec).structured_outputs
        if self._dp_sgd and random_layers.are_in(self._model, inputs_of(batch_spec)):
            raise InputError(
                "--dp_sgd_noise: expected a network without random layers such as dropout, whose "
                f"numbers follow from all images of a batch, found some in {self._model.name}"
            )
        return random_layers.trace(self._step, self._model, progress, batch_spec)

    def _step(self, progress: Any, batch: Any) -> Any:
        model = self._model
        for variable, value in zip(model.weights, self._weights(progress)):
            variable.assign(value)
        scale = loss_scale(progress["optimizer"])
        groups = Group.SHARED_TRAINABLE, Group.PRIVATE_TRAINABLE
        variables = [self._partition.select(model.weights, group) for group in groups]
        if self._dp_sgd:
            gradients, loss, labels = self._private_gradients(batch, variables, *progress["noise"])
        else:
            gradients, loss, labels = self._gradients(batch, variables, scale)
        trainable = tuple(progress["trainable"])
        shared, private = (
            self._packings[group].pack(values) for group, values in zip(groups, gradients)
        )
        if self._proximal:  # The gradient of the proximal term.
            shared = tuple(
                g + scale * self._proximal * (w - a)
                for g, w, a in zip(shared, trainable[0], progress["anchor"])
            )
        optimizer, trainable = self._optimizer.next(
            progress["optimizer"], trainable, (shared, private)
        )
        return collections.OrderedDict(
            trainable=trainable,
            statistics=self._packed_now(Group.SHARED_STATISTICS),
            constants=progress["constants"],
            private_other=self._packed_now(Group.PRIVATE_OTHER),
            anchor=progress["anchor"],
            optimizer=optimizer,
            noise=(progress["noise"][0], progress["noise"][1] + 1) if self._dp_sgd else (),
            loss=progress["loss"] + loss,
            labels=progress["labels"] + labels,
            images=progress["images"] + number_of_images(batch),
        )

    def _gradients(
        self, batch: Any, variables: Any, scale: Any
    ) -> tuple[Any, tf.Tensor, tf.Tensor]:
        """Gradients of the mean over a batch's labels, times `scale`; its loss and labels."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            outputs = self._model(inputs_of(batch), training=True)
            loss, labels = self._loss_fn(batch, outputs)
            objective = scale * tf.math.divide_no_nan(loss, labels)
        gradients = tape.gradient(
            objective, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return gradients, loss, labels

    def _private_gradients(
        self, batch: Any, variables: Any, seed: tf.Tensor, step: tf.Tensor
    ) -> tuple[Any, tf.Tensor, tf.Tensor]:
        """As `_gradients`, of each image by itself, clipped and noised."""
        assert self._dp_sgd

        def of_image(one: Any) -> Any:
            gradients, loss, labels = self._gradients(one, variables, 1.0)
            return tf.nest.flatten(gradients), loss, labels

        flat, loss, labels = dp_sgd_lib.gradients(
            self._dp_sgd, of_image, batch, tf.nest.flatten(variables), seed, step
        )
        return tf.nest.pack_sequence_as(variables, flat), loss, labels

    def _weights(self, progress: Any) -> list[tf.Tensor]:
        """The weights of a progress, in the order of `model.weights`."""
        packed = {
            Group.SHARED_TRAINABLE: progress["trainable"][0],
            Group.SHARED_STATISTICS: progress["statistics"],
            Group.SHARED_CONSTANTS: progress["constants"],
            Group.PRIVATE_TRAINABLE: progress["trainable"][1],
            Group.PRIVATE_OTHER: progress["private_other"],
        }
        return self._partition.merge(
            {group: self._packings[group].unpack(vectors) for group, vectors in packed.items()}
        )

    def _packed_now(self, group: Group) -> tuple[tf.Tensor, ...]:
        """The values that the model's own variables have by now, of one group."""
        variables = self._partition.select(self._model.weights, group)
        return self._packings[group].pack([tf.convert_to_tensor(v) for v in variables])

    def finish(self, broadcast: Any, client: Any, progress: Any) -> Any:
        """What the client keeps and what it sends to the aggregation.

        An update with a value that is not finite is withheld: its weight and its update are zero,
        the client keeps the state it had, and `failed` is the code of the failure, see
        `tffcxr.learning.failure`.
        """
        moved = self._weights(progress)
        finite = tf.stack(
            [
                tf.reduce_all(tf.math.is_finite(value)) if value.dtype.is_floating else True
                for value in moved
            ]
        )
        failed = failure.encode(finite, tf.math.is_finite(progress["loss"]))
        succeeded = failure.succeeded(failed)

        def difference(new, old):
            return tuple(tf.where(succeeded, n - o, tf.zeros_like(o)) for n, o in zip(new, old))

        def kept(new, old):
            return tf.nest.map_structure(lambda n, o: tf.where(succeeded, n, o), new, old)

        kept_by_client = collections.OrderedDict(
            (name, kept(tuple(new), tuple(client[name])))
            for name, new in self._partition.client_state(moved).items()
        )
        if self._keeps_optimizer:
            kept_by_client["optimizer"] = kept(progress["optimizer"], client["optimizer"])
        if self._dp_sgd:
            kept_by_client["noise_seed"] = tf.zeros_like(client["noise_seed"])
        return collections.OrderedDict(
            update=collections.OrderedDict(
                (name, difference(new, broadcast[name]))
                for name, new in self._partition.update(moved).items()
            ),
            client=kept_by_client,
            metrics=collections.OrderedDict(
                loss=progress["loss"],
                labels=progress["labels"],
                images=progress["images"],
                failed=failed,
            ),
        )
