"""Pictures at the resolution of the images: where a model looks, and what it marks."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import cv2
import matplotlib
from matplotlib import cm, colors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np
import tensorflow as tf

from tffcxr import files
from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError
from tffcxr.explanation import gradcam
from tffcxr.models.files.export import Exported
from tffcxr.prediction.predictor import Predicted
from tffcxr.report import style

NOTICE = "For research only: not a medical device, not for diagnosis."
_DOTS = 100  # Per inch, in matplotlib's terms; one dot is one pixel of the image.
_SMALLEST = 400  # Pixels on the longer side; smaller images are enlarged by a whole number.
_OPACITY = 0.5
_COLOURS = "inferno"


class Explainer:
    """Draws Grad-CAM overlays of what a model calls present, once for all that write them.

    Args:
      exported: a model of findings or classes.

    Attributes:
      not_called: how many answers had no overlay.
    """

    def __init__(self, exported: Exported):
        self._exported = exported
        self._logits = logits_of(exported.keras)
        self._gradients = {
            layer: gradcam.compiled_gradients(self._logits, layer)
            for layer in set(exported.metadata.gradcam_layers.values())
        }
        self.not_called = 0
        self._last: Predicted | None = None
        self._pictures: dict[str, np.ndarray] = {}

    def pictures(self, predicted: Predicted) -> dict[str, np.ndarray]:
        """Each finding that is not below its operating point, or the named class, over the image.

        Args:
          predicted: the file, read with its picture. The pictures of the last one are kept.

        Returns:
          uint8 [height, width, 3] by the name of the finding or class, in order; see `draw`.
        """
        if predicted is not self._last:
            self._last, self._pictures = predicted, self._drawn(predicted)
        return self._pictures

    def _drawn(self, predicted: Predicted) -> dict[str, np.ndarray]:
        picture, square = predicted.image.picture, predicted.image.square
        drawn: dict[str, np.ndarray] = {}
        if picture is None or square is None:
            return drawn
        pixels = square[np.newaxis].astype(np.float32) / np.float32(255.0)
        for column, row in enumerate(predicted.answer.rows):
            if row.is_called is False:
                self.not_called += 1
                continue
            layer = self._exported.metadata.gradcam_layers[row.name]
            (heat,) = gradcam.grad_cam(
                self._logits, layer, pixels, column, gradients=self._gradients[layer]
            )
            title = f"{row.name}: {row.number:.3f}"
            if not heat.any():
                title += ", though Grad-CAM finds no place that speaks for it"
            drawn[row.name] = self._over(picture, heat, title)
        return drawn

    def _over(self, picture: np.ndarray, heat: np.ndarray, title: str) -> np.ndarray:
        about = self._exported.metadata
        place = images.place_in_square(picture.shape, about.image_size, about.fit)
        height, width = picture.shape[:2]
        whole = cv2.resize(heat[place], (width, height), interpolation=cv2.INTER_LINEAR)
        colour = matplotlib.colormaps[_COLOURS](whole, bytes=True)[..., :3]
        return draw(picture, colour, _OPACITY * whole, title, "heat, 1 at its maximum")


class HeatMaps:
    """Writes Grad-CAM overlays of what a model calls present.

    Args:
      folder: made if missing.
      explainer: draws them.
    """

    def __init__(self, folder: pathlib.Path, explainer: Explainer):
        self._folder = made_folder(folder, "heatmaps")
        self._explainer = explainer

    def write(self, number: int, predicted: Predicted) -> None:
        """Writes a PNG file per picture of `Explainer.pictures`.

        Args:
          number: of the file among all, which becomes part of the name.
          predicted: the file, read with its picture.
        """
        for name, drawn in self._explainer.pictures(predicted).items():
            _save("heatmaps", _path(self._folder, number, predicted, name), drawn)


class Masks:
    """Writes what a model marks: as a mask of 0 and 255, and over the image.

    Args:
      folder: made if missing.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = made_folder(folder, "masks")

    def write(self, number: int, predicted: Predicted) -> None:
        """Writes two PNG files: the mask, in the file's own rows and columns, and the overlay.

        Args:
          number: of the file among all, which becomes part of the name.
          predicted: the file, read with its picture.
        """
        picture, mask = predicted.image.picture, predicted.mask
        if picture is None or mask is None:
            return
        (row,) = predicted.answer.rows
        path = _path(self._folder, number, predicted, row.name)
        _save("masks", path, mask.astype(np.uint8) * 255)
        shown = images.take_nearest(mask, *picture.shape[:2])
        colour = np.array(colors.to_rgb("tab:orange")) * 255
        title = f"{row.name}: {100 * row.number:.1f} % of the image"
        drawn = draw(picture, colour.astype(np.uint8), _OPACITY * shown, title)
        _save("masks", path.with_name(f"{path.stem}_overlay.png"), drawn)


def logits_of(model: tf.keras.Model) -> tf.keras.Model:
    """The same exported model without its last activation.

    It is what Grad-CAM explains: the gradient of a probability vanishes where the model is sure.
    """
    return tf.keras.Model(model.input, model.get_layer("probabilities").input)


def draw(
    picture: np.ndarray, colour: np.ndarray, opacity: np.ndarray, title: str, scale: str = ""
) -> np.ndarray:
    """Draws colour over an image, a dot per pixel, with a title above and a scale beside it.

    Args:
      picture: uint8 [H, W, 1].
      colour: uint8 [H, W, 3], or [3] for one colour.
      opacity: of the colour, float [H, W] in 0..1.
      title: of the picture.
      scale: what the colour bar from 0 to 1 is of; without it there is no bar.

    Returns:
      uint8 [height, width, 3], larger than the image by the title and the bar.
    """
    grey = picture.astype(np.float32)
    over = opacity[..., np.newaxis].astype(np.float32)
    blended = np.rint(grey * (1 - over) + colour * over).astype(np.uint8)  # [H, W, 3]
    enlarged = math.ceil(_SMALLEST / max(picture.shape[:2]))
    blended = blended.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    height, width = blended.shape[:2]
    letter = max(9, max(height, width) // 60)  # Dots.
    above, beside = 4 * letter, 8 * letter if scale else 0
    total = height + above, width + beside
    # Half a dot more: matplotlib rounds down.
    figure = Figure(figsize=((total[1] + 0.5) / _DOTS, (total[0] + 0.5) / _DOTS), dpi=_DOTS)
    points: dict[str, Any] = {"fontsize": letter * 72 / _DOTS}
    figure.figimage(blended, 0, 0, origin="upper")  # Axes would round to other dots.
    figure.text(letter / total[1], 1 - letter / total[0], f"{title}\n{NOTICE}", va="top", **points)
    if scale:
        place = ((width + letter) / total[1], 0.1 * height / total[0], letter / total[1],
                 0.8 * height / total[0])  # fmt: skip
        bar = figure.colorbar(
            cm.ScalarMappable(colors.Normalize(0, 1), _COLOURS), cax=figure.add_axes(place)
        )
        bar.set_label(scale, **points)
        bar.ax.tick_params(labelsize=points["fontsize"])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def made_folder(folder: pathlib.Path, flag: str) -> pathlib.Path:
    """Makes the folder of a flag; raises InputError if that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--{flag}: cannot make {folder}: {error.strerror}") from error
    return folder


def _path(folder: pathlib.Path, number: int, predicted: Predicted, name: str) -> pathlib.Path:
    stem = pathlib.Path(predicted.answer.file).stem
    return folder / f"{number:04d}_{stem}_{style.slug(name)}.png"


def _save(flag: str, path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes uint8 [H, W] or [H, W, 3] as PNG."""
    _, encoded = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    try:
        files.write_atomically(path, lambda file: file.write(encoded.tobytes()))
    except OSError as error:
        raise InputError(f"--{flag}: cannot write {path}: {error.strerror}") from error
