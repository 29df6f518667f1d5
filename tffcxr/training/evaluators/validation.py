"""What is measured after every round; here, for models of findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import copy
import dataclasses
import threading
from typing import Any, Protocol, TypeVar
import warnings

import numpy as np
import tensorflow as tf

from tffcxr.evaluation import metrics, registry

_METRICS = (registry.LOSS, registry.AUROC, registry.AUPR)


class Evaluator(Protocol):
    """Measures models on the images that clients hold for it.

    Attributes:
      columns: `<task>/<metric>`, by the names in `registry.METRICS`, in the order of `rounds.csv`;
        losses steer the schedule.
    """

    columns: tuple[str, ...]

    def score(self, weights: Sequence[np.ndarray], client: str) -> Any:
        """Runs a model with `weights`, in the order of `model.weights`, over a client's images."""

    def metrics(self, parts: Sequence[Any]) -> dict[str, float]:
        """The metrics of the images of several calls of `score` taken together."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a model says of some images.

    Attributes:
      rows: int64 [N], the image's position in its client's records table.
      clients: object [N], the client that holds the image.
      labels: float32 [N, F], 1 present, 0 absent, NaN unknown.
      scores: float32 [N, F], of every output what the `Scorer` gives: logits, say.
    """

    rows: np.ndarray
    clients: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Scores]) -> Scores:
        """Puts the scores of several clients one after the other."""
        return join_arrays(cls, parts)

    def as_probabilities(self) -> Scores:
        """The same images with the probability of each finding by itself, from its logit."""
        return dataclasses.replace(self, scores=tf.sigmoid(self.scores).numpy())


_Arrays = TypeVar("_Arrays")


def join_arrays(kind: type[_Arrays], parts: Sequence[_Arrays]) -> _Arrays:
    """Joins dataclasses whose every attribute is an array, along its first axis."""
    fields: Any = dataclasses.fields(kind)  # type: ignore[arg-type]
    return kind(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields)
    )


class Scorer:
    """Runs a model with given weights over the evaluation images of clients.

    Threads may share one: they take turns.

    Args:
      model: a Keras model of logits; its weights are overwritten at every call.
      client_data: a `tffcxr.clients.client_data.ClientData`.
      activation: what becomes of the logits; by default, they stay.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        client_data: Any,
        activation: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
    ):
        self._model = model
        self._data = client_data
        self._turn = threading.Lock()
        self._predict = tf.function(
            lambda images: activation(model(images, training=False)),
            input_signature=[tf.TensorSpec(model.input_shape, tf.float32)],
            autograph=False,
        )

    def over(self, client_data: Any) -> Scorer:
        """The same model over the images of other clients."""
        other = copy.copy(self)
        other._data = client_data
        return other

    def score(self, weights: Sequence[np.ndarray], client: str, split: str) -> Scores:
        """Scores one client's images of one split.

        Args:
          weights: in the order of `model.weights`.
          client: the client's id.
          split: "train", "validation" or "test".
        """
        rows, labels, scores = [], [], []
        with self._turn:
            for variable, value in zip(self._model.weights, weights):
                variable.assign(value)
            for batch in self._data.evaluation_dataset(client, split):
                rows.append(batch["rows"].numpy())
                labels.append(batch["labels"].numpy())
                scores.append(self._predict(batch["images"]).numpy())
        width = self._model.output_shape[-1]
        if not rows:
            empty = np.zeros((0, width), np.float32)
            return Scores(np.zeros(0, np.int64), np.zeros(0, object), empty, empty)
        row = np.concatenate(rows)
        return Scores(
            row,
            np.full(len(row), client, dtype=object),
            np.concatenate(labels),
            np.concatenate(scores),
        )


class FindingsEvaluator:
    """An `Evaluator` of the loss, AUROC and AUPR of every finding on validation images.

    The columns are `<finding>/<metric>`.

    Args:
      scorer: of logits.
      findings: names of the model's outputs, in order.
    """

    def __init__(self, scorer: Scorer, findings: Sequence[str]):
        self.columns = tuple(metric.column(finding) for finding in findings for metric in _METRICS)
        self._findings = tuple(findings)
        self._scorer = scorer

    def score(self, weights: Sequence[np.ndarray], client: str) -> Scores:
        """See `Evaluator`; the scores are probabilities."""
        return self._scorer.score(weights, client, "validation").as_probabilities()

    def metrics(self, parts: Sequence[Scores]) -> dict[str, float]:
        """See `Evaluator`; NaN where a metric is undefined."""
        scores, values = Scores.join(parts), {}
        for index, finding in enumerate(self._findings):
            with warnings.catch_warnings():
                # The final tables warn of an undefined metric; once per round would be noise.
                warnings.simplefilter("ignore")
                found = metrics.binary_metrics(
                    scores.labels[:, index], scores.scores[:, index], 0.5
                )
            values.update({metric.column(finding): found[metric.name] for metric in _METRICS})
        return values
