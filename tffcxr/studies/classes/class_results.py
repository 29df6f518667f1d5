"""From the trainings of a study of classes to its logs, predictions and rows of `metrics.json`."""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.datasets.imaging.likeness import Likeness
from tffcxr.evaluation import (
    calibration,
    class_metrics,
    class_rows,
    result_rows,
)
from tffcxr.models import blocks
from tffcxr.models.blocks import CxrModel
from tffcxr.models.files import export
from tffcxr.models.files.metadata import PIXELS
from tffcxr.studies import external as external_lib
from tffcxr.studies import variant_logs
from tffcxr.studies.classes.variants import FULL, Result, Variant
from tffcxr.studies.trainings import FEDERATED, POOLED, Weights, save_weights
from tffcxr.training.evaluators.validation import Scores

if TYPE_CHECKING:
    from tffcxr.studies.classes.class_study import ClassStudy


def join_logs(directory: pathlib.Path, study: ClassStudy) -> None:
    """Writes the logs of all variants together: `rounds.csv` and others, see `variant_logs`."""
    for training, suffix in ((FEDERATED, ""), (POOLED, f"_{POOLED}")):
        names = {variant.file_name: variant.name for variant in study.trained(training)}
        if names:
            variant_logs.write_rounds(directory, names, suffix)
        if names and training == FEDERATED:
            variant_logs.write_clients(directory, names)
            variant_logs.write_hospitals(directory, names)


def write_predictions(
    directory: pathlib.Path, study: ClassStudy, results: Sequence[Result]
) -> None:
    """Writes `class_predictions.csv`: a row per model and test image, without any patient's id."""
    parts = []
    for result in results:
        scores = result.scores
        part = pd.DataFrame(
            {
                "model": result.variant.model,
                "images_kind": result.variant.images or FULL,
                "training": result.training,
                "client": scores.clients,
                "row": scores.rows,
                "class": [study.classes[i] for i in class_metrics.true_classes(scores.labels)],
            }
        )
        for place, name in enumerate(study.classes):
            part[f"probability: {name}"] = result.probabilities[:, place]
        parts.append(part)
    run_tables.CLASS_PREDICTIONS.write(directory, pd.concat(parts, ignore_index=True))


def rows(study: ClassStudy, directory: pathlib.Path, result: Result) -> list[dict[str, Any]]:
    """The rows of `metrics.json` of one model: on test images, those trained on, and elsewhere.

    That of the test images is the paper's Table 2 with what it lacks.
    """
    about = {**result.scaling.about(), **result.rounds}
    test = {
        **_measured(study, result, "test", result.scores, study.patients(result.scores)),
        **about,
        **_best_of_rounds(directory, result),
    }
    found = [test]
    if result.train_scores is not None:
        scores = result.train_scores
        found.append(_measured(study, result, "train", scores, study.patients(scores)))
    for site, scores in result.external.items():
        patients = external_lib.patients(study, site, scores.rows)
        row = _measured(study, result, result_rows.EXTERNAL, scores, patients)
        found.append({**row, **about, "task": f"{study.task} at {site}", "client": site})
    return found


def save_model(
    directory: pathlib.Path,
    study: ClassStudy,
    variant: Variant,
    training: str,
    model: CxrModel,
    weights: Weights,
    scaling: calibration.Scaling,
    likeness: Likeness | None = None,
) -> None:
    """Writes weights to `models/<training>_<variant>.h5`, and exports what is federated beside it.

    The scaling of scores is part of the exported model's task block alone.

    Args:
      directory: the run's folder.
      study: whose run it is.
      variant: what was trained.
      training: how, "federated" or "pooled".
      model: of logits; its weights change.
      weights: of the round that is reported.
      scaling: of its scores.
      likeness: statistics of its training images, if there are any.
    """
    path = directory / "models" / f"{training}_{variant.file_name}.h5"
    save_weights(model.keras, weights, path)
    if training != FEDERATED:
        return
    outside = ", black outside of the lungs" if variant.is_cut_out else ""
    about = study.about_model(
        study.classes,
        variant.model,
        1 + study.trained(FEDERATED).index(variant),
        cut_out=variant.is_cut_out,
        pixels=PIXELS + outside,
        gradcam_layers=dict.fromkeys(study.classes, model.gradcam_layer),
        calibration=dict.fromkeys(study.classes, scaling.about()),
    )
    kernel, bias = blocks.get_weights(model.keras, model.task)
    blocks.set_weights(model.keras, model.task, scaling.fold(kernel, bias))
    exported = export.Exported(export.with_probabilities(model.keras, "softmax"), about, likeness)
    export.save(path.with_suffix(".keras"), exported)


def _measured(
    study: ClassStudy, result: Result, split: str, scores: Scores, patients: np.ndarray
) -> dict[str, Any]:
    """A model's scores of the images of a split."""
    row: dict[str, Any] = {"task": study.task, "model": result.variant.model}
    if result.variant.images:
        row["images_kind"] = result.variant.images
    return {
        **row,
        "training": result.training,
        "split": split,
        **class_rows.measured(
            class_metrics.true_classes(scores.labels),
            scores.scores,
            patients,
            study.classes,
            study.settings.replicates,
            study.settings.seed,
        ),
    }


def _best_of_rounds(directory: pathlib.Path, result: Result) -> dict[str, float]:
    """The largest accuracy and the least loss over the rounds, and in which round they came."""
    baseline = "" if result.training == FEDERATED else f"_{result.training}"
    path = directory / f"rounds_{result.variant.file_name}{baseline}.csv"
    log = pd.read_csv(path, float_precision="round_trip")
    found: dict[str, float] = {}
    for metric, key, pick in (
        ("accuracy", "maximum_accuracy", "idxmax"),
        ("loss", "minimum_loss", "idxmin"),
    ):
        values = log[f"{result.variant.name}/{metric}"]
        if values.isna().all():
            found.update({key: float("nan"), f"{key}_round": float("nan")})
            continue
        place = getattr(values, pick)()
        found.update({key: float(values[place]), f"{key}_round": int(log["round"][place])})
    return found
