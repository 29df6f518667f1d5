"""Exported models: one `.keras` file that gives probabilities, and what is to be known of it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any, Union

import numpy as np
import tensorflow as tf

from tffcxr.datasets.imaging import images, likeness
from tffcxr.datasets.imaging.likeness import Likeness, SliceLikeness
from tffcxr.errors import InputError
from tffcxr.models.files import metadata, model_file, run_models
from tffcxr.models.files.metadata import Metadata

# A probability for each name, or a mask.
Prediction = Union["dict[str, float]", np.ndarray]


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model as other programs use it. For research: it is not a medical device.

    Attributes:
      keras: images, float32 [B, S, S, C] in 0..1, to probabilities, float32: [B, outputs] of
        findings and classes, [B, S, S, 1] of masks and of the slices of volumes.
      metadata: what it takes and what it gives.
      likeness: statistics of the images that it was trained on; None where there are none, and of
        a model of volumes.
      slice_likeness: statistics of the slices that a model of volumes was trained on, by nodes of
        `metadata.slices`; those of too few are left out.
    """

    keras: tf.keras.Model
    metadata: Metadata
    likeness: Likeness | None = None
    slice_likeness: SliceLikeness = dataclasses.field(default_factory=dict)

    @property
    def is_compared(self) -> bool:
        """Whether there are statistics that images can be compared with."""
        return self.likeness is not None or bool(self.slice_likeness)

    def predict(self, file: str | os.PathLike[str]) -> Prediction:
        """What the model says of a radiograph.

        Args:
          file: a DICOM, PNG or JPEG file.

        Returns:
          Of findings and classes, name -> probability. Of masks, what is marked: bool [H, W] of the
          image as `images.read_image` gives it.

        Raises:
          InputError: the file cannot be read, or the model does not take whole radiographs.
        """
        self.metadata.check_takes_radiographs()
        picture = images.read_image(file)
        if self.metadata.marks_pixels:
            return self.mask(picture)
        return self.probabilities(self.fitted(picture))

    def read(self, file: str | os.PathLike[str]) -> np.ndarray:
        """Reads a radiograph as the model takes it, float32 [S, S, 1]; see `predict`."""
        return self.fitted(images.read_image(file))

    def fitted(self, picture: np.ndarray) -> np.ndarray:
        """An image uint8 [H, W, 1] as the model takes it, float32 [S, S, 1]; see `predict`."""
        self.metadata.check_takes_radiographs()
        if picture.shape[2:] != (1,):
            raise InputError(f"expected an image [H, W, 1], found the shape {picture.shape}")
        square = images.fit_to_square(picture, self.metadata.image_size, self.metadata.fit)
        return square.astype(np.float32) / np.float32(255.0)

    def probabilities(self, pixels: np.ndarray) -> dict[str, float]:
        """Name -> probability of one fitted image, float32 [S, S, C].

        Raises:
          InputError: the model marks pixels.
        """
        if self.metadata.marks_pixels:
            raise InputError(
                f"expected a model of findings or classes, found {self.metadata.about}"
            )
        found = self.keras(pixels[np.newaxis], training=False).numpy()[0]
        return {name: float(value) for name, value in zip(self.metadata.outputs, found)}

    def mask(self, picture: np.ndarray) -> np.ndarray:
        """What is marked in an image uint8 [H, W, 1]: bool [H, W]; see `predict`.

        Raises:
          InputError: the model marks nothing.
        """
        if not self.metadata.marks_pixels:
            raise InputError(f"expected a model that marks a region, found {self.metadata.about}")
        found = self.keras(self.fitted(picture)[np.newaxis], training=False).numpy()[0]
        return self.marked(found, *picture.shape[:2])

    def marked(self, probabilities: np.ndarray, height: int, width: int) -> np.ndarray:
        """From the probabilities [S, S, 1] of a fitted image to bool [height, width] of its own."""
        shape, size = (height, width), self.metadata.image_size
        content = probabilities[images.place_in_square(shape, size, self.metadata.fit)][..., 0]
        return images.take_nearest(content >= self.metadata.threshold, height, width)


def with_probabilities(logits: tf.keras.Model, activation: str) -> tf.keras.Model:
    """The same model, its variables shared, with probabilities behind its logits.

    Args:
      logits: images to logits.
      activation: "softmax" for classes, "sigmoid" for what is marked.
    """
    layer = tf.keras.layers.Activation(activation, dtype="float32", name="probabilities")
    return tf.keras.Model(logits.input, layer(logits.output), name=logits.name)


def save(path: pathlib.Path, exported: Exported) -> None:
    """Writes the model as one `.keras` file, its metadata as JSON and its likeness beside it.

    A killed program leaves no pair that loads and is wrong.

    Args:
      path: ends in `.keras`; the metadata goes to the same name with `.json`, and the statistics
        of the training images, if any, to that with `.images.npz`.
      exported: the model, its metadata and these statistics.

    Raises:
      ValueError: the path has another suffix, or the metadata do not fit the model.
    """
    exported.metadata.check()
    _check_fits(exported)
    statistics = likeness.file_of(path)
    statistics.unlink(missing_ok=True)
    if exported.likeness is not None:
        likeness.write(statistics, exported.likeness)
    elif exported.slice_likeness:
        likeness.write_slices(statistics, _channels(exported.metadata), exported.slice_likeness)
    model_file.save(path, exported.keras, exported.metadata.to_json())


def load(path: str | os.PathLike[str], name: str | None = None) -> Exported:
    """Reads what `save` wrote. Nothing in the files is run, see `safe_files`.

    Args:
      path: a `.keras` file, or the folder of a complete run.
      name: of the model, such as "federated_resnet50", where the run has several; without it the
        first is taken.

    Raises:
      InputError: there is no such model, it is not what `save` writes, has another format version,
        or the metadata do not fit the model.
    """
    file = run_models.find(pathlib.Path(path), name)
    about = metadata.read(file)
    statistics = likeness.file_of(file)
    found: dict[str, Any] = {}
    if statistics.exists() and about.kind == metadata.VOLUMES:
        found["slice_likeness"] = likeness.read_slices(statistics, _channels(about))
    elif statistics.exists():
        found["likeness"] = likeness.read(statistics)
    exported = Exported(model_file.load_model(file), about, **found)
    try:
        _check_fits(exported)
    except ValueError as error:
        raise InputError(f"{file} does not fit its metadata: {error}") from error
    return exported


def _channels(about: Metadata) -> dict[str, int]:
    """The channels of each node of a model of volumes."""
    return dict.fromkeys(about.slices, about.channels)


def _check_fits(exported: Exported) -> None:
    """Raises ValueError unless the metadata, checked by themselves, are those of the model."""
    about, model = exported.metadata, exported.keras
    size = about.image_size
    # Another program's model may have several inputs or outputs; then these are lists of shapes.
    taken, given = model.input_shape, model.output_shape
    if taken != (None, size, size, about.channels):
        raise ValueError(
            f"the model takes images of the shape {_without_batch(taken)}, the metadata say "
            f"{(size, size, about.channels)}"
        )
    wanted = (size, size, 1) if about.marks_pixels else (len(about.outputs),)
    if given != (None, *wanted):
        raise ValueError(
            f"the model gives the shape {_without_batch(given)}, the metadata say {wanted}"
        )
    missing = set(about.gradcam_layers.values()) - {layer.name for layer in model.layers}
    if missing:
        raise ValueError(f"the model has no layer {', '.join(sorted(missing))}")


def _without_batch(shape: Any) -> Any:
    return shape[1:] if isinstance(shape, tuple) else shape
