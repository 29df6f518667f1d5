"""A classification study from records to report; recipes differ in flags, not in these steps.

clients' records → shards → federated training, baselines → scores → tables, heat maps, report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any, Literal

from experiments import explanations, results
from experiments import study as study_lib
from experiments.sites import ClientRecords
from tffcxr.clients.shards import ShardSpec, ShardStore
from tffcxr.evaluation import tables
from tffcxr.models import build as models
from tffcxr.models import losses
from tffcxr.models.blocks import CxrModel
from tffcxr.report import report
from tffcxr.training.plan import Plan
from tffcxr.training.run_directory import RunDirectory
from tffcxr.training.validation import FindingsEvaluator

LOSS = losses.batch_loss


@dataclasses.dataclass(frozen=True)
class FindingsStudy(study_lib.Study):
    """One run of a recipe of findings, each of which some sites label.

    Attributes:
      clients: who holds what, and labels what.
      model: a name of `tffcxr.models.build.NAMES`.
      plan: how it is trained.
      baselines: some of "site" and "pooled".
      heatmaps: true positives per finding to show.
    """

    clients: ClientRecords
    model: str
    plan: Plan
    baselines: tuple[str, ...]
    heatmaps: int


def run(study: FindingsStudy, directory: RunDirectory) -> list[dict[str, Any]]:
    """Does all that is not done yet.

    Returns:
      The rows of `metrics.json`.

    Raises:
      InputError: unusable images.
      loop.TrainingFailed: training broke off.
    """
    sampler = study.sampler()
    store = study.open_shards(ShardSpec(study.image_size, study.clients.findings, study.fit))
    clients = study.describe_clients(store, functools.partial(_positives, study, store))
    derived = {"server_learning_rate": study.plan.server_learning_rate}
    directory.record_data(store.root.name, clients, derived)
    data = study.client_data(store)
    study_lib.use_executor(study.executor, directory)
    setup = study_lib.Training(
        directory,
        study.plan,
        data,
        FindingsEvaluator(study.plan.build_model(None).keras, data, study.clients.findings),
        "validation",
        sampler,
        histograms=study.histograms,
    )
    federated = study_lib.train_federated(setup).last
    trained: dict[str, Mapping[str, study_lib.Weights]] = {
        "federated": results.site_models(study.clients, federated, store)
    }
    for kind in study.baselines:
        trained[kind] = _train_baseline(study, setup, kind)
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
    report.write_report(directory.path, report.predict_command(str(directory.path)))
    return rows


def _positives(study: FindingsStudy, store: ShardStore, client: str) -> dict[str, Any]:
    """What a client's site labels, and how many of its images have it."""
    finding = study.clients.finding_of[study.site_of[client]]
    row: dict[str, Any] = {"finding": finding}
    for split in ("train", "validation", "test"):
        row[f"{split}_positive"] = store.label_counts(client, split)[finding]["present"]
    return row


def _train_baseline(
    study: FindingsStudy, setup: study_lib.Training, kind: str
) -> dict[str, study_lib.Weights]:
    """Trains one model per site ("site") or one for all ("pooled"): weights by site."""
    sites = list(study.clients.finding_of)
    groups = {f"site_{site}": [site] for site in sites}
    if kind == "pooled":
        groups = {"pooled": sites}
    weights: dict[str, study_lib.Weights] = {}
    for name, members in groups.items():
        clients = [client for site in members for client in study.clients.clients_of(site)]
        model = study_lib.train_centralised(setup, name, clients).last[clients[0]]
        weights.update(dict.fromkeys(members, model))
    return weights


def model_builder(
    name: str,
    image_size: int,
    outputs: int,
    weights: str,
    batch_norm: Literal["aggregate", "recompute", "local", "frozen", "group"],
    seed: int,
    precision: str = "float32",
    width: float = 1.0,
) -> Callable[[Literal[None, "representation"]], CxrModel]:
    """`(frozen) -> CxrModel`, always with the same initial weights.

    A weights file is read once, before anything else is done. A model that takes seconds to be
    made is made once: further calls give the same one, with its initial weights again. So callers
    that share it give it the weights that they need before they use it.

    Raises:
      InputError: see `tffcxr.models.build.build`.
    """
    first = models.build(name, image_size, outputs, weights, batch_norm, seed, width=width)
    initial = first.keras.get_weights()
    made: dict[str | None, CxrModel] = {None: first} if precision == "float32" else {}

    def build(frozen: Literal[None, "representation"]) -> CxrModel:
        if frozen not in made:
            made[frozen] = models.build(
                name, image_size, outputs, "none", batch_norm, seed, frozen, precision, width
            )
        made[frozen].keras.set_weights(initial)
        return made[frozen]

    return build
