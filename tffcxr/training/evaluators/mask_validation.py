"""What is measured after every round of a segmentation: loss, Jaccard and Dice of each image.

Loss and Dice are told twice: as the mean over all images, which is what a server with all of them
sees, and as the mean over clients of each client's own mean, in which a client with few images
counts as much as one with many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import copy
import dataclasses
import threading
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr.evaluation import case_overlap, registry, segmentation
from tffcxr.training.evaluators.validation import join_arrays

METRICS = (
    registry.LOSS, registry.JACCARD, registry.DICE, registry.CLIENT_LOSS, registry.CLIENT_DICE,
)  # fmt: skip
# (masks, logits), both float32 [B, S, S, 1], to the loss of each image, float32 [B].
ImageLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class MaskScores:
    """How well a model segments some images.

    Attributes:
      rows: int64 [N], the image's position in its client's records table.
      clients: object [N], the client that holds the image.
      loss: float64 [N].
      jaccard: float64 [N], 0..1.
      dice: float64 [N], 0..1.
      truth_area: float64 [N], the true mask's share of the image.
      predicted_area: float64 [N], the same of the predicted mask.
      common_area: float64 [N], the same of what both cover.
      boxed_area: float64 [N], the same of the part of the true mask that is in the boxes around
        the predicted one, see `tffcxr.evaluation.case_overlap`.
      boundary: float64 [N], the same of the true mask's boundary.
      boxed_boundary: float64 [N], the same of its part in the one box around all that is predicted.
    """

    rows: np.ndarray
    clients: np.ndarray
    loss: np.ndarray
    jaccard: np.ndarray
    dice: np.ndarray
    truth_area: np.ndarray
    predicted_area: np.ndarray
    common_area: np.ndarray
    boxed_area: np.ndarray
    boundary: np.ndarray
    boxed_boundary: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[MaskScores]) -> MaskScores:
        """Puts the scores of several clients one after the other."""
        return join_arrays(cls, parts)


class MaskEvaluator:
    """An `Evaluator` of the mean loss, Jaccard and Dice over images, as `<region>/<metric>`.

    Threads may share one: they take turns.

    Args:
      model: a Keras model of logits [B, S, S, 1]; its weights are overwritten at every call.
      client_data: a `tffcxr.clients.client_data.ClientData` with masks.
      region: what is segmented, such as "Lungs".
      loss: of each image.
      split: the images to measure on.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        client_data: Any,
        region: str,
        loss: ImageLoss,
        split: str,
    ):
        self.columns = tuple(metric.column(region) for metric in METRICS)
        self._model = model
        self._data = client_data
        self._split = split
        self._turn = threading.Lock()

        def measure(images: tf.Tensor, masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits = model(images, training=False)
            return loss(masks, logits), logits[..., 0] >= 0.0  # A probability of one half.

        signature = [
            tf.TensorSpec(shape, tf.float32) for shape in (model.input_shape, model.output_shape)
        ]
        self._measure = tf.function(measure, input_signature=signature, autograph=False)

    def on(self, split: str, client_data: Any = None) -> MaskEvaluator:
        """The same of the images of another split, and perhaps of other clients."""
        other = copy.copy(self)
        other._split = split
        other._data = client_data or self._data
        return other

    def score(self, weights: Sequence[np.ndarray], client: str) -> MaskScores:
        """See `Evaluator`."""
        rows: list[int] = []
        measured: list[tuple[float, ...]] = []
        with self._turn:
            self._set(weights)
            for batch in self._data.evaluation_dataset(client, self._split):
                losses, predicted = self._measure(batch["images"], batch["masks"])
                rows.extend(batch["rows"].numpy())
                truth = batch["masks"].numpy()[..., 0] > 0.5
                for loss, one, true in zip(losses.numpy(), predicted.numpy(), truth):
                    overlap = segmentation.jaccard(one, true), segmentation.dice(one, true)
                    boxed = case_overlap.boxed_pixels(one, true) / true.size
                    in_box, edge = case_overlap.boxed_boundary(one, true)
                    areas = (
                        true.mean(), one.mean(), (one & true).mean(), boxed,
                        edge / true.size, in_box / true.size,
                    )  # fmt: skip
                    measured.append((float(loss), *overlap, *map(float, areas)))
        columns = np.array(measured, np.float64).reshape(-1, 9).T
        clients = np.full(len(rows), client, dtype=object)
        return MaskScores(np.array(rows, np.int64), clients, *columns)

    def segment(self, weights: Sequence[np.ndarray], images: np.ndarray) -> np.ndarray:
        """Marks the region.

        Args:
          weights: in the order of `model.weights`.
          images: float32 [B, S, S, C], 0..1.

        Returns:
          bool [B, S, S].
        """
        with self._turn:
            self._set(weights)
            _, predicted = self._measure(images, np.zeros((*images.shape[:3], 1), np.float32))
        return np.asarray(predicted)

    def _set(self, weights: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self._model.weights, weights):
            variable.assign(value)

    def metrics(self, parts: Sequence[MaskScores]) -> dict[str, float]:
        """See `Evaluator`; NaN without any image."""
        scores = MaskScores.join(parts)
        of_images = map(mean_of_known, (scores.loss, scores.jaccard, scores.dice))
        return dict(zip(self.columns, (*of_images, *means_of_clients(parts))))


def means_of_clients(parts: Sequence[MaskScores]) -> tuple[float, float]:
    """The mean over clients of each client's mean loss, and that of its mean Dice.

    Args:
      parts: of one client each; one without a known value does not count.
    """
    of_each = [[mean_of_known(values) for values in (part.loss, part.dice)] for part in parts]
    losses, dices = np.array(of_each, np.float64).reshape(-1, 2).T
    return mean_of_known(losses), mean_of_known(dices)


def mean_of_known(values: np.ndarray) -> float:
    """The mean of the values that are defined, NaN if none is."""
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if len(known) else float("nan")
