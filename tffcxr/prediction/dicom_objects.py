"""Writes the DICOM objects of predictions: pictures, a segmentation and a report per image."""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
import pathlib

from pydicom.dataset import Dataset

from tffcxr.errors import InputError
from tffcxr.models.files.metadata import Metadata
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
      about: the model in it, not one of volumes.
      explainer: draws what a model of findings or classes calls present, otherwise None.
      notices: what the readers of all reports must know.

    Attributes:
      failures: why files that were predicted have no objects, one line each.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        model: pathlib.Path,
        about: Metadata,
        explainer: overlays.Explainer | None,
        notices: Sequence[str],
    ):
        self._folder = overlays.made_folder(folder, "dicom")
        digest = hashlib.sha256(model.read_bytes()).hexdigest()[:_DIGITS]
        self._maker = Maker(f"{about.recipe} {about.network}", digest)
        self._kind = about.kind
        self._notices = tuple(notices)
        self._explainer = explainer
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
        answer, mask = predicted.answer, predicted.mask
        made: dict[str, Dataset] = {}
        if self._explainer:
            pictures = self._explainer.pictures(predicted)
            made |= dicom_capture.capture(source, self._maker, pictures)
        if mask is not None:
            (row,) = answer.rows
            made[row.name] = dicom_segmentation.segmentation(source, self._maker, row.name, mask)
        what = "heat" if self._explainer else "segmentation"
        return {
            **{f"{what}_{style.slug(name)}": content for name, content in made.items()},
            "report": dicom_report.report(
                source, self._maker, self._kind, answer, self._notices, made
            ),
        }
