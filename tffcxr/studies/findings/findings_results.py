"""From trained weights to scores, predictions, the rows of `metrics.json` and model files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.clients.shards.preparation import ShardStore
from tffcxr.clients.sites import ClientRecords
from tffcxr.datasets.imaging.likeness import Likeness
from tffcxr.evaluation import binned, calibration, metrics, result_rows, undefined
from tffcxr.hospitals import member
from tffcxr.models import blocks
from tffcxr.models.files import export, multi_task
from tffcxr.studies import trainings
from tffcxr.training.evaluators.validation import Scorer, Scores

if TYPE_CHECKING:
    from tffcxr.studies.findings.findings_external import ExternalScores
    from tffcxr.studies.findings.findings_study import FindingsStudy

# Kind of training -> site -> weights in the order of `model.weights`.
Trained = Mapping[str, Mapping[str, trainings.Weights]]
MULTI_TASK = "multi_task"  # The name of the exported model.


@dataclasses.dataclass(frozen=True)
class TaskScores:
    """The scores of one kind of training on one site's images.

    Attributes:
      task: the finding, with the site's name if several sites label it.
      finding: without the site's name.
      site: whose images these are.
      training: "federated", "site", "pooled", or "site_" with the name of another site, whose own
        model this is.
      column: of the finding in the model's outputs.
      validation: scores on validation images, probabilities.
      test: scores on test images.
      threshold: the operating point, chosen on the validation images of the site that the model is
        of; NaN if there is none.
      scaling: that the scores of the column have been through, fitted on the same images.
      backdoor: what `metrics.json` says of a rehearsed backdoor; empty without one.
    """

    task: str
    finding: str
    site: str
    training: str
    column: int
    validation: Scores
    test: Scores
    threshold: float
    scaling: calibration.Scaling = calibration.Scaling()
    backdoor: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def split(self, name: str) -> Scores:
        """The scores on "validation" or "test"."""
        return {"validation": self.validation, "test": self.test}[name]

    @property
    def labels(self) -> np.ndarray:
        """Of the test images: float32 [N], NaN unknown."""
        return self.test.labels[:, self.column]

    @property
    def probabilities(self) -> np.ndarray:
        """Of the test images: float32 [N]."""
        return self.test.scores[:, self.column]


@dataclasses.dataclass(frozen=True)
class NetworkResult:
    """One network with all its trainings and scores.

    Attributes:
      name: of the network.
      model: in float32; its weights change.
      trained: its weights.
      scores: of every site's images.
      rounds: by kind of training and site: what `metrics.json` says of its rounds.
      external: scores of the images of external sites.
    """

    name: str
    model: blocks.CxrModel
    trained: Trained
    scores: Sequence[TaskScores]
    rounds: Mapping[str, Mapping[str, Mapping[str, Any]]]
    external: Sequence[ExternalScores] = ()

    def rounds_of(self, task: TaskScores) -> Mapping[str, Any]:
        """What `metrics.json` says of the rounds of the model that a task was scored with."""
        if task.training in self.rounds:
            return self.rounds[task.training][task.site]
        return self.rounds[trainings.SITE][task.training.removeprefix(trainings.site_name(""))]


def score_all(study: FindingsStudy, scorer: Scorer, trained: Trained) -> list[TaskScores]:
    """Scores the validation and test images of every site with every model."""
    found = [
        task
        for training, weights in trained.items()
        for site, findings in study.clients.findings_of.items()
        for task in _score(study, scorer, training, site, findings, weights[site])
    ]
    if study.elsewhere and trainings.SITE in trained:
        found += _score_elsewhere(study, scorer, trained[trainings.SITE], found)
    return found


def _score(
    study: FindingsStudy,
    scorer: Scorer,
    training: str,
    site: str,
    findings: Sequence[str],
    weights: trainings.Weights,
    home: Mapping[str, TaskScores] | None = None,
) -> list[TaskScores]:
    """Scores a site's images with its model, or with that of another site; an item per finding.

    Scaling and operating point are chosen for each finding on the validation images of the model's
    own site, those of all of its clients together; see `calibration` on what clients would send.

    Args:
      study: has the clients.
      scorer: of logits.
      training: see `TaskScores`.
      site: whose images are scored.
      findings: some of those that the site labels.
      weights: of the model.
      home: by finding, what the model says of its own site's images, if these are others.
    """
    columns = {finding: study.clients.findings.index(finding) for finding in findings}
    members = study.clients.clients_of(site)
    by_split = {
        split: Scores.join([scorer.score(weights, client, split) for client in members])
        for split in ("validation", "test")
    }
    own = by_split["validation"]
    scalings = {
        finding: calibration.fit_finding(
            own.labels[:, column], own.scores[:, column], study.settings.calibration
        )
        if home is None
        else home[finding].scaling
        for finding, column in columns.items()
    }
    validation, test = (
        scaled(scores, {columns[finding]: scaling for finding, scaling in scalings.items()})
        for scores in by_split.values()
    )
    thresholds = {}
    for finding, column in columns.items():
        if home is not None:
            thresholds[finding] = home[finding].threshold
            continue
        with undefined.named(f"{finding} at {site}, {training} model"):
            labels, scores = own.labels[:, column], validation.scores[:, column]
            thresholds[finding] = metrics.operating_point(labels, scores)
    return [
        TaskScores(
            task_name(study.clients, site, finding),
            finding,
            site,
            training,
            column,
            validation,
            test,
            thresholds[finding],
            scalings[finding],
        )
        for finding, column in columns.items()
    ]


def scaled(logits: Scores, scalings: Mapping[int, calibration.Scaling]) -> Scores:
    """The probabilities of logits, each column scaled on its own.

    Args:
      logits: of all outputs.
      scalings: by column; others stay as they are.
    """
    scores = logits.scores.copy()
    for column, scaling in scalings.items():
        scores[:, column] = scaling.apply(scores[:, column])
    return dataclasses.replace(logits, scores=scores).as_probabilities()


def _score_elsewhere(
    study: FindingsStudy,
    scorer: Scorer,
    own: Mapping[str, trainings.Weights],
    found: Sequence[TaskScores],
) -> list[TaskScores]:
    """Every site's own model on the images of the other sites that label the same findings."""
    findings_of = study.clients.findings_of
    at_home: dict[str, dict[str, TaskScores]] = {site: {} for site in findings_of}
    for task in found:
        if task.training == trainings.SITE:
            at_home[task.site][task.finding] = task
    return [
        task
        for site in findings_of
        for home in findings_of
        for both in [[name for name in findings_of[site] if name in findings_of[home]]]
        if home != site and both
        for task in _score(
            study, scorer, trainings.site_name(home), site, both, own[home], at_home[home]
        )
    ]


def task_name(clients: ClientRecords, site: str, finding: str) -> str:
    """The finding of a site; with the site's name where another site labels it too."""
    alone = clients.labelled_by(finding) == [site]
    return finding if alone else f"{finding} at {site}"


def write_predictions(directory: pathlib.Path, results: Sequence[NetworkResult]) -> None:
    """Writes `predictions.csv`: a row per model and image, without any patient's id."""
    parts = []
    for result in results:
        of_splits: list[tuple[TaskScores | ExternalScores, str, Scores]] = [
            (task, split, task.split(split))
            for task in result.scores
            for split in ("validation", "test")
        ]
        for task, split, images in [
            *of_splits,
            *((of, result_rows.EXTERNAL, of.images) for of in result.external),
        ]:
            columns = {
                "task": task.task,
                "training": task.training,
                "client": images.clients,
                "split": split,
                "row": images.rows,
                "label": images.labels[:, task.column],
                "score": images.scores[:, task.column],
            }
            part = pd.DataFrame(columns)
            if len(results) > 1:
                part.insert(1, "model", result.name)
            parts.append(part)
    run_tables.PREDICTIONS.write(directory, pd.concat(parts, ignore_index=True))


def metric_rows(study: FindingsStudy, result: NetworkResult) -> list[dict[str, Any]]:
    """The rows of `metrics.json` of one network, on test images.

    The federated model is compared with the site's own model and with the pooled one, those of
    them that were trained. `p_ttest` and `p_delong` are of the first of these, the `baseline`;
    `p_ttest_pooled` and `p_delong_pooled` are of the pooled model in any case.
    """
    by_key = {(task.training, task.task): task for task in result.scores}
    rows = []
    unknown = undefined.Gathered()
    for task in result.scores:
        references: dict[str, np.ndarray] = {}
        if task.training == trainings.FEDERATED:
            references = {
                training: by_key[training, task.task].probabilities
                for training in (trainings.SITE, trainings.POOLED)
                if (training, task.task) in by_key
            }
        baseline = next(iter(references), None)
        further = {name: of for name, of in references.items() if name == trainings.POOLED}
        with unknown.about(task.task):
            row = result_rows.result_row(
                task.task,
                result.name,
                task.training,
                "test",
                task.labels,
                task.probabilities,
                task.threshold,
                baseline_scores=references[baseline] if baseline else None,
                baseline=baseline or "none",
                further_baselines=further,
                groups=study.patients(task.test),
                replicates=study.settings.replicates,
                seed=study.settings.seed,
                client=task.site,
                **task.scaling.about(),
                **result.rounds_of(task),
                **_binned(study, task),
                **task.backdoor,
            )
        rows.append(row)
    unknown.tell()
    return rows


def _binned(study: FindingsStudy, task: TaskScores) -> dict[str, Any]:
    """Counts of the scores, by which hospitals with the same finding are measured together."""
    if not isinstance(study.settings.federation, member.Member):
        return {}
    least = study.settings.federation.smallest_count
    return {"binned": binned.bins(task.labels, task.probabilities, least)}


def site_models(
    clients: ClientRecords, weights: Mapping[str, Sequence[np.ndarray]], store: ShardStore
) -> dict[str, list[np.ndarray]]:
    """One model per site out of its clients' models, weighted by training images.

    The clients of a site share their representation block, so only task blocks differ; these are
    linear, so the mean block gives the mean of the clients' logits.

    Args:
      clients: who belongs to which site.
      weights: client -> weights in the order of `model.weights`.
      store: has the number of training images.
    """
    models = {}
    for site in clients.findings_of:
        members = clients.clients_of(site)
        sizes = [store.count(client, "train") for client in members]
        together = zip(*(weights[client] for client in members))
        models[site] = [
            np.average(np.stack(w), axis=0, weights=sizes).astype(w[0].dtype) for w in together
        ]
    return models


def save_shared(
    directory: pathlib.Path,
    study: FindingsStudy,
    name: str,
    model: blocks.CxrModel,
    trained: trainings.Trained,
) -> None:
    """Writes what the coordinator of hospitals has of a network, for `--weights=FILE`.

    That is `models/federated.h5`, or with the network's name where there are several. Task blocks
    that hospitals keep to themselves stand in it as they began.
    """
    suffix = f"_{name}" if study.several else ""
    weights = next(iter(trained.reported.values()))
    (directory / "models").mkdir(exist_ok=True)
    path = directory / "models" / f"{trainings.FEDERATED}{suffix}.h5"
    trainings.save_weights(model.keras, weights, path)


def save_models(
    directory: pathlib.Path,
    study: FindingsStudy,
    result: NetworkResult,
    likeness: Likeness | None = None,
) -> None:
    """Writes every site's weights, and the multi-task model of the federation.

    `models/<training>_<site>.h5` are for `--weights=FILE`; `models/multi_task.keras` is what
    `export.load` reads. Where there are several networks, their names follow. The scaling of
    scores is part of the task blocks of the latter alone.
    """
    folder = directory / "models"
    folder.mkdir(exist_ok=True)
    model, suffix = result.model, f"_{result.name}" if study.several else ""
    for training, by_site in result.trained.items():
        for site, weights in by_site.items():
            path = folder / f"{training}_{site}{suffix}.h5"
            trainings.save_weights(model.keras, weights, path)
    heads, trunks = {}, {}
    tasks: dict[str, TaskScores] = {}  # of each finding, at the first site that labels it
    for task in result.scores:
        if task.training == trainings.FEDERATED:
            tasks.setdefault(task.finding, task)
    columns = {finding: task.site for finding, task in tasks.items()}
    is_local = study.plans[result.name].model.batch_norm == "local"
    for site in dict.fromkeys(columns.values()):
        model.keras.set_weights(result.trained[trainings.FEDERATED][site])
        kernel, bias = blocks.get_weights(model.keras, model.task)
        for finding, task in tasks.items():
            if task.site == site:
                column = slice(task.column, task.column + 1)
                heads[finding] = task.scaling.fold(kernel[:, column], bias[column])
        if is_local:
            trunks[site] = blocks.get_weights(model.keras, model.representation)
    joined = multi_task.multi_task_model(model, heads, columns, trunks)
    about = study.about_model(
        tuple(columns),
        result.name,
        1 + list(study.plans).index(result.name),
        gradcam_layers=multi_task.gradcam_layers(model, columns, trunks),
        operating_points={finding: task.threshold for finding, task in tasks.items()},
        calibration={finding: task.scaling.about() for finding, task in tasks.items()},
    )
    exported = export.Exported(joined, about, likeness)
    export.save(folder / f"{MULTI_TASK}{suffix}.keras", exported)
