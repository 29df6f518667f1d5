"""A user's Keras model, copied and compiled with a loss and metrics that fit the clients' data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr.errors import InputError, one_line
from tffcxr.learning.local_training import number_of_images
from tffcxr.learning.weight_groups import WeightPartition
from tffcxr.own_model import batches


class CompiledModel:
    """What federated training needs of a Keras model; the user's own is left as it is.

    Attributes:
      keras: a copy, compiled; its weights are overwritten all the time.
      initial_weights: those of the user's model, in the order of `model.weights`.

    Args:
      model: functional, sequential, or a subclass that Keras can make again from `get_config`. A
        model that has not seen data yet is built with the batch.
      batch: of a client, `(inputs, labels)` or `(inputs, labels, sample weights)`.
      loss: as `tf.keras.Model.compile` takes it; None for a model that has its own, by `add_loss`
        or `compute_loss`. What the model was compiled with is not used.
      metrics: likewise; a name may also be that of a class, such as "auc".
      loss_weights: likewise.
      private: names of layers whose weights are to stay at the client.

    Raises:
      InputError: there is no loss, the model cannot be copied, the labels do not fit it, or a
        private layer is not in it or shares a weight with one that is averaged.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        batch: Any,
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        private: Sequence[str] = (),
    ):
        if not isinstance(model, tf.keras.Model):
            raise InputError(f"model: expected a tf.keras.Model, found {type(model).__name__}")
        if type(model).train_step is not tf.keras.Model.train_step:
            raise InputError(
                f"model {model.name!r}: expected Keras' own train_step, found one in "
                f"{type(model).__name__}, which federated training does not run; give the loss as "
                "loss=… or by add_loss"
            )
        _check_losses(loss)
        self._loss, self._metrics = loss, _instances(metrics)
        self._loss_weights = loss_weights
        inputs, labels, sample_weights = batches.unpack(batch)
        outputs = _call(model, inputs)
        _check_model(model, loss)
        WeightPartition.of(model, private)  # Before a copy, which may share less.
        self._user = model
        self._inputs = inputs
        self.initial_weights = [weight.numpy() for weight in model.weights]
        if loss is not None:
            _check_labels(model, outputs, labels, loss)
        self.keras = self.copy(self.initial_weights)
        self._check_copy(outputs)
        # Keras makes its losses and metrics at the first batch, which must not be in a graph.
        try:
            with _policy("float32"):
                self.keras.test_step((inputs, labels, sample_weights))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise InputError(
                f"model {model.name!r}: expected loss, labels and metrics that fit, found "
                f"{_shortened(error)}"
            ) from error
        self.keras.reset_metrics()
        if len(set(self.metric_names)) < len(self.metric_names):
            raise InputError(
                f"metrics: expected different names, other than loss, found "
                f"{', '.join(self.metric_names)}"
            )

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Those of `keras.metrics`, the loss first."""
        return tuple(metric.name for metric in self.keras.metrics)

    @property
    def scales_loss(self) -> bool:
        """Whether layers compute in float16, whose small gradients vanish without a scale."""
        layers = (each for each in self.keras.submodules if isinstance(each, tf.keras.layers.Layer))
        return any(layer.compute_dtype == "float16" for layer in layers)

    def copy(self, weights: Sequence[np.ndarray]) -> tf.keras.Model:
        """A new model with these weights, compiled with the loss and the metrics."""
        try:
            with _generators():
                made = tf.keras.models.clone_model(self._user)
                _call(made, self._inputs)
            _check_same_weights(made, self._user)
            # What is frozen also decides the order of the weights.
            for layer, like in zip(made.submodules, self._user.submodules):
                if isinstance(layer, tf.keras.layers.Layer) and layer.trainable != like.trainable:
                    layer.trainable = like.trainable
            made.set_weights(weights)
        except (NotImplementedError, TypeError, ValueError) as error:
            raise self._not_copied(_shortened(error)) from error
        with _policy("float32"):  # Of metrics, whatever the layers compute in.
            made.compile(
                loss=self._loss,
                metrics=tf.nest.map_structure(_fresh, self._metrics),
                loss_weights=self._loss_weights,
            )
        return made

    def _check_copy(self, outputs: Any) -> None:
        """Raises InputError unless the copy gives the outputs and losses of the user's model."""
        found = _call(self.keras, self._inputs)
        same = all(
            np.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)
            for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(outputs))
        )
        if not same:
            raise self._not_copied("a copy that gives other outputs")
        if len(self.keras.losses) != len(self._user.losses):
            raise self._not_copied(
                "a loss that a copy has not, by add_loss outside of `call`; a regularizer of the "
                "layer is copied"
            )

    def _not_copied(self, found: str) -> InputError:
        hint = ""
        if not type(self._user).__module__.startswith("keras"):
            hint = "; a subclass needs `get_config` with all arguments of its `__init__`"
        return InputError(
            f"model {self._user.name!r}: expected a model that Keras can copy, found {found}{hint}"
        )

    def batch_loss(self, batch: Any, outputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss in the form that local training takes, see `local_training.LossFn`.

        It is what `tf.keras.Model.fit` minimises, regularisation and `add_loss` included.

        Returns:
          `(loss, images)`, float32 scalars: the loss times the number of images, and that number.
        """
        inputs, labels, sample_weights = batches.unpack(batch)
        loss = tf.cast(self.keras.compute_loss(inputs, labels, outputs, sample_weights), tf.float32)
        images = tf.cast(number_of_images(batch), tf.float32)
        return tf.reshape(loss, []) * images, images


def _check_same_weights(copy: tf.keras.Model, model: tf.keras.Model) -> None:
    if len(copy.weights) != len(model.weights):
        raise ValueError(
            f"that a copy has {len(copy.weights)} weights instead of {len(model.weights)}, since "
            "models inside it share layers"
        )


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Makes Keras use a dtype policy for what is made here."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


@contextlib.contextmanager
def _generators() -> Iterator[None]:
    """Makes layers draw from `tf.random.Generator`s, which `random_layers` can start anywhere."""
    experimental = tf.keras.backend.experimental
    before = experimental.is_tf_random_generator_enabled()
    experimental.enable_tf_random_generator()
    try:
        yield
    finally:
        if not before:
            experimental.disable_tf_random_generator()


def _check_model(model: tf.keras.Model, loss: Any) -> None:
    """Raises InputError for a model without a loss, or with what a federation would not heed."""
    has_own = type(model).compute_loss is not tf.keras.Model.compute_loss or model.losses
    if loss is None and not has_own:
        raise InputError(
            f"model {model.name!r}: expected a loss, such as loss='binary_crossentropy', found none"
            " (what the model was compiled with is not used)"
        )
    if not model.weights:
        raise InputError(f"model {model.name!r}: expected weights to train, found none")
    lookups = (
        tf.keras.layers.StringLookup,
        tf.keras.layers.IntegerLookup,
        tf.keras.layers.TextVectorization,
    )
    for layer in model.submodules:
        if isinstance(layer, lookups):
            raise InputError(
                f"model {model.name!r}: expected no tables of words, which TFF cannot send, found "
                f"the layer {layer.name!r}; look words up in the dataset, by its `map`"
            )
    for weight in model.trainable_weights:
        if getattr(weight, "constraint", None) is not None:
            raise InputError(
                f"model {model.name!r}: expected weights without constraints, which an average "
                f"would not keep, found one of {weight.name}"
            )


def _call(model: tf.keras.Model, inputs: Any) -> Any:
    """The outputs of a batch; builds the model."""
    try:
        return model(inputs, training=False)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise InputError(
            f"model {model.name!r}: expected to take the clients' inputs, "
            f"{batches.describe(inputs)}; found {_shortened(error)}"
        ) from error


def _check_losses(loss: Any) -> None:
    """Raises InputError for what is no loss of Keras, and no function or object of the user's."""
    for each in tf.nest.flatten(loss):
        named = isinstance(each, str) and each not in ("get", "serialize", "deserialize")
        is_loss = callable(getattr(tf.keras.losses, each, None)) if named else callable(each)
        if each is not None and (not is_loss or isinstance(each, type)):
            raise InputError(
                f"loss: expected Keras' losses, such as 'binary_crossentropy', found {each!r}"
            )


def _check_labels(model: tf.keras.Model, outputs: Any, labels: Any, loss: Any) -> None:
    """Raises InputError if the shape of labels is not that of the output they are for.

    Keras would repeat labels [B, 1] for outputs [B, 3] without a word.
    """
    for name, output, label, of_output in _pairs(model, outputs, labels, loss):
        kind = of_output if isinstance(of_output, str) else _name(of_output)
        if label is None or kind is None:
            continue
        given, found = tuple(output.shape[1:]), tuple(label.shape[1:])
        if "sparse" in kind.lower():
            fitting = found in (given[:-1], (*given[:-1], 1))
            wanted = given[:-1]
        else:
            fitting = found == given or (*found, 1) == given or found == (*given, 1)
            wanted = given
        if not fitting:
            of_classes = " of class numbers" if "sparse" in kind.lower() else ""
            raise InputError(
                f"labels: expected the shape {batches.describe_shape((None, *wanted))}{of_classes} "
                f"for {name}, whose loss is {kind}; found "
                f"{batches.describe_shape((None, *found))}"
            )


def _pairs(
    model: tf.keras.Model, outputs: Any, labels: Any, loss: Any
) -> list[tuple[str, Any, Any, Any]]:
    """Name, output, labels and loss of each output; None where there are no labels or no loss."""
    if isinstance(outputs, Mapping):
        by_name = dict(outputs)
    elif isinstance(outputs, (list, tuple)):
        names = getattr(model, "output_names", None) or [str(i) for i in range(len(outputs))]
        by_name = dict(zip(names, outputs))
    else:
        single = next(iter(loss.values())) if isinstance(loss, Mapping) else loss
        return [(f"the output of model {model.name!r}", outputs, labels, single)]
    known = ", ".join(by_name)
    for what, given in (("labels", labels), ("loss", loss)):
        if isinstance(given, Mapping):
            unknown = [name for name in given if name not in by_name]
            if unknown:
                raise InputError(
                    f"{what}: expected names of outputs, {known}; found {unknown[0]!r}"
                )
        elif isinstance(given, (list, tuple)) and len(given) != len(by_name):
            raise InputError(
                f"{what}: expected one for each output, {known}; found {len(given)} of them"
            )
    if not isinstance(labels, (Mapping, list, tuple)):
        raise InputError(f"labels: expected some for each output, {known}; found one tensor")

    def of(given: Any, position: int, name: str) -> Any:
        if isinstance(given, Mapping):
            return given.get(name)
        return given[position] if isinstance(given, (list, tuple)) else given

    return [
        (f"output {name!r}", output, of(labels, i, name), of(loss, i, name))
        for i, (name, output) in enumerate(by_name.items())
    ]


def _name(loss: Any) -> str | None:
    """The name of a loss of Keras; None of another, whose labels may have any shape."""
    kind = loss if callable(loss) and hasattr(loss, "__name__") else type(loss)
    return kind.__name__ if str(kind.__module__).startswith("keras") else None


_LONGEST = 240  # Characters of an error of Keras in a message.
# Keras chooses what these mean by the shape of the labels.
_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")


def _instances(metrics: Any) -> Any:
    """Metrics with names of classes, such as "auc", replaced by instances of that name."""
    if metrics is None:
        return None
    classes = {
        name.lower(): kind
        for name, kind in vars(tf.keras.metrics).items()
        if isinstance(kind, type) and issubclass(kind, tf.keras.metrics.Metric)
    }

    def instance(metric: Any) -> Any:
        if not isinstance(metric, str) or metric in _BY_SHAPE:
            return metric
        kind = classes.get(metric.replace("_", "").lower())
        if kind is not None:
            return kind(name=metric.lower())
        if not callable(getattr(tf.keras.metrics, metric, None)):
            raise InputError(f"metrics: expected Keras' metrics, such as 'auc', found {metric!r}")
        return metric

    return tf.nest.map_structure(instance, list(metrics) if isinstance(metrics, tuple) else metrics)


def _fresh(metric: Any) -> Any:
    """A metric without a state of another model; one that cannot be copied itself."""
    if not isinstance(metric, tf.keras.metrics.Metric):
        return metric
    try:
        return type(metric).from_config(metric.get_config())
    except (NotImplementedError, TypeError):
        return metric


def _shortened(error: Exception) -> str:
    text = one_line(error)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
