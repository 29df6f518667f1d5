"""From the trainings of a study of classes to its logs, predictions and rows of `metrics.json`."""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from experiments.class_study import FULL, POOLED, ClassStudy, Result, Variant
from experiments.study import FEDERATED
from tffcxr.evaluation import classes
from tffcxr.evaluation.mean_interval import mean_interval
from tffcxr.files import write_text
from tffcxr.training.class_validation import METRICS
from tffcxr.training.validation import Scores


def join_logs(directory: pathlib.Path, study: ClassStudy) -> None:
    """Writes `rounds.csv`, `rounds_pooled.csv` and `clients.csv` of all variants together."""
    joined = {}
    for training, suffix in ((FEDERATED, ""), (POOLED, f"_{POOLED}")):
        variants = study.trained(training)
        if variants:
            joined[f"rounds{suffix}.csv"] = _join_rounds(directory, variants, suffix)
    clients = [
        _read_text(directory / f"clients_{variant.file_name}.csv").assign(variant=variant.name)
        for variant in study.trained(FEDERATED)
    ]
    joined["clients.csv"] = pd.concat(clients, ignore_index=True)
    for name, table in joined.items():
        write_text(directory / name, table.to_csv(index=False, lineterminator="\n"))


def _join_rounds(directory: pathlib.Path, variants: Sequence[Variant], suffix: str) -> pd.DataFrame:
    """Puts logs side by side; variants whose learning rates differ have a column of it each."""
    logs = {v: _read_text(directory / f"rounds_{v.file_name}{suffix}.csv") for v in variants}
    first = next(iter(logs.values()))
    rounds = first[["round"]].copy()
    seconds = sum(log["seconds"].astype(float) for log in logs.values())
    rounds.insert(1, "seconds", seconds.round(3))
    for column in ("images", "clients", "failed_clients"):  # Of all variants together.
        rounds[column] = sum(log[column].astype(int) for log in logs.values())
    rates = [log["learning_rate"] for log in logs.values()]
    has_common_rate = all(rate.equals(rates[0]) for rate in rates)
    if has_common_rate:
        rounds["learning_rate"] = rates[0]
    for variant, log in logs.items():
        if not has_common_rate:
            rounds[f"{variant.name}/learning_rate"] = log["learning_rate"]
        rounds[f"{variant.name}/train_loss"] = log["train_loss"]
        for metric in METRICS:
            rounds[f"{variant.name}/{metric}"] = log[f"{variant.name}/{metric}"]
    return rounds.assign(stage=first["stage"])


def _read_text(path: pathlib.Path) -> pd.DataFrame:
    """Reads a table as text: numbers keep every digit."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


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
                "class": [study.classes[i] for i in classes.true_classes(scores.labels)],
            }
        )
        for place, name in enumerate(study.classes):
            part[f"probability: {name}"] = result.probabilities[:, place]
        parts.append(part)
    text = pd.concat(parts, ignore_index=True).to_csv(index=False, lineterminator="\n")
    write_text(directory / "class_predictions.csv", text)


def rows(study: ClassStudy, directory: pathlib.Path, result: Result) -> list[dict[str, Any]]:
    """The rows of `metrics.json` of one model: on test images, and on those trained on.

    That of the test images is the paper's Table 2 with what it lacks.
    """
    test = {
        **_measured(study, result, "test", result.scores),
        "round": result.round_number,
        "chosen": f"largest accuracy on the {study.split} images",
        **_best_of_rounds(directory, result),
    }
    if result.train_scores is None:
        return [test]
    return [test, _measured(study, result, "train", result.train_scores)]


def _measured(study: ClassStudy, result: Result, split: str, scores: Scores) -> dict[str, Any]:
    """What a model says of the images of a split."""
    truth = classes.true_classes(scores.labels)
    matrix = classes.confusion(truth, scores.scores)
    patients = study.patients(scores)
    correct = np.where(np.isnan(scores.scores).any(), np.nan, scores.scores.argmax(axis=1) == truth)
    found = mean_interval(correct, patients, study.replicates, seed=study.seed)
    row: dict[str, Any] = {"task": study.task, "model": result.variant.model}
    if result.variant.images:
        row["images_kind"] = result.variant.images
    return {
        **row,
        "training": result.training,
        "split": split,
        "images": len(truth),
        "patients": len(set(patients)),
        "loss": classes.cross_entropy(truth, scores.scores),
        "accuracy": found.mean,
        "accuracy_low": found.low,
        "accuracy_high": found.high,
        "interval": (
            f"95 % percentile interval, {study.replicates} bootstrap replicates of patients"
        ),
        "classes": list(study.classes),
        "confusion": matrix.tolist(),
        "sensitivity_by_class": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(study.classes, classes.sensitivities(matrix))
        },
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
