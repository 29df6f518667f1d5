"""A segmentation study from records to report: one model of one region, across all clients.

clients' records → shards with masks → federated training, pooled baseline → masks, table, report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any, Literal

import pandas as pd

from experiments import mask_cases
from experiments import study as study_lib
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards import ShardSpec
from tffcxr.evaluation import tables
from tffcxr.evaluation.mean_interval import mean_interval
from tffcxr.files import write_text
from tffcxr.models import build as models
from tffcxr.models import export_segmentation, segmentation_losses
from tffcxr.models.blocks import CxrModel
from tffcxr.report import report
from tffcxr.training.mask_validation import MaskEvaluator, MaskScores
from tffcxr.training.plan import Plan
from tffcxr.training.run_directory import RunDirectory

LOSS = segmentation_losses.batch_loss
REGION = "Lungs"


@dataclasses.dataclass(frozen=True)
class SegmentationStudy(study_lib.Study):
    """One run of a segmentation recipe; its records have masks.

    Attributes:
      model: a name of `tffcxr.models.build.SEGMENTATION_NAMES`.
      plan: how it is trained; everything is shared.
      with_pooled: whether a model of all images in one place is trained beside.
      split: "test", or "validation" if there are such images: what is measured after every round,
        and by which the best round is chosen.
    """

    model: str
    plan: Plan
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


def model_builder(
    name: str,
    image_size: int,
    weights: str,
    batch_norm: Any,
    seed: int,
    precision: str,
    channels: int = 1,
) -> Callable[[Literal[None, "representation"]], CxrModel]:
    """`(frozen) -> CxrModel`, always with the same initial weights; nothing can be frozen.

    A weights file is read once, before anything else is done.

    Raises:
      InputError: see `tffcxr.models.build.build_segmentation`.
    """
    initial = models.build_segmentation(
        name, image_size, weights, batch_norm, seed, channels=channels
    )
    arrays = initial.keras.get_weights()

    def build(frozen: Literal[None, "representation"]) -> CxrModel:
        if frozen is not None:
            raise ValueError(f"expected a model that trains as a whole, found frozen={frozen!r}")
        model = models.build_segmentation(
            name, image_size, "none", batch_norm, seed, precision, channels
        )
        model.keras.set_weights(arrays)
        return model

    return build


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
    derived = {"measured_split": study.split}
    directory.record_data(store.root.name, study.describe_clients(store), derived)
    data = study.client_data(store)
    study_lib.use_executor(study.executor, directory)
    model = study.plan.build_model(None).keras
    evaluator = MaskEvaluator(model, data, REGION, segmentation_losses.bce_dice, study.split)
    setup = study_lib.Training(
        directory,
        study.plan,
        data,
        evaluator,
        study.split,
        sampler,
        best=f"{REGION}/jaccard",
        histograms=study.histograms,
    )
    trained = {study_lib.FEDERATED: study_lib.train_federated(setup)}
    if study.with_pooled:
        trained["pooled"] = study_lib.train_centralised(setup, "pooled", store.client_ids)
    # In float32, whatever it was trained in: what is measured is what is exported.
    model = models.build_segmentation(
        study.model, study.image_size, batch_norm=study.plan.batch_norm, seed=study.seed
    ).keras
    results = _measure(model, data, trained)
    _write_masks(directory.path, results)
    shown = [
        mask_cases.Chosen(place, REGION, kind)
        for place, kind in mask_cases.choose(results[0].scores.jaccard)
    ]
    mask_cases.write(directory.path, study, model, results, shown)
    _save_models(directory.path, study, model, results)
    rows = [_row(study, result) for result in results]
    tables.write_metrics(directory.path, study.recipe, rows)
    report.write_report(directory.path)
    return rows


def _measure(
    model: Any, data: ClientData, trained: Mapping[str, study_lib.Trained]
) -> list[_Result]:
    evaluator = MaskEvaluator(model, data, REGION, segmentation_losses.bce_dice, "test")

    def scores(weights: Mapping[str, study_lib.Weights]) -> MaskScores:
        return MaskScores.join(
            [evaluator.score(weights[client], client) for client in sorted(weights)]
        )

    return [
        _Result(training, found.best, scores(found.best), found.best_round, scores(found.last))
        for training, found in trained.items()
    ]


def _row(study: SegmentationStudy, result: _Result) -> dict[str, Any]:
    """One row of `metrics.json`, on test images."""
    scores = result.scores
    patients = study.patients(scores)
    row: dict[str, Any] = {
        "task": REGION,
        "model": study.model,
        "training": result.training,
        "split": "test",
        "images": len(scores.rows),
        "patients": len(set(patients)),
        "loss": float(scores.loss.mean()),
        "round": result.round_number,
        "chosen": f"largest Jaccard on the {study.split} images",
        "interval": (
            f"95 % percentile interval, {study.replicates} bootstrap replicates of patients"
        ),
        "last_jaccard": float(result.last.jaccard.mean()),
        "last_dice": float(result.last.dice.mean()),
    }
    for name in ("jaccard", "dice"):
        found = mean_interval(getattr(scores, name), patients, study.replicates, seed=study.seed)
        row.update({name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high})
    return row


def _save_models(
    directory: pathlib.Path, study: SegmentationStudy, model: Any, results: Sequence[_Result]
) -> None:
    """Writes every training's best weights, and the federated model for other programs."""
    (directory / "models").mkdir(exist_ok=True)
    for result in reversed(results):  # The federated one last: its weights stay in the model.
        study_lib.save_weights(
            model, result.model_weights, directory / "models" / f"{result.training}.h5"
        )
    export_segmentation.save(
        directory,
        model,
        export_segmentation.SegmentationMetadata(REGION, study.image_size, study.fit),
    )


def _write_masks(directory: pathlib.Path, results: Sequence[_Result]) -> None:
    """Writes `masks.csv`: a row per model and test image, without any patient's id."""
    parts = [
        pd.DataFrame(
            {
                "task": REGION,
                "training": result.training,
                "client": result.scores.clients,
                "row": result.scores.rows,
                "loss": result.scores.loss,
                "jaccard": result.scores.jaccard,
                "dice": result.scores.dice,
                "truth_area": result.scores.truth_area,
            }
        )
        for result in results
    ]
    text = pd.concat(parts, ignore_index=True).to_csv(index=False, lineterminator="\n")
    write_text(directory / "masks.csv", text)
