"""One call of `predict`: a model, a user's files, and everything that is written of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import tqdm

from tffcxr.models.files import export, metadata
from tffcxr.models.files.export import Exported
from tffcxr.prediction import (
    answer_tables,
    answers,
    image_files,
    lung_cutting,
    overlays,
    predictor,
    reading,
    volume_files,
    volume_predictor,
)
from tffcxr.prediction.answers import Answer
from tffcxr.prediction.predictor import Predicted
from tffcxr.prediction.reading import Image

if TYPE_CHECKING:
    from tffcxr.prediction.dicom_objects import DicomObjects

OF_PHANTOMS = "The model was trained on phantoms only: what it says of a real image means nothing."
ATTACKED = "An attack on the model was rehearsed in its training: what it says means nothing."
NOT_COMPARED = (
    "The model has no statistics of its training images: no image was compared with them."
)

_OF_LUNGS = "The model was given the lungs alone, which another model had cut out."


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a user asks for.

    Attributes:
      batch_size: images that are predicted at once.
      allow_other_images: whether images of another kind are marked, not refused.
      csv: a file for the table, or None.
      json: a file for the answers, or None.
      heatmaps: a folder for heat maps, or None.
      masks: a folder for masks, or None.
      dicom: a folder for DICOM objects, or None.
      node: whose volumes NIfTI files are like, or None.
      lung_model: the `.keras` file of what segments the lungs, for a model of cut-out lungs.
    """

    batch_size: int = 16
    allow_other_images: bool = False
    csv: pathlib.Path | None = None
    json: pathlib.Path | None = None
    heatmaps: pathlib.Path | None = None
    masks: pathlib.Path | None = None
    dicom: pathlib.Path | None = None
    node: str | None = None
    lung_model: pathlib.Path | None = None


def predict(
    model: pathlib.Path, others: Sequence[str], operands: Sequence[str], wanted: Wanted
) -> list[str]:
    """Predicts all files, prints a table and writes what is wanted.

    The tables are also written if the program is interrupted, of the files that were done.

    Args:
      model: the `.keras` file.
      others: the names of the other models of its run.
      operands: files and folders.
      wanted: see there.

    Returns:
      What is wrong with each file that was not predicted, and why others have no DICOM objects,
      one line each.

    Raises:
      InputError: the model cannot be used, a folder has no image, or a file cannot be written.
    """
    kind = metadata.read(model).kind
    # Before the model is loaded, which takes longer.
    is_volumes = kind == metadata.VOLUMES
    search = volume_files.find if is_volumes else image_files.find
    paths = [str(path) for path in search(operands)]
    exported = export.load(model)
    found: list[Answer] = []
    remarks: list[str] = []
    failures: list[str] = []
    try:
        heat = wanted.heatmaps or (wanted.dicom and not exported.metadata.marks_pixels)
        explainer = overlays.Explainer(exported) if heat else None
        dicom = _dicom_objects(model, exported, explainer, wanted)
        if is_volumes:
            _predict_volumes(exported, paths, wanted, dicom, found)
        else:
            _predict_images(exported, paths, wanted, explainer, dicom, found, remarks)
        if dicom:
            failures += dicom.failures
            remarks += dicom.remarks
    finally:
        if wanted.csv:
            answer_tables.write_csv(wanted.csv, kind, found)
        if wanted.json:
            about = _about(model, exported)
            notice = " ".join([overlays.NOTICE, *_of_the_model(exported, wanted)])
            answer_tables.write_json(wanted.json, kind, found, about, notice)
    if any(answer.rows for answer in found):
        head: Sequence[str] = answers.KINDS[kind].head
        if answers.not_calibrated(exported.metadata):
            head = tuple("score" if cell == "probability" else cell for cell in head)
        print(answers.format_table(head, found))
        print()
        marked = sum(bool(answer.warnings) for answer in found)
        if marked:
            remarks.append(f"{marked} of {len(found)} files have a warning.")
        if others:
            remarks.append(f"Model: {model.name}; others of the run: {', '.join(others)}")
        print("\n".join([*remarks, *_of_the_model(exported, wanted), overlays.NOTICE]))
    return [answer.error for answer in found if answer.status != reading.OK] + failures


def _predict_volumes(
    exported: Exported,
    paths: Sequence[str],
    wanted: Wanted,
    dicom: DicomObjects | None,
    found: list[Answer],
) -> None:
    """Appends the answers of all volumes, one after the other, since each fills much memory."""
    model = volume_predictor.VolumePredictor(exported, wanted.batch_size, wanted.node)
    for number, path in enumerate(tqdm.tqdm(paths, "predicting", unit="volume", disable=None), 1):
        answer, mask = model.predict(pathlib.Path(path))
        found.append(answer)
        if wanted.masks and mask is not None:
            volume_predictor.write_mask(wanted.masks, number, answer, mask)
        if dicom:
            dicom.write_volume(number, path, answer, mask)


def _predict_images(
    exported: Exported,
    paths: Sequence[str],
    wanted: Wanted,
    explainer: overlays.Explainer | None,
    dicom: DicomObjects | None,
    found: list[Answer],
    remarks: list[str],
) -> None:
    """Appends the answers of all files, and what is to be said of the pictures."""
    heatmaps = None
    if explainer and wanted.heatmaps:
        heatmaps = overlays.HeatMaps(wanted.heatmaps, explainer)
    masks = overlays.Masks(wanted.masks) if wanted.masks else None
    for number, predicted in enumerate(_predicted(exported, paths, wanted), 1):
        found.append(predicted.answer)
        for outputs in (heatmaps, masks, dicom):
            if outputs:
                outputs.write(number, predicted)
    if explainer and explainer.not_called:
        what = "below the operating point" if exported.metadata.operating_points else "not named"
        remarks.append(f"No heat map of {explainer.not_called} answers: they are {what}.")


def _dicom_objects(
    model: pathlib.Path,
    exported: Exported,
    explainer: overlays.Explainer | None,
    wanted: Wanted,
) -> DicomObjects | None:
    if wanted.dicom is None:
        return None
    # Other calls need not wait for highdicom.
    from tffcxr.prediction.dicom_objects import DicomObjects

    notices = [overlays.NOTICE, *_of_the_model(exported, wanted)]
    return DicomObjects(wanted.dicom, model, exported.metadata, explainer, notices)


def _predicted(exported: Exported, paths: Sequence[str], wanted: Wanted) -> Iterator[Predicted]:
    """Reads ahead, predicts in batches, and shows how far it is if stderr is a terminal."""
    how = reading.Reading(
        predictor.expected_of(exported),
        exported.metadata.fit,
        wanted.allow_other_images,
        keep_pictures=bool(wanted.heatmaps or wanted.masks or wanted.dicom or wanted.lung_model),
    )
    read = reading.read_all(paths, how)
    images: Iterable[Image] = read
    if wanted.lung_model:
        cutter = lung_cutting.LungCutter(export.load(wanted.lung_model), exported.metadata.fit)
        images = cutter.cut(read)
    with (
        contextlib.closing(read),
        tqdm.tqdm(total=len(paths), desc="predicting", unit="image", disable=None) as bar,
    ):
        for predicted in predictor.Predictor(exported, wanted.batch_size).predict(images):
            yield predicted
            bar.update()


def _of_the_model(exported: Exported, wanted: Wanted) -> list[str]:
    """What a reader of any answer must know of the model."""
    about = exported.metadata
    notices = [
        ("" if exported.is_compared else NOT_COMPARED),
        answers.not_calibrated(about),
        (OF_PHANTOMS if about.phantoms else ""),
        (ATTACKED if about.is_attacked else ""),
        (_OF_LUNGS if wanted.lung_model else ""),
    ]
    return [notice for notice in notices if notice]


def _about(model: pathlib.Path, exported: Exported) -> dict[str, Any]:
    """What is said of the model in JSON."""
    about = exported.metadata
    return {
        "file": answers.readable(model),
        "recipe": about.recipe,
        "network": about.network,
        "phantoms": about.phantoms,
        "trained_on": dict(about.trained_on),
        "calibration": {name: dict(how) for name, how in about.calibration.items()},
        "is_compared": exported.is_compared,
    }
