"""A segmentation study from records to report: one model of one region, across all clients.

clients' records → shards with masks → network → federated training, pooled baseline → masks, report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import tensorflow as tf

from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards.preparation import ShardSpec, ShardStore
from tffcxr.evaluation import tables
from tffcxr.evaluation.mean_interval import mean_interval
from tffcxr.files import write_json, write_table
from tffcxr.models import build as models
from tffcxr.models import segmentation_losses
from tffcxr.models.blocks import CxrModel
from tffcxr.models.files import export_segmentation
from tffcxr.report import report
from tffcxr.studies import mask_cases
from tffcxr.studies import study as study_lib
from tffcxr.training.evaluators import region_validation
from tffcxr.training.evaluators.mask_validation import ImageLoss, MaskEvaluator, MaskScores
from tffcxr.training.plan import Plan
from tffcxr.training.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A network, how it is trained, and how it is used on whole images.

    Attributes:
      plan: how it is trained; everything is shared.
      inference: a float32 model of images [B, S, S, 1] in 0..1 to logits [B, S, S, 1], with the
        weights of the plan's model in the same order.
      image_loss: of each image, from those logits.
      settings: those of the study that the network decides itself, such as its augmentation.
      derived: for `config.json`: what was chosen where the flags leave it open.
      files: name to JSON values, to be written into the run's folder.
    """

    plan: Plan
    inference: Callable[[], tf.keras.Model]
    image_loss: ImageLoss
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    derived: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    files: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SegmentationStudy(study_lib.Study):
    """One run of a segmentation recipe; its records have masks.

    Attributes:
      region: what is segmented, such as "Lungs".
      may_be_absent: whether images may be free of the region; then the records say by a column of
        its name which are. Jaccard and Dice are of the others alone.
      model: the network's name.
      segmenter: makes it, from the images that clients have.
      with_pooled: whether a model of all images in one place is trained beside.
      split: "test", or "validation" if there are such images: what is measured after every round,
        and by which the best round is chosen.
    """

    region: str
    may_be_absent: bool
    model: str
    segmenter: Callable[[ShardStore], Segmenter]
    with_pooled: bool
    split: str


@dataclasses.dataclass(frozen=True)
class _Result(mask_cases.Masks):
    """One trained model and what it does with the test images after its best round.

    Attributes:
      round_number: the best round.
      last: the scores after the last round.
    """

    round_number: int
    last: MaskScores

    @property
    def model_weights(self) -> study_lib.Weights:
        """The same for all clients, since everything is shared."""
        return next(iter(self.weights.values()))


class ModelBuilder(Protocol):
    """Makes a network, always with the same initial weights; nothing can be frozen."""

    def __call__(self, frozen: Literal[None, "representation"], precision: str = ...) -> CxrModel:
        """`precision` is a name of `models.build.PRECISIONS`, unless given that of training."""


def model_builder(
    name: str,
    image_size: int,
    weights: str,
    batch_norm: Any,
    seed: int,
    precision: str,
    channels: int = 1,
) -> ModelBuilder:
    """What makes a network of `tffcxr.models.build.build_segmentation`.

    A weights file is read once, before anything else is done.

    Raises:
      InputError: see `tffcxr.models.build.build_segmentation`.
    """
    initial = models.build_segmentation(
        name, image_size, weights, batch_norm, seed, channels=channels
    )
    arrays = initial.keras.get_weights()

    def build(frozen: Literal[None, "representation"], precision: str = precision) -> CxrModel:
        if frozen is not None:
            raise ValueError(f"expected a model that trains as a whole, found frozen={frozen!r}")
        model = models.build_segmentation(
            name, image_size, "none", batch_norm, seed, precision, channels
        )
        model.keras.set_weights(arrays)
        return model

    return build


def of_whole_images(make_plan: Callable[[Any, Any], Plan], build: ModelBuilder) -> Segmenter:
    """A network for whole images, with the loss BCE-Dice.

    Args:
      make_plan: from `build_model` and `loss_fn` of a `Plan` to the plan.
      build: of `model_builder`.
    """
    plan = make_plan(build, segmentation_losses.batch_loss)
    return Segmenter(plan, lambda: build(None, "float32").keras, segmentation_losses.bce_dice)


def run(study: SegmentationStudy, directory: RunDirectory) -> list[dict[str, Any]]:
    """Does all that is not done yet.

    Returns:
      The rows of `metrics.json`.

    Raises:
      InputError: unusable images or masks.
      loop.TrainingFailed: training broke off.
    """
    sampler = study.sampler()
    store = study.open_shards(ShardSpec(study.image_size, (), study.fit, with_mask=True))
    segmenter = study.segmenter(store)
    study = dataclasses.replace(study, **segmenter.settings)
    derived = {"measured_split": study.split, **segmenter.derived}
    described = study.describe_clients(store, lambda client: _count_regions(study, client))
    directory.record_data(store.root.name, described, derived)
    for name, content in segmenter.files.items():
        write_json(directory.path / name, content)
    data = study.client_data(store)
    study_lib.use_executor(study.executor, directory)
    # In float32, whatever it is trained in: what is measured is what is exported.
    model = segmenter.inference()
    setup = study_lib.Training(
        directory,
        segmenter.plan,
        data,
        _evaluator(study, segmenter, model, data, study.split),
        study.split,
        sampler,
        best=f"{study.region}/jaccard",
        histograms=study.histograms,
    )
    trained = {study_lib.FEDERATED: study_lib.train_federated(setup)}
    if study.with_pooled:
        trained["pooled"] = study_lib.train_centralised(setup, "pooled", store.client_ids)
    results = _measure(_evaluator(study, segmenter, model, data, "test"), trained)
    _write_masks(directory.path, study, results)
    mask_cases.write(directory.path, study, model, results, _shown(study, results[0].scores))
    _save_models(directory.path, study, segmenter, model, results)
    rows = [_row(study, result) for result in results]
    tables.write_metrics(directory.path, study.recipe, rows)
    report.write_report(directory.path)
    return rows


def _count_regions(study: SegmentationStudy, client: str) -> dict[str, int]:
    """How many of a client's training images have the region, for the report, if some have not."""
    if not study.may_be_absent:
        return {}
    records = study.records[client]
    present = records.loc[records["split"] == "train", study.region] == 1
    return {
        f"train: {study.region}": int(present.sum()),
        f"train: no {study.region}": int((~present).sum()),
    }


def _evaluator(
    study: SegmentationStudy,
    segmenter: Segmenter,
    model: tf.keras.Model,
    data: ClientData,
    split: str,
) -> MaskEvaluator | region_validation.RegionEvaluator:
    evaluator = MaskEvaluator(model, data, study.region, segmenter.image_loss, split)
    if study.may_be_absent:
        return region_validation.RegionEvaluator(evaluator, study.region)
    return evaluator


def _measure(
    evaluator: MaskEvaluator | region_validation.RegionEvaluator,
    trained: Mapping[str, study_lib.Trained],
) -> list[_Result]:
    def scores(weights: Mapping[str, study_lib.Weights]) -> MaskScores:
        return MaskScores.join(
            [evaluator.score(weights[client], client) for client in sorted(weights)]
        )

    return [
        _Result(training, found.best, scores(found.best), found.best_round, scores(found.last))
        for training, found in trained.items()
    ]


def _shown(study: SegmentationStudy, scores: MaskScores) -> list[mask_cases.Chosen]:
    """The images for the report: by their Jaccard, and the one with most marked in error."""
    known = np.flatnonzero(~np.isnan(scores.jaccard))
    chosen = [
        mask_cases.Chosen(int(known[place]), study.region, kind)
        for place, kind in mask_cases.choose(scores.jaccard[known])
    ]
    in_error = np.where(np.isnan(scores.jaccard), scores.predicted_area, 0.0)
    if in_error.any():
        chosen.append(mask_cases.Chosen(int(in_error.argmax()), study.region, "marked in error"))
    return chosen


def _row(study: SegmentationStudy, result: _Result) -> dict[str, Any]:
    """One row of `metrics.json`, on test images."""
    scores = result.scores
    patients = study.patients(scores)
    row: dict[str, Any] = {
        "task": study.region,
        "model": study.model,
        "training": result.training,
        "split": "test",
        "images": len(scores.rows),
        "patients": len(set(patients)),
        "loss": float(scores.loss.mean()),
        "round": result.round_number,
        "chosen": f"largest Jaccard on the {study.split} images",
        "interval": study.interval,
        "last_jaccard": region_validation.mean_of_known(result.last.jaccard),
        "last_dice": region_validation.mean_of_known(result.last.dice),
    }
    if study.may_be_absent:
        found = region_validation.detection(scores.truth_area, scores.predicted_area)
        row["positives"] = int(np.count_nonzero(scores.truth_area))
        row["sensitivity"], row["specificity"] = found
    for name in ("jaccard", "dice"):
        mean = mean_interval(getattr(scores, name), patients, study.replicates, seed=study.seed)
        row.update({name: mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high})
    return row


def _save_models(
    directory: pathlib.Path,
    study: SegmentationStudy,
    segmenter: Segmenter,
    model: tf.keras.Model,
    results: Sequence[_Result],
) -> None:
    """Writes every training's best weights, and the federated model for other programs."""
    (directory / "models").mkdir(exist_ok=True)
    network = segmenter.plan.build_model(None).keras
    for result in results:
        study_lib.save_weights(
            network, result.model_weights, directory / "models" / f"{result.training}.h5"
        )
    model.set_weights(results[0].model_weights)  # The federated one.
    export_segmentation.save(
        directory,
        model,
        export_segmentation.SegmentationMetadata(study.region, study.image_size, study.fit),
    )


def _write_masks(
    directory: pathlib.Path, study: SegmentationStudy, results: Sequence[_Result]
) -> None:
    """Writes `masks.csv`: a row per model and test image, without any patient's id."""
    parts = [
        pd.DataFrame(
            {
                "task": study.region,
                "training": result.training,
                "client": result.scores.clients,
                "row": result.scores.rows,
                "loss": result.scores.loss,
                "jaccard": result.scores.jaccard,
                "dice": result.scores.dice,
                "truth_area": result.scores.truth_area,
                "predicted_area": result.scores.predicted_area,
            }
        )
        for result in results
    ]
    write_table(directory / "masks.csv", pd.concat(parts, ignore_index=True))
