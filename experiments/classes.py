"""A study of classes that exclude each other: several models, on full and on segmented images.

clients' records → lungs → shards → federated training of every variant → tables, heat maps, report

A variant is a network and a kind of images, such as "resnet50 segmented".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import pathlib
import sys
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from experiments import class_explanations, lungs
from experiments import study as study_lib
from tffcxr.clients.sampling import Sampler
from tffcxr.clients.shards import ShardSpec, ShardStore
from tffcxr.datasets import findings
from tffcxr.errors import InputError
from tffcxr.evaluation import classes, tables
from tffcxr.evaluation.mean_interval import mean_interval
from tffcxr.files import write_text
from tffcxr.models import build as models
from tffcxr.models import losses
from tffcxr.models.blocks import CxrModel
from tffcxr.report import report
from tffcxr.training.class_validation import METRICS, ClassEvaluator
from tffcxr.training.plan import Plan
from tffcxr.training.run_directory import RunDirectory
from tffcxr.training.validation import Scorer, Scores

LOSS = losses.class_batch_loss
CLASSES = findings.RSNA
TASK = "RSNA classes"
FULL, SEGMENTED = "full", "segmented"


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of the models that are compared.

    Attributes:
      model: a name of `tffcxr.models.build.NAMES`.
      images: `FULL` or `SEGMENTED`.
    """

    model: str
    images: str

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        return f"{self.model} {self.images}"

    @property
    def is_cut_out(self) -> bool:
        """Whether it sees the lungs alone."""
        return self.images == SEGMENTED

    @property
    def file_name(self) -> str:
        """The name as a part of file names."""
        return f"{self.model}_{self.images}"


@dataclasses.dataclass(frozen=True)
class ClassStudy(study_lib.Study):
    """One run of a recipe of classes; its records have a column per class.

    Attributes:
      variants: what is compared, in order.
      plans: how each network is trained, by its name; everything is shared.
      segmentation_model: what `lungs.segment` takes, or None for outlines that come with the data.
      with_pooled: whether each variant is also trained on all images in one place.
      split: "test", or "validation" if there are such images: what is measured after every round,
        and by which the best round is chosen.
      heatmaps: test images to explain.
      class_balance: "none", "weights" (of the loss, from the images of all clients) or "sampling"
        (of the images of each client).
    """

    variants: tuple[Variant, ...]
    plans: Mapping[str, Plan]
    segmentation_model: str | None
    with_pooled: bool
    split: str
    heatmaps: int
    class_balance: str = "none"


@dataclasses.dataclass(frozen=True)
class Result:
    """One trained model and what it says of the test images, after its best round.

    The scores are logarithms of probabilities.
    """

    variant: Variant
    training: str
    weights: study_lib.Weights
    round_number: int
    scores: Scores

    @property
    def probabilities(self) -> np.ndarray:
        """float32 [N, C]."""
        return np.exp(self.scores.scores)


def run(study: ClassStudy, directory: RunDirectory) -> list[dict[str, Any]]:
    """Does all that is not done yet.

    Returns:
      The rows of `metrics.json`.

    Raises:
      InputError: unusable images or segmentation model.
      loop.TrainingFailed: training broke off.
    """
    sampler = study.sampler()
    outlined = study.records
    study, about_lungs = _with_lungs(study, directory.path)
    stores = {kind: _open_shards(study, kind) for kind in _kinds(study)}
    any_store = next(iter(stores.values()))
    derived = {"measured_split": study.split, "lungs": about_lungs}
    if study.class_balance == "weights":
        derived["class_weights"] = dict(zip(CLASSES, _class_weights(any_store)))
    fingerprint = "+".join(store.root.name for store in stores.values())
    directory.record_data(
        fingerprint,
        study.describe_clients(any_store, functools.partial(_class_counts, any_store)),
        derived,
    )
    study_lib.use_executor(study.executor, directory)
    results = []
    for variant in study.variants:
        results += _train(study, variant, stores[variant.images], sampler, directory)
    _join_logs(directory.path, study.variants)
    _write_predictions(directory.path, results)
    rows = [_row(study, directory.path, result) for result in results]
    federated = [result for result in results if result.training == study_lib.FEDERATED]
    build = functools.partial(_float32_model, study)
    class_explanations.write(directory.path, study, outlined, federated, build)
    tables.write_metrics(directory.path, study.recipe, rows)
    report.write_report(directory.path)
    return rows


def _kinds(study: ClassStudy) -> list[str]:
    return list(dict.fromkeys(variant.images for variant in study.variants))


def _with_lungs(
    study: ClassStudy, directory: pathlib.Path
) -> tuple[ClassStudy, dict[str, Any] | None]:
    """Finds the lungs of all images, where they are needed, and tells how that went."""
    if study.segmentation_model:
        segmented = lungs.segment(study.records, study.segmentation_model, study.cache_dir)
        lungs.write(directory, segmented)
        counts = segmented.counts
        print(
            f"lungs: plausible in {counts['plausible']} of {counts['total']} images, the others "
            "stay whole",
            file=sys.stderr,
        )
        faults = segmented.summary["reason"].dropna().str.partition(":")[0]
        about = {
            "images": counts["total"],
            "implausible": counts["implausible"],
            "unreadable": counts["unreadable"],
            "reasons": {str(fault): int(n) for fault, n in faults.value_counts().items()},
            "model": str(lungs.find_model(study.segmentation_model)),
        }
        return dataclasses.replace(study, records=segmented.records), about
    if SEGMENTED not in _kinds(study):
        return study, None
    without = sum(int(table["lungs"].isna().sum()) for table in study.records.values())
    about = {
        "images": sum(map(len, study.records.values())),
        "implausible": without,
        "unreadable": 0,
        "reasons": {"the data have no outline": without} if without else {},
        "model": None,
    }
    return study, about


def _open_shards(study: ClassStudy, kind: str) -> ShardStore:
    spec = ShardSpec(study.image_size, CLASSES, study.fit, cut_out=kind == SEGMENTED)
    return study.open_shards(spec)


def _class_counts(store: ShardStore, client: str) -> dict[str, int]:
    """How many training images of each class a client has."""
    counts = store.label_counts(client, "train")
    return {f"train: {name}": counts[name]["present"] for name in CLASSES}


def _class_weights(store: ShardStore) -> tuple[float, ...]:
    """Of each class, from the training images of all clients together.

    Raises:
      InputError: a class has none.
    """
    columns = [list(_class_counts(store, client).values()) for client in store.client_ids]
    counts = np.sum(columns, axis=0).tolist()
    if min(counts) < 1:
        raise InputError(
            f"--class_balance=weights: expected training images of every class, found "
            f"{', '.join(f'{count} of {name}' for name, count in zip(CLASSES, counts))}"
        )
    return losses.inverse_frequencies(counts)


def _train(
    study: ClassStudy,
    variant: Variant,
    store: ShardStore,
    sampler: Sampler,
    directory: RunDirectory,
) -> list[Result]:
    """Trains one variant across the clients, and pooled if that is asked for."""
    plan = study.plans[variant.model]
    if study.class_balance == "weights":
        loss = losses.weighted_class_batch_loss(_class_weights(store))
        plan = dataclasses.replace(plan, loss_fn=loss)
    data = study.client_data(store, balance_classes=study.class_balance == "sampling")
    setup = study_lib.Training(
        directory,
        plan,
        data,
        ClassEvaluator(plan.build_model(None).keras, data, variant.name, study.split),
        study.split,
        sampler,
        best=f"{variant.name}/accuracy",
        histograms=study.histograms,
        variant=variant.file_name,
    )
    trained = {study_lib.FEDERATED: study_lib.train_federated(setup)}
    if study.with_pooled:
        trained["pooled"] = study_lib.train_centralised(setup, "pooled", store.client_ids)
    model = _float32_model(study, variant).keras
    scorer = Scorer(model, data, tf.nn.log_softmax)
    results = []
    for training, found in trained.items():
        weights = next(iter(found.best.values()))
        path = directory.path / "models" / f"{training}_{variant.file_name}.h5"
        study_lib.save_weights(model, weights, path)
        scores = Scores.join(
            [scorer.score(found.best[client], client, "test") for client in sorted(found.best)]
        )
        results.append(Result(variant, training, weights, found.best_round, scores))
    return results


def _float32_model(study: ClassStudy, variant: Variant) -> CxrModel:
    """The model that is measured, in float32 whatever it was trained in."""
    plan = study.plans[variant.model]
    return models.build(
        variant.model,
        study.image_size,
        len(CLASSES),
        batch_norm=plan.batch_norm,
        seed=study.seed,
    )


def _join_logs(directory: pathlib.Path, variants: Sequence[Variant]) -> None:
    """Writes `rounds.csv`, `rounds_pooled.csv` and `clients.csv` of all variants together."""
    joined = {"rounds.csv": _join_rounds(directory, variants, "")}
    if (directory / f"rounds_{variants[0].file_name}_pooled.csv").exists():
        joined["rounds_pooled.csv"] = _join_rounds(directory, variants, "_pooled")
    clients = [
        _read_text(directory / f"clients_{variant.file_name}.csv").assign(variant=variant.name)
        for variant in variants
    ]
    joined["clients.csv"] = pd.concat(clients, ignore_index=True)
    for name, table in joined.items():
        write_text(directory / name, table.to_csv(index=False, lineterminator="\n"))


def _join_rounds(directory: pathlib.Path, variants: Sequence[Variant], suffix: str) -> pd.DataFrame:
    logs = {v: _read_text(directory / f"rounds_{v.file_name}{suffix}.csv") for v in variants}
    first = next(iter(logs.values()))
    rounds = first[["round", "learning_rate"]].copy()
    seconds = sum(log["seconds"].astype(float) for log in logs.values())
    rounds.insert(1, "seconds", seconds.round(3))
    for column in ("images", "clients", "failed_clients"):  # Of all variants together.
        rounds[column] = sum(log[column].astype(int) for log in logs.values())
    for variant, log in logs.items():
        rounds[f"{variant.name}/train_loss"] = log["train_loss"]
        for metric in METRICS:
            rounds[f"{variant.name}/{metric}"] = log[f"{variant.name}/{metric}"]
    return rounds.assign(stage=first["stage"])


def _read_text(path: pathlib.Path) -> pd.DataFrame:
    """Reads a table as text: numbers keep every digit."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _write_predictions(directory: pathlib.Path, results: Sequence[Result]) -> None:
    """Writes `class_predictions.csv`: a row per model and test image, without any patient's id."""
    parts = []
    for result in results:
        scores = result.scores
        part = pd.DataFrame(
            {
                "model": result.variant.model,
                "images_kind": result.variant.images,
                "training": result.training,
                "client": scores.clients,
                "row": scores.rows,
                "class": [CLASSES[i] for i in classes.true_classes(scores.labels)],
            }
        )
        for place, name in enumerate(CLASSES):
            part[f"probability: {name}"] = result.probabilities[:, place]
        parts.append(part)
    text = pd.concat(parts, ignore_index=True).to_csv(index=False, lineterminator="\n")
    write_text(directory / "class_predictions.csv", text)


def _row(study: ClassStudy, directory: pathlib.Path, result: Result) -> dict[str, Any]:
    """One row of `metrics.json`, on test images; the paper's Table 2 with what it lacks."""
    scores = result.scores
    truth = classes.true_classes(scores.labels)
    matrix = classes.confusion(truth, scores.scores)
    patients = study.patients(scores)
    correct = np.where(np.isnan(scores.scores).any(), np.nan, scores.scores.argmax(axis=1) == truth)
    found = mean_interval(correct, patients, study.replicates, seed=study.seed)
    sensitivities = classes.sensitivities(matrix)
    return {
        "task": TASK,
        "model": result.variant.model,
        "images_kind": result.variant.images,
        "training": result.training,
        "split": "test",
        "images": len(truth),
        "patients": len(set(patients)),
        "loss": classes.cross_entropy(truth, scores.scores),
        "accuracy": found.mean,
        "accuracy_low": found.low,
        "accuracy_high": found.high,
        "interval": (
            f"95 % percentile interval, {study.replicates} bootstrap replicates of patients"
        ),
        "classes": list(CLASSES),
        "confusion": matrix.tolist(),
        "sensitivity_by_class": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(CLASSES, sensitivities)
        },
        "round": result.round_number,
        "chosen": f"largest accuracy on the {study.split} images",
        **_best_of_rounds(directory, result),
    }


def _best_of_rounds(directory: pathlib.Path, result: Result) -> dict[str, float]:
    """The largest accuracy and the least loss over the rounds, and in which round they came."""
    baseline = "" if result.training == study_lib.FEDERATED else f"_{result.training}"
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
