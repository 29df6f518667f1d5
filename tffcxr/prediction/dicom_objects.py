"""Writes the DICOM objects of predictions: pictures, a segmentation and a report per image."""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
import pathlib

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np
from pydicom.dataset import Dataset

from tffcxr.errors import InputError
from tffcxr.models.files.export import Exported
from tffcxr.prediction import (
    answers,
    dicom_capture,
    dicom_common,
    dicom_report,
    dicom_segmentation,
    overlays,
    reading,
)
from tffcxr.prediction.dicom_common import Maker, Source
from tffcxr.prediction.predictor import Predicted
from tffcxr.report import style

_DIGITS = 16  # Of the model's digest.


class DicomObjects:
    """Writes what a model says of radiographs as DICOM objects, in the studies of these.

    Args:
      folder: made if missing.
      model: the `.keras` file.
      exported: the model in it, not one of volumes.
      notices: what the readers of all reports must know.

    Attributes:
      failures: why files that were predicted have no objects, one line each.
    """

    def __init__(
        self, folder: pathlib.Path, model: pathlib.Path, exported: Exported, notices: Sequence[str]
    ):
        self._folder = overlays.made_folder(folder, "dicom")
        about = exported.metadata
        digest = hashlib.sha256(model.read_bytes()).hexdigest()[:_DIGITS]
        self._maker = Maker(f"{about.recipe} {about.network}", digest)
        self._kind = about.kind
        self._notices = tuple(notices)
        self._explainer = None if about.marks_pixels else overlays.Explainer(exported)
        self.failures: list[str] = []
        self._written = 0
        self._images = 0
        self._without_study = 0

    @property
    def remarks(self) -> list[str]:
        """What to say of the objects in the end."""
        remarks = [
            f"{self._written} DICOM objects of {self._images} images in "
            f"{answers.readable(self._folder)}."
        ]
        if self._without_study:
            remarks.append(
                f"{self._without_study} of these images have no UID of a study or a series: their "
                "objects have one that is derived from the image's UID, which no archive knows."
            )
        return remarks

    def write(self, number: int, predicted: Predicted) -> None:
        """Writes the objects of one file, if it was predicted.

        Args:
          number: of the file among all, which becomes part of the names.
          predicted: the file, read with its picture.
        """
        if predicted.answer.status != reading.OK:
            return
        try:
            source = dicom_common.read_source(predicted.image.path)
        except InputError as error:
            self.failures.append(answers.readable(str(error)))
            return
        made = self._objects(source, predicted)
        stem = pathlib.Path(predicted.answer.file).stem
        for name, content in made.items():
            dicom_common.write(self._folder / f"{number:04d}_{stem}_{name}.dcm", content)
        self._written += len(made)
        self._images += 1
        self._without_study += bool(source.remarks)

    def _objects(self, source: Source, predicted: Predicted) -> dict[str, Dataset]:
        """Objects by what their files are called."""
        made: dict[str, Dataset] = {}
        answer, mask = predicted.answer, predicted.mask
        if self._explainer:
            pictures = {
                row.name: _pixels(figure) for row, figure in self._explainer.drawn(predicted)
            }
            captured = dicom_capture.capture(source, self._maker, pictures)
            made |= {f"heat_{style.slug(name)}": image for name, image in captured.items()}
        if mask is not None:
            (row,) = answer.rows
            made[f"segmentation_{style.slug(row.name)}"] = dicom_segmentation.segmentation(
                source, self._maker, row.name, mask
            )
        made["report"] = dicom_report.report(source, self._maker, self._kind, answer, self._notices)
        return made


def _pixels(figure: Figure) -> np.ndarray:
    """A drawn figure as uint8 [H, W, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
