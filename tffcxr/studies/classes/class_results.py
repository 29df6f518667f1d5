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
    class_intervals,
    class_metrics,
    proportion_interval,
    recalibration,
)
from tffcxr.models import blocks
from tffcxr.models.blocks import CxrModel
from tffcxr.models.files import export
from tffcxr.models.files.metadata import PIXELS
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
    """The rows of `metrics.json` of one model: on test images, and on those trained on.

    That of the test images is the paper's Table 2 with what it lacks.
    """
    test = {
        **_measured(study, result, "test", result.scores),
        **result.scaling.about(),
        **result.rounds,
        **_best_of_rounds(directory, result),
    }
    if result.train_scores is None:
        return [test]
    return [test, _measured(study, result, "train", result.train_scores)]


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


def _measured(study: ClassStudy, result: Result, split: str, scores: Scores) -> dict[str, Any]:
    """A model's scores of the images of a split."""
    truth = class_metrics.true_classes(scores.labels)
    matrix = class_metrics.confusion(truth, scores.scores)
    patients = study.patients(scores)
    correct = np.where(np.isnan(scores.scores).any(), np.nan, scores.scores.argmax(axis=1) == truth)
    settings = study.settings
    by_class = {
        name: proportion_interval.proportion_interval(
            correct[truth == place],
            patients[truth == place],
            settings.replicates,
            seed=settings.seed,
        )
        for place, name in enumerate(study.classes)
    }
    row: dict[str, Any] = {"task": study.task, "model": result.variant.model}
    if result.variant.images:
        row["images_kind"] = result.variant.images
    return {
        **row,
        "training": result.training,
        "split": split,
        "images": len(truth),
        "patients": len(set(patients)),
        **class_intervals.class_values(
            truth, scores.scores, patients, settings.replicates, seed=settings.seed
        ),
        "interval": study.interval,
        "proportion_interval": proportion_interval.method(patients, settings.replicates),
        "classes": list(study.classes),
        "confusion": matrix.tolist(),
        **_recalibrated(study.classes, truth, scores.scores, patients),
        "sensitivity_by_class": {name: _defined(one.mean) for name, one in by_class.items()},
        "sensitivity_by_class_low": {name: _defined(one.low) for name, one in by_class.items()},
        "sensitivity_by_class_high": {name: _defined(one.high) for name, one in by_class.items()},
    }


def _recalibrated(
    classes: Sequence[str], truth: np.ndarray, log_probabilities: np.ndarray, patients: np.ndarray
) -> dict[str, dict[str, float | None]]:
    """Calibration slope and intercept of each class against all others, by class."""
    found: dict[str, dict[str, float | None]] = {}
    for place, name in enumerate(classes):
        of_class = recalibration.recalibration(
            truth == place, np.exp(log_probabilities[:, place]), patients
        )
        for metric in (recalibration.SLOPE, recalibration.INTERCEPT):
            for end in ("", "_low", "_high"):
                by_class = found.setdefault(f"{metric}_by_class{end}", {})
                by_class[name] = _defined(of_class[f"{metric}{end}"])
    return found


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


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
