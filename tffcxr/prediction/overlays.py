"""Pictures of what a model looks at, or of what it marks, over the images."""

from __future__ import annotations

from collections.abc import Sequence
import os
import pathlib

from matplotlib.figure import Figure
import numpy as np
import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.explanation import gradcam
from tffcxr.models.files.export import Exported
from tffcxr.prediction.answers import Row
from tffcxr.report import style

NOTICE = "For research only: not a medical device, not for diagnosis."


def logits_of(model: tf.keras.Model) -> tf.keras.Model:
    """The same exported model without its last activation.

    It is what Grad-CAM explains: the gradient of a probability vanishes where the model is sure.
    """
    return tf.keras.Model(model.input, model.get_layer("probabilities").input)


class Overlays:
    """Writes pictures of what the model looks at, or of what it marks, into a folder.

    Args:
      flag: that names the folder, "heatmaps" or "masks".
      folder: made if missing.
      exported: the model.
    """

    def __init__(self, flag: str, folder: pathlib.Path, exported: Exported):
        self._flag = flag
        self._folder = folder
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--{flag}: cannot make {self._folder}: {error.strerror}") from error
        self._exported = exported
        self._logits = None if exported.metadata.marks_pixels else logits_of(exported.keras)

    def write(self, number: int, picture: np.ndarray, rows: Sequence[Row]) -> None:
        """Writes a PNG file per row of an image, uint8 [H, W, 1], with its number in the name."""
        pixels = self._exported.fitted(picture)
        for column, row in enumerate(rows):
            if self._logits is None:
                image, heat = picture[..., 0] / 255.0, self._exported.mask(picture)
                title = f"{row.name}: {100 * row.number:.1f} % of the image"
            else:
                layer = self._exported.metadata.gradcam_layers[row.name]
                image = pixels[..., 0]
                heat = gradcam.grad_cam(self._logits, layer, pixels[None], column)[0]
                title = f"{row.name}: {row.number:.3f}"
            stem = pathlib.Path(row.file).stem
            path = self._folder / f"{number:04d}_{stem}_{style.slug(row.name)}.png"
            self._draw(path, image, heat.astype("float32"), title)

    def _draw(self, path: pathlib.Path, image: np.ndarray, heat: np.ndarray, title: str) -> None:
        """Draws the heat [H, W] over the image [H, W], both in 0..1."""
        figure = Figure(figsize=(4, 4.5), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.5 * heat)
        axes.set_title(f"{title}\n{NOTICE}", fontsize=7)
        axes.axis("off")
        partial = path.with_name(f".{path.name}")
        try:
            figure.savefig(partial, dpi=100, format="png")
            os.replace(partial, path)
        except OSError as error:
            raise InputError(f"--{self._flag}: cannot write {path}: {error.strerror}") from error
