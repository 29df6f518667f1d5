"""Writes the DICOM objects of predictions: pictures, a segmentation and a report per file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import hashlib
import pathlib

import numpy as np
from pydicom.dataset import Dataset

from tffcxr.datasets.volumes.volume import Volume
from tffcxr.errors import InputError
from tffcxr.models.files.metadata import Metadata
from tffcxr.prediction import (
    answers,
    dicom_capture,
    dicom_common,
    dicom_report,
    dicom_segmentation,
    dicom_source,
    overlays,
    reading,
)
from tffcxr.prediction.answers import Answer
from tffcxr.prediction.dicom_common import Maker
from tffcxr.prediction.dicom_source import Source
from tffcxr.prediction.predictor import Predicted
from tffcxr.report import style

_DIGITS = 16  # Of the model's digest.


class DicomObjects:
    """Writes what a model says of radiographs or volumes as DICOM objects, in their studies.

    Args:
      folder: made if missing.
      model: the `.keras` file.
      about: the model in it.
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
        self._files = 0
        self._without_study = 0

    @property
    def remarks(self) -> list[str]:
        """What to say of the objects in the end."""
        remarks = [
            f"{self._written} DICOM objects of {self._files} files in "
            f"{answers.readable(self._folder)}."
        ]
        if self._without_study:
            remarks.append(
                f"{self._without_study} of these files have no UID of a study or a series: their "
                "objects have one that is derived from another of the file, which no archive knows."
            )
        return remarks

    def write(self, number: int, predicted: Predicted) -> None:
        """Writes the objects of one radiograph, if it was predicted.

        Args:
          number: of the file among all, which becomes part of the names.
          predicted: the file, read with its picture.
        """
        answer, mask = predicted.answer, predicted.mask
        if answer.status != reading.OK:
            return
        source = self._source(lambda: dicom_source.read_radiograph(predicted.image.path))
        if source is None:
            return
        made: dict[str, Dataset] = {}
        if self._explainer:
            pictures = self._explainer.pictures(predicted)
            made |= dicom_capture.capture(source, self._maker, pictures)
        if mask is not None:
            (row,) = answer.rows
            made[row.name] = dicom_segmentation.segmentation(
                source, self._maker, row.name, mask[np.newaxis]
            )
        self._write(number, source, answer, made, "heat" if self._explainer else "segmentation")

    def write_volume(self, number: int, path: str, answer: Answer, mask: Volume | None) -> None:
        """Writes the objects of one volume, if it was predicted.

        Args:
          number: see `write`.
          path: the folder of the series.
          answer: what the model says of it.
          mask: what it marks, 0 and 1; None if it was not predicted.
        """
        if mask is None:
            return
        source = self._source(lambda: dicom_source.read_series(path, mask))
        if source is None:
            return
        (row,) = answer.rows
        frames = mask.array.transpose(2, 1, 0) > 0  # [slices, rows, columns]
        made = dicom_segmentation.segmentation(source, self._maker, row.name, frames)
        self._write(number, source, answer, {row.name: made}, "segmentation")

    def _source(self, read: Callable[[], Source]) -> Source | None:
        try:
            return read()
        except InputError as error:
            self.failures.append(answers.readable(str(error)))
            return None

    def _write(
        self, number: int, source: Source, answer: Answer, made: Mapping[str, Dataset], what: str
    ) -> None:
        """Writes objects of findings, classes or a region, by their names, and the report."""
        report = dicom_report.report(source, self._maker, self._kind, answer, self._notices, made)
        contents = {f"{what}_{style.slug(name)}": content for name, content in made.items()}
        contents["report"] = report
        stem = pathlib.Path(answer.file).stem
        for name, content in contents.items():
            dicom_common.write(self._folder / f"{number:04d}_{stem}_{name}.dcm", content)
        self._written += len(contents)
        self._files += 1
        self._without_study += bool(source.remarks)
