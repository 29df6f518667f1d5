"""A classification study from records to report; recipes differ in flags, not in these steps.

clients' records → shards → federated training, baselines → scores → tables, heat maps, report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import pathlib
import shlex
import sys
from typing import Any, Literal

import numpy as np

from experiments import explanations, results
from experiments.sites import ClientRecords
from tffcxr import runtime
from tffcxr.clients.augment import Augmentation
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.sampling import Sampler, parse_clients_per_round
from tffcxr.clients.shards import ShardSpec, ShardStore, prepare
from tffcxr.evaluation import tables
from tffcxr.models import build as models
from tffcxr.models import losses
from tffcxr.models.blocks import CxrModel
from tffcxr.report import report
from tffcxr.training import loop
from tffcxr.training.centralised import CentralisedTraining
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.plan import Plan
from tffcxr.training.progress import Progress
from tffcxr.training.run_directory import RunDirectory
from tffcxr.training.tensorboard import TensorBoard, name_weights
from tffcxr.training.validation import Evaluator, FindingsEvaluator

LOSS = losses.batch_loss
# The papers' random flip and random affine map; the ranges are ours.
AUGMENTATIONS = {
    "none": None,
    "flip": Augmentation(flip=True),
    "affine": Augmentation(
        flip=True, rotation_degrees=10.0, translation=0.05, scale=0.1, shear=5.0
    ),
}


@dataclasses.dataclass(frozen=True)
class Study:
    """One run of a classification recipe.

    Attributes:
      recipe: the program's name.
      clients: who holds what.
      model: a name of `tffcxr.models.build.NAMES`.
      plan: how it is trained.
      image_size: height and width in pixels.
      fit: "pad" or "stretch", for images that are not square.
      batch_size: images per step.
      augmentation: of the training images, or None.
      clients_per_round: as the flag.
      baselines: some of "site" and "pooled".
      seed: of everything random.
      executor: "device" or "native".
      cache_dir: for the shards.
      max_rejected_fraction: of a client's files that may be unreadable.
      heatmaps: true positives per finding to show.
      replicates: of the bootstrap.
      histograms: whether TensorBoard gets the weights.
    """

    recipe: str
    clients: ClientRecords
    model: str
    plan: Plan
    image_size: int
    fit: str
    batch_size: int
    augmentation: Augmentation | None
    clients_per_round: str
    baselines: tuple[str, ...]
    seed: int
    executor: str
    cache_dir: pathlib.Path
    max_rejected_fraction: float
    heatmaps: int
    replicates: int
    histograms: bool


def run(study: Study, directory: RunDirectory) -> list[dict[str, Any]]:
    """Does all that is not done yet.

    Returns:
      The rows of `metrics.json`.

    Raises:
      InputError: unusable images.
      loop.TrainingFailed: training broke off.
    """
    sampler = Sampler(
        tuple(sorted(study.clients.records)),
        parse_clients_per_round(study.clients_per_round),
        study.seed,
    )
    store = prepare(
        study.clients.records,
        ShardSpec(study.image_size, study.clients.findings, study.fit),
        study.cache_dir,
        max_rejected_fraction=study.max_rejected_fraction,
    )
    store.verify()
    derived = {"server_learning_rate": study.plan.server_learning_rate}
    directory.record_data(store.root.name, _describe_sites(study, store), derived)
    data = ClientData(store, study.batch_size, study.seed, study.augmentation)
    where = runtime.use(study.executor, log_file=directory.path / "worker.log")
    print(where, file=sys.stderr)
    evaluator = FindingsEvaluator(study.plan.build_model(None).keras, data, study.clients.findings)
    federated = _train_federated(study, data, sampler, evaluator, directory)
    trained = {"federated": results.site_models(study.clients, federated, store)}
    for kind in study.baselines:
        trained[kind] = _train_baseline(study, data, evaluator, directory, kind)
    # In float32, whatever it was trained in: what is measured is what is exported.
    model = models.build(
        study.model,
        study.image_size,
        len(study.clients.findings),
        batch_norm=study.plan.batch_norm,
        seed=study.seed,
    )
    scores = results.score_all(study, data, model.keras, trained)
    results.save_models(directory.path, study, model, trained, scores)
    results.write_predictions(directory.path, scores)
    rows = results.metric_rows(study, scores)
    explanations.write(directory.path, study, model, trained, scores)
    tables.write_metrics(directory.path, study.recipe, rows)
    report.write_report(directory.path, _predict_command(directory.path))
    return rows


def _predict_command(directory: pathlib.Path) -> str:
    return f"./bazelw run //experiments:predict -- --model={shlex.quote(str(directory))} IMAGE.dcm"


def _describe_sites(study: Study, store: ShardStore) -> list[dict[str, Any]]:
    """A row per client for `config.json` and the report."""
    described = []
    for client in store.client_ids:
        site = study.clients.site_of[client]
        finding = study.clients.finding_of[site]
        row: dict[str, Any] = {"client": client, "site": site, "finding": finding}
        row["source"] = study.clients.source_of[site]
        for split in ("train", "validation", "test"):
            counts = store.label_counts(client, split)[finding]
            row[f"{split}_images"] = store.count(client, split)
            row[f"{split}_positive"] = counts["present"]
        row["rejected_files"] = len(store.rejected(client))
        described.append(row)
    return described


def _train_federated(
    study: Study,
    data: ClientData,
    sampler: Sampler,
    evaluator: Evaluator,
    directory: RunDirectory,
) -> dict[str, list[np.ndarray]]:
    training = FederatedTraining(study.plan, data, sampler, evaluator)
    journal = loop.Journal(
        rounds=directory.path / "rounds.csv",
        clients=directory.path / "clients.csv",
        checkpoints=directory.path / "checkpoints" / "federated",
        observers=(
            Progress("federated", study.plan.rounds),
            TensorBoard(
                directory.path / "tensorboard" / "federated",
                _histograms_of(study, training) if study.histograms else None,
            ),
        ),
    )
    state = loop.run(training, study.plan, evaluator.columns, journal)
    return training.client_weights(state, study.plan.rounds)


def _histograms_of(
    study: Study, training: FederatedTraining
) -> Callable[[Any, int], Mapping[str, np.ndarray]]:
    """Names the weights of the first client's model after a round, for TensorBoard."""
    names = [weight.name for weight in study.plan.build_model(None).keras.weights]

    def weights_of(state: Any, round_number: int) -> Mapping[str, np.ndarray]:
        first, weights = next(iter(training.client_weights(state, round_number).items()))
        return name_weights([f"{first}/{name}" for name in names], weights)

    return weights_of


def _train_baseline(
    study: Study, data: ClientData, evaluator: Evaluator, directory: RunDirectory, kind: str
) -> dict[str, list[np.ndarray]]:
    """Trains one model per site ("site") or one for all ("pooled"): weights by site."""
    sites = list(study.clients.finding_of)
    groups = {f"site_{site}": [site] for site in sites}
    if kind == "pooled":
        groups = {"pooled": sites}
    weights: dict[str, list[np.ndarray]] = {}
    for name, members in groups.items():
        clients = [client for site in members for client in study.clients.clients_of(site)]
        training = CentralisedTraining(study.plan, data, clients, evaluator)
        journal = loop.Journal(
            rounds=directory.path / f"rounds_{name}.csv",
            clients=None,
            checkpoints=directory.path / "checkpoints" / name,
            observers=(
                Progress(name.replace("_", " ", 1), study.plan.rounds),
                TensorBoard(directory.path / "tensorboard" / name),
            ),
        )
        state = loop.run(training, study.plan, evaluator.columns, journal)
        weights.update({member: list(state["weights"]) for member in members})
    return weights


def model_builder(
    name: str,
    image_size: int,
    outputs: int,
    weights: str,
    batch_norm: Literal["aggregate", "local", "frozen", "group"],
    seed: int,
    precision: str = "float32",
) -> Callable[[Literal[None, "representation"]], CxrModel]:
    """`(frozen) -> CxrModel`, always with the same initial weights.

    A weights file is read once, before anything else is done.

    Raises:
      InputError: see `tffcxr.models.build.build`.
    """
    initial = models.build(name, image_size, outputs, weights, batch_norm, seed).keras.get_weights()

    def build(frozen: Literal[None, "representation"]) -> CxrModel:
        model = models.build(name, image_size, outputs, "none", batch_norm, seed, frozen, precision)
        model.keras.set_weights(initial)
        return model

    return build
