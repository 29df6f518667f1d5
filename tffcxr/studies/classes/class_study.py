"""A study of classes that exclude each other: several models, perhaps on the lungs alone.

clients' records → lungs → shards → federated training of every variant → tables, heat maps, report
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
import pathlib
import sys
from typing import Any, cast

import numpy as np
import tensorflow as tf

from tffcxr.clients.sampling import Sampler
from tffcxr.clients.shards.preparation import ShardSpec, ShardStore
from tffcxr.errors import InputError
from tffcxr.evaluation import tables
from tffcxr.models import build as models
from tffcxr.models import losses
from tffcxr.models.blocks import CxrModel
from tffcxr.report import report
from tffcxr.studies import study as study_lib
from tffcxr.studies.classes import class_explanations, class_results, lung_cut_out
from tffcxr.studies.classes.variants import POOLED, SEGMENTED, ClassStudy, Result, Variant
from tffcxr.training.evaluators.class_validation import ClassEvaluator
from tffcxr.training.evaluators.validation import Scorer, Scores
from tffcxr.training.run_directory import RunDirectory

LOSS = losses.class_batch_loss


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
    derived = {"measured_split": study.split, "lungs": about_lungs, "width": study.width}
    derived["explanation"] = class_explanations.NAMES[study.explanation]
    # Of each network one model measures it and explains it.
    build = functools.cache(functools.partial(_float32_model, study))
    if study.heatmaps:
        derived["heat_map_places"] = {
            variant.model: class_explanations.places_of_map(build(variant.model))
            for variant in study.variants
        }
    weights: dict[str, tuple[float, ...]] = {}
    if study.class_balance == "weights":
        weights = {kind: _class_weights(study, store) for kind, store in stores.items()}
        derived["class_weights"] = dict(zip(study.classes, next(iter(weights.values()))))
    fingerprint = "+".join(store.root.name for store in stores.values())
    directory.record_data(
        fingerprint,
        study.describe_clients(any_store, functools.partial(_class_counts, study, any_store)),
        derived,
    )
    study_lib.use_executor(study.executor, directory)
    results = []
    for variant in study.variants:
        kind = variant.images
        model = build(variant.model).keras
        results += _train(
            study, variant, model, stores[kind], weights.get(kind), sampler, directory
        )
    class_results.join_logs(directory.path, study)
    class_results.write_predictions(directory.path, study, results)
    rows = [row for result in results for row in class_results.rows(study, directory.path, result)]
    class_explanations.write(directory.path, study, outlined, results, build)
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
        segmented = lung_cut_out.segment(study.records, study.segmentation_model, study.cache_dir)
        lung_cut_out.write(directory, segmented)
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
            "model": str(lung_cut_out.find_model(study.segmentation_model)),
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
    spec = ShardSpec(study.image_size, study.classes, study.fit, cut_out=kind == SEGMENTED)
    return study.open_shards(spec)


def _class_counts(study: ClassStudy, store: ShardStore, client: str) -> dict[str, int]:
    """How many training images of each class a client has."""
    counts = store.label_counts(client, "train")
    return {f"train: {name}": counts[name]["present"] for name in study.classes}


def _class_weights(study: ClassStudy, store: ShardStore) -> tuple[float, ...]:
    """Of each class, from the training images of all clients together.

    Raises:
      InputError: a class has none.
    """
    columns = [list(_class_counts(study, store, client).values()) for client in store.client_ids]
    counts = np.sum(columns, axis=0).tolist()
    if min(counts) < 1:
        raise InputError(
            f"--class_balance=weights: expected training images of every class, found "
            f"{', '.join(f'{count} of {name}' for name, count in zip(study.classes, counts))}"
        )
    return losses.inverse_frequencies(counts)


def _train(
    study: ClassStudy,
    variant: Variant,
    model: tf.keras.Model,
    store: ShardStore,
    class_weights: Sequence[float] | None,
    sampler: Sampler,
    directory: RunDirectory,
) -> list[Result]:
    """Trains one variant in each way that it has a plan for; see `_float32_model` of the model."""
    data = study.client_data(store, balance_classes=study.class_balance == "sampling")
    plans = study.plans_of(variant)
    # One for all ways of training: they differ in how the same network's weights come about.
    scorer = Scorer(model, data, tf.nn.log_softmax)
    evaluator = ClassEvaluator(scorer, variant.name, study.split)
    results = []
    for training, plan in plans.items():
        if class_weights is not None:
            loss = losses.weighted_class_batch_loss(class_weights)
            plan = dataclasses.replace(plan, loss_fn=loss)
        setup = study_lib.Training(
            directory,
            plan,
            data,
            evaluator,
            study.split,
            sampler,
            best=f"{variant.name}/accuracy",
            histograms=study.histograms,
            variant=variant.file_name,
        )
        if training == POOLED:
            found = study_lib.train_centralised(setup, POOLED, store.client_ids)
        else:
            found = study_lib.train_federated(setup)
        weights = next(iter(found.best.values()))
        path = directory.path / "models" / f"{training}_{variant.file_name}.h5"
        study_lib.save_weights(model, weights, path)
        by_split = {
            split: Scores.join(
                [scorer.score(found.best[client], client, split) for client in sorted(found.best)]
            )
            for split in ("test", "train")[: 1 + study.with_train_scores]
        }
        results.append(
            Result(
                variant,
                training,
                weights,
                found.best_round,
                by_split["test"],
                by_split.get("train"),
            )
        )
    return results


def _float32_model(study: ClassStudy, name: str) -> CxrModel:
    """The network that is measured, in float32 whatever it is trained in; its weights change."""
    plan = next(plan for (network, _), plan in study.plans.items() if network == name)
    if plan.precision == "float32":
        return cast(CxrModel, plan.build_model(None))  # Made by `classification`.
    return models.build(
        name,
        study.image_size,
        len(study.classes),
        batch_norm=plan.batch_norm,
        seed=study.seed,
        width=study.width,
    )
