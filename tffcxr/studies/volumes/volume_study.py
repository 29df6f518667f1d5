"""A study of domains: one network for nodes whose images and tasks differ, from records to report.

nodes' records → shards → a federated model per variant, baselines → cases, pictures, table, report

Variants differ in what stays private at each node: nothing, batch norm, the output block, or both.
Nobody chooses a round: all results are of the models after the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards.preparation import ShardSpec
from tffcxr.evaluation import tables
from tffcxr.evaluation.case_overlap import CaseScores
from tffcxr.evaluation.mean_interval import mean_interval
from tffcxr.files import write_table
from tffcxr.models import build as models
from tffcxr.models import segmentation_losses
from tffcxr.report import report
from tffcxr.studies import mask_cases, variant_logs
from tffcxr.studies import study as study_lib
from tffcxr.studies.mask_cases import Masks
from tffcxr.training.evaluators.case_validation import CaseEvaluator, score_cases
from tffcxr.training.evaluators.mask_validation import MaskEvaluator, MaskScores
from tffcxr.training.plan import Plan
from tffcxr.training.run_directory import RunDirectory

LOSS = segmentation_losses.bce_batch_loss
ALL_DOMAINS = "All domains"
# What stays at each node -> (what is averaged, batch-norm policy; None for the plan's own).
PRIVATE: Mapping[str, tuple[str, str | None]] = {
    "none": ("all", None),
    "norm": ("all", "local"),
    "output": ("representation", None),
    "both": ("representation", "local"),
}


@dataclasses.dataclass(frozen=True)
class DomainStudy(study_lib.Study):
    """One run of a recipe whose nodes have tasks of their own; its records are slices with masks.

    Attributes:
      task_of: client id to its task, such as "Kidneys in CT".
      group_of: site to what it has in common with the sites that share its patients.
      model: a name of `tffcxr.models.build.SEGMENTATION_NAMES`.
      plan: how it is trained where nothing is private.
      private: some of `PRIVATE`, a federated model for each.
      baselines: some of "site" and "pooled".
      split: "test", or "validation" if there are such images: what is measured after every round.
      channels: of the images.
      shown_channel: the one that pictures show.
      with_boxes: whether pictures show the boxes around what is marked.
    """

    task_of: Mapping[str, str]
    group_of: Mapping[str, str]
    model: str
    plan: Plan
    private: tuple[str, ...]
    baselines: tuple[str, ...]
    split: str
    channels: int
    shown_channel: int
    with_boxes: bool

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, in the order of the clients."""
        return tuple(dict.fromkeys(self.task_of[client] for client in sorted(self.task_of)))

    def people(self, cases: Sequence[str]) -> np.ndarray:
        """The patient of each case, the same for the sites that share patients: object [M].

        Args:
          cases: of `patients`, "site/patient".
        """
        parts = [str(case).partition("/") for case in cases]
        return np.array([f"{self.group_of[site]}/{patient}" for site, _, patient in parts], object)


def training_name(private: str) -> str:
    """What tables call the federated model of a variant."""
    is_paper = private == "none"
    return study_lib.FEDERATED if is_paper else f"{study_lib.FEDERATED}_private_{private}"


def _file_name(private: str) -> str:
    """What the names of a variant's logs have."""
    return "global" if private == "none" else f"private_{private}"


def run(study: DomainStudy, directory: RunDirectory) -> list[dict[str, Any]]:
    """Does all that is not done yet.

    Returns:
      The rows of `metrics.json`.

    Raises:
      InputError: unusable images or masks.
      loop.TrainingFailed: training broke off.
    """
    sampler = study.sampler()
    spec = ShardSpec(study.image_size, (), study.fit, with_mask=True, channels=study.channels)
    store = study.open_shards(spec)
    derived = {"measured_split": study.split, "loss": "Binary cross-entropy"}
    directory.record_data(
        store.root.name,
        study.describe_clients(store, lambda client: {"task": study.task_of[client]}),
        derived,
    )
    data = study.client_data(store)
    study_lib.use_executor(study.executor, directory)
    model = study.plan.build_model(None).keras
    evaluator = MaskEvaluator(model, data, "", segmentation_losses.bce, study.split)
    setup = study_lib.Training(
        directory,
        study.plan,
        data,
        CaseEvaluator(evaluator, study.task_of, study.patients),
        study.split,
        sampler,
        histograms=study.histograms,
    )
    trained: dict[str, Mapping[str, study_lib.Weights]] = {}
    for private in study.private:
        found = study_lib.train_federated(_variant(study, setup, evaluator, private))
        trained[training_name(private)] = found.last
    files = {_file_name(private): training_name(private) for private in study.private}
    variant_logs.write_rounds(directory.path, files)
    variant_logs.write_clients(directory.path, files)
    for kind in study.baselines:
        trained[kind] = _train_baseline(study, setup, kind)
    model = _float32_model(study)
    results = _measure(study, model, data, trained)
    _save_models(directory.path, study, model, results)
    _write_cases(directory.path, study, results)
    _write_pictures(directory.path, study, model, results)
    rows = _rows(study, results)
    tables.write_metrics(directory.path, study.recipe, rows)
    report.write_report(directory.path)
    return rows


def _variant(
    study: DomainStudy, setup: study_lib.Training, evaluator: MaskEvaluator, private: str
) -> study_lib.Training:
    """The training of one federated model; its metrics carry its name where there are several."""
    share, batch_norm = PRIVATE[private]
    changed: dict[str, Any] = {"share": share}
    if batch_norm is not None:
        changed["batch_norm"] = batch_norm
    task_of = study.task_of
    if private != study.private[0]:
        task_of = {client: f"{task}, private {private}" for client, task in study.task_of.items()}
    return dataclasses.replace(
        setup,
        plan=dataclasses.replace(study.plan, **changed),
        evaluator=CaseEvaluator(evaluator, task_of, study.patients),
        variant=_file_name(private),
    )


def _train_baseline(
    study: DomainStudy, setup: study_lib.Training, kind: str
) -> dict[str, study_lib.Weights]:
    """Trains a model per site ("site") or one for all ("pooled"): weights by client."""
    clients = sorted(study.records)
    if kind == "pooled":
        return dict(study_lib.train_centralised(setup, "pooled", clients).last)
    weights: dict[str, study_lib.Weights] = {}
    for site in sorted(set(study.site_of.values())):
        members = [client for client in clients if study.site_of[client] == site]
        weights.update(study_lib.train_centralised(setup, f"site_{site}", members).last)
    return weights


def _float32_model(study: DomainStudy) -> tf.keras.Model:
    """The model that is measured, in float32 whatever it was trained in."""
    return models.build_segmentation(
        study.model,
        study.image_size,
        batch_norm=study.plan.batch_norm,
        seed=study.seed,
        channels=study.channels,
    ).keras


def _measure(
    study: DomainStudy,
    model: tf.keras.Model,
    data: ClientData,
    trained: Mapping[str, Mapping[str, study_lib.Weights]],
) -> list[Masks]:
    """Scores the test images of every client with its model of every training."""
    evaluator = MaskEvaluator(model, data, "", segmentation_losses.bce, "test")
    return [
        Masks(
            training,
            weights,
            MaskScores.join(
                [evaluator.score(weights[client], client) for client in sorted(weights)]
            ),
        )
        for training, weights in trained.items()
    ]


def _rows(study: DomainStudy, results: Sequence[Masks]) -> list[dict[str, Any]]:
    """The rows of `metrics.json`: a row per model and task, and one of all tasks together."""
    tasks = [*study.tasks, *([ALL_DOMAINS] if len(study.tasks) > 1 else [])]
    rows = []
    for task in tasks:
        reference = None
        for result in results:
            scores = _of_task(study, result.scores, task)
            found = score_cases(scores, study.patients)
            # The first federated model is what the others are compared with.
            rows.append(_row(study, task, result.training, scores, found, reference))
            reference = reference or found
    return rows


def _row(
    study: DomainStudy,
    task: str,
    training: str,
    scores: MaskScores,
    found: CaseScores,
    reference: CaseScores | None,
) -> dict[str, Any]:
    people = study.people(found.cases)
    row: dict[str, Any] = {
        "task": task,
        "model": study.model,
        "training": training,
        "split": "test",
        "images": len(scores.rows),
        "cases": len(found.cases),
        "patients": len(set(people)),
        "loss": float(scores.loss.mean()),
        "missed": int(found.missed.sum()),
        "interval": study.interval,
    }
    values = {"overlap": found.overlap, "dice": found.dice}
    if reference is not None:
        values["dice_difference"] = found.dice - reference.dice
    for name, by_case in values.items():
        mean = mean_interval(by_case, people, study.replicates, seed=study.seed)
        row.update({name: mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high})
    return row


def _of_task(study: DomainStudy, scores: MaskScores, task: str) -> MaskScores:
    """The scores of the images of one task, or of all domains."""
    if task == ALL_DOMAINS:
        return scores
    mine = np.array([study.task_of[client] == task for client in scores.clients], bool)
    fields = dataclasses.fields(scores)
    return MaskScores(*(getattr(scores, field.name)[mine] for field in fields))


def _write_cases(directory: pathlib.Path, study: DomainStudy, results: Sequence[Masks]) -> None:
    """Writes `cases.csv`: a row per model and case, numbered within its task, nobody named."""
    parts = []
    for result in results:
        for task in study.tasks:
            found = score_cases(_of_task(study, result.scores, task), study.patients)
            parts.append(
                pd.DataFrame(
                    {
                        "task": task,
                        "training": result.training,
                        "case": np.arange(1, len(found.cases) + 1),
                        "overlap": found.overlap,
                        "dice": found.dice,
                        "missed": found.missed.astype(int),
                    }
                )
            )
    write_table(directory / "cases.csv", pd.concat(parts, ignore_index=True))


def _write_pictures(
    directory: pathlib.Path, study: DomainStudy, model: tf.keras.Model, results: Sequence[Masks]
) -> None:
    """Writes a few cases of each task, each by the slice with most of the region.

    They are chosen by the Dice of the first model; all models are shown on the same slices.
    """
    scores = results[0].scores
    patients = study.patients(scores)
    chosen = []
    for task in study.tasks:
        places = np.flatnonzero([study.task_of[client] == task for client in scores.clients])
        largest: dict[str, int] = {}
        for place in places.tolist():
            best = largest.setdefault(patients[place], place)
            if scores.truth_area[place] > scores.truth_area[best]:
                largest[patients[place]] = place
        shown = np.array(sorted(largest.values()))
        chosen += [
            mask_cases.Chosen(int(shown[position]), task, kind)
            for position, kind in mask_cases.choose(scores.dice[shown])
        ]
    mask_cases.write(
        directory, study, model, results, chosen, study.shown_channel, study.with_boxes
    )


def _save_models(
    directory: pathlib.Path, study: DomainStudy, model: tf.keras.Model, results: Sequence[Masks]
) -> None:
    """Writes the weights of every training: one file, or one per client if they differ."""
    (directory / "models").mkdir(exist_ok=True)
    for result in results:
        is_shared = result.training in (study_lib.FEDERATED, "pooled")
        for client in sorted(result.weights):
            name = result.training if is_shared else f"{result.training}_{client}"
            study_lib.save_weights(
                model, result.weights[client], directory / "models" / f"{name}.h5"
            )
            if is_shared:
                break
