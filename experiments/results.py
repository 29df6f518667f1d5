"""From trained weights to scores, predictions, the rows of `metrics.json` and model files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments import study as study_lib
from experiments.sites import ClientRecords
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards import ShardStore
from tffcxr.evaluation import metrics, tables
from tffcxr.files import write_table
from tffcxr.training.validation import Scorer, Scores

if TYPE_CHECKING:
    from experiments.classification import FindingsStudy

# Kind of training -> site -> weights in the order of `model.weights`.
Trained = Mapping[str, Mapping[str, Sequence[np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class TaskScores:
    """What one kind of training says of one site's images.

    Attributes:
      task: the finding, with the site's name if several sites label it.
      site: whose images these are.
      training: "federated", "site" or "pooled".
      column: of the finding in the model's outputs.
      validation: scores on validation images.
      test: scores on test images.
      threshold: the operating point, chosen on the validation images; NaN if there is none.
    """

    task: str
    site: str
    training: str
    column: int
    validation: Scores
    test: Scores
    threshold: float

    def split(self, name: str) -> Scores:
        """The scores on "validation" or "test"."""
        return {"validation": self.validation, "test": self.test}[name]


def score_all(
    study: FindingsStudy, data: ClientData, model: Any, trained: Trained
) -> list[TaskScores]:
    """Scores the validation and test images of every site with every model."""
    scorer = Scorer(model, data)
    found = []
    for training, weights in trained.items():
        for site, finding in study.clients.finding_of.items():
            column = study.clients.findings.index(finding)
            by_split = {
                split: Scores.join(
                    [
                        scorer.score(weights[site], client, split)
                        for client in study.clients.clients_of(site)
                    ]
                )
                for split in ("validation", "test")
            }
            validation = by_split["validation"]
            threshold = metrics.operating_point(
                validation.labels[:, column], validation.scores[:, column]
            )
            task = task_name(study.clients, site)
            found.append(
                TaskScores(task, site, training, column, validation, by_split["test"], threshold)
            )
    return found


def task_name(clients: ClientRecords, site: str) -> str:
    """The site's finding; with the site's name where another site labels the same finding."""
    finding = clients.finding_of[site]
    alone = list(clients.finding_of.values()).count(finding) == 1
    return finding if alone else f"{finding} at {site}"


def write_predictions(directory: pathlib.Path, scores: Sequence[TaskScores]) -> None:
    """Writes `predictions.csv`: a row per model and image, without any patient's id."""
    parts = []
    for task in scores:
        for split in ("validation", "test"):
            images = task.split(split)
            part = pd.DataFrame(
                {
                    "task": task.task,
                    "training": task.training,
                    "client": images.clients,
                    "split": split,
                    "row": images.rows,
                    "label": images.labels[:, task.column],
                    "score": images.scores[:, task.column],
                }
            )
            parts.append(part)
    write_table(directory / "predictions.csv", pd.concat(parts, ignore_index=True))


def metric_rows(study: FindingsStudy, scores: Sequence[TaskScores]) -> list[dict[str, Any]]:
    """The rows of `metrics.json`, on test images.

    The federated model is compared with the site's own model and with the pooled one, those of
    them that were trained. `p_ttest` and `p_delong` are of the first of these, the `baseline`;
    `p_ttest_pooled` and `p_delong_pooled` are of the pooled model in any case.
    """
    by_key = {(task.training, task.task): task for task in scores}
    rows = []
    for task in scores:
        test, references = task.test, {}
        if task.training == "federated":
            references = {
                training: by_key[training, task.task].test.scores[:, task.column]
                for training in ("site", "pooled")
                if (training, task.task) in by_key
            }
        baseline = next(iter(references), None)
        rows.append(
            tables.result_row(
                task.task,
                study.model,
                task.training,
                "test",
                test.labels[:, task.column],
                test.scores[:, task.column],
                task.threshold,
                baseline_scores=references[baseline] if baseline else None,
                baseline=baseline or "none",
                further_baselines={k: v for k, v in references.items() if k == "pooled"},
                groups=study.patients(test),
                replicates=study.replicates,
                seed=study.seed,
                client=task.site,
            )
        )
    return rows


def site_models(
    clients: ClientRecords, weights: Mapping[str, Sequence[np.ndarray]], store: ShardStore
) -> dict[str, list[np.ndarray]]:
    """One model per site out of its clients' models, weighted by training images.

    The clients of a site share their representation block, so only task blocks differ; these are
    linear, so the mean block gives the mean of the clients' logits.

    Args:
      clients: who belongs to which site.
      weights: client -> weights in the order of `model.weights`.
      store: tells the number of training images.
    """
    models = {}
    for site in clients.finding_of:
        members = clients.clients_of(site)
        sizes = [store.count(client, "train") for client in members]
        together = zip(*(weights[client] for client in members))
        models[site] = [
            np.average(np.stack(w), axis=0, weights=sizes).astype(w[0].dtype) for w in together
        ]
    return models


def save_models(
    directory: pathlib.Path,
    study: FindingsStudy,
    model: Any,
    trained: Trained,
    scores: Sequence[TaskScores],
) -> None:
    """Writes every site's weights, and the multi-task model of the federation.

    `models/<training>_<site>.h5` are what `--weights=FILE` loads;
    `models/multi_task.keras` is what `//experiments:predict` reads.
    """
    from tffcxr.models import export

    folder = directory / "models"
    folder.mkdir(exist_ok=True)
    for training, by_site in trained.items():
        for site, weights in by_site.items():
            study_lib.save_weights(model.keras, weights, folder / f"{training}_{site}.h5")
    heads, trunks = {}, {}
    columns: dict[str, str] = {}
    for site, finding in study.clients.finding_of.items():
        columns.setdefault(finding, site)
        model.keras.set_weights(trained["federated"][site])
        heads[site] = _block(model, model.task)
        if study.plan.batch_norm == "local":
            trunks[site] = _block(model, model.representation)
    joined = export.multi_task_model(model, heads, columns, trunks)
    metadata = export.Metadata(
        findings=tuple(columns),
        image_size=study.image_size,
        fit=study.fit,
        gradcam_layers=export.gradcam_layers(model, columns, trunks),
        operating_points={
            study.clients.finding_of[task.site]: task.threshold
            for task in reversed(scores)
            if task.training == "federated"
        },
    )
    export.save(folder / "multi_task.keras", export.Exported(joined, metadata))


def _block(model: Any, layers: Sequence[str]) -> list[np.ndarray]:
    from tffcxr.models.blocks import get_weights

    return get_weights(model.keras, layers)
