"""Predicts radiographs in batches: the files that were read, one answer for each, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tffcxr.datasets.imaging import images
from tffcxr.models.files.export import Exported
from tffcxr.prediction import answers
from tffcxr.prediction.answers import Answer
from tffcxr.prediction.image_checks import Expected
from tffcxr.prediction.reading import OK, Image

# Of models that do not say it.
_MODALITIES = ("CR", "DX", "RG")


class Predicted(NamedTuple):
    """One file with its answer.

    Attributes:
      image: the file, as it was read.
      answer: what the model says of it.
      mask: what it marks, bool of the file's own rows and columns; None for other kinds.
    """

    image: Image
    answer: Answer
    mask: np.ndarray | None = None


class Predictor:
    """A model that answers in batches.

    Args:
      exported: a model of radiographs.
      batch_size: images that are predicted at once, at least 1.
    """

    def __init__(self, exported: Exported, batch_size: int):
        self._exported = exported
        self._batch_size = batch_size
        # Traced once, for batches of any size.
        spec = tf.TensorSpec([None, *exported.keras.input_shape[1:]], tf.float32)
        self._probabilities = tf.function(
            lambda batch: exported.keras(batch, training=False), [spec], autograph=False
        )

    def predict(self, read: Iterable[Image]) -> Iterator[Predicted]:
        """Yields an answer for every image, in their order; no more than a batch is held."""
        waiting: list[Image] = []
        readable = 0
        for image in read:
            waiting.append(image)
            readable += image.status == OK
            if readable == self._batch_size:
                yield from self._answer(waiting)
                waiting, readable = [], 0
        yield from self._answer(waiting)

    def _answer(self, waiting: list[Image]) -> Iterator[Predicted]:
        squares = [image.square for image in waiting if image.square is not None]
        if squares:
            batch = np.stack(squares)  # [B, S, S, 1]
            pixels = batch.astype(np.float32) / np.float32(255.0)
            found = iter(self._probabilities(tf.constant(pixels)).numpy())
            distances = iter(self._distances(batch))
        for image in waiting:
            file = answers.readable(image.path)
            if image.square is None:
                error = answers.readable(image.error)
                yield Predicted(image, Answer(file, (), image.status, error))
                continue
            distance = float(next(distances))
            warnings = (*image.warnings, *self._unlike(distance, image.square))
            yield self._one(image, file, next(found), distance, warnings)

    def _one(
        self,
        image: Image,
        file: str,
        found: np.ndarray,
        distance: float,
        warnings: tuple[str, ...],
    ) -> Predicted:
        about, mask = self._exported.metadata, None
        if about.marks_pixels:
            mask = self._exported.marked(found, *image.shape)
            rows = answers.of_mask(about, mask)
            # Where pixels are not square, back to those of the file.
            mask = images.take_nearest(mask, *image.stored_shape)
        else:
            rows = answers.OF_IMAGES[about.kind](about, found)
        return Predicted(image, Answer(file, rows, OK, "", warnings, distance), mask)

    def _distances(self, batch: np.ndarray) -> np.ndarray:
        likeness = self._exported.likeness
        if likeness is None:
            return np.full(len(batch), math.nan)
        return likeness.distances(batch[..., 0])

    def _unlike(self, distance: float, square: np.ndarray) -> list[str]:
        """What to say of an image's distance from the training images."""
        likeness = self._exported.likeness
        if likeness is None or distance <= 1:
            return []
        mistake = likeness.mistake(square[..., 0])
        why = f"; it looks as if {mistake}" if mistake else ""
        return [f"unlike the training images (distance {distance:.1f}, limit 1){why}"]


def expected_of(exported: Exported) -> Expected:
    """What images of the kind that a model was trained on are like."""
    about = exported.metadata
    return Expected(
        tuple(about.trained_on.get("modalities") or _MODALITIES),
        tuple(about.trained_on.get("views", ())),
        about.image_size,
    )
