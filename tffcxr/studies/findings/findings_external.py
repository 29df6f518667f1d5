"""What the models of findings say of images of external sites, which no training and no choice saw.

A training whose models are the same at all sites is measured once, as `save_models` exports it: its
scores are scaled and its operating point is chosen on the validation images of the first site that
labels the finding. So a model has the same sensitivity here and in `evaluate`. Where sites keep
layers to themselves, so that each has a model of its own, each of these is measured, at the
operating point of its site.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from tffcxr.clients.client_data import ClientData
from tffcxr.evaluation import calibration, metrics, result_rows, undefined
from tffcxr.studies import external as external_lib
from tffcxr.studies import trainings
from tffcxr.studies.findings import findings_results
from tffcxr.training.evaluators.validation import Scorer, Scores

if TYPE_CHECKING:
    from tffcxr.studies.findings.findings_results import NetworkResult, Trained
    from tffcxr.studies.findings.findings_study import FindingsStudy


_OPERATING_POINT = (
    "Youden index, chosen on validation images of the model's own site, of the first one where it "
    "has several, as in the exported model"
)


@dataclasses.dataclass(frozen=True)
class _Model:
    """A trained model of a finding.

    Attributes:
      kind: "federated", "site" or "pooled".
      training: "federated" or "pooled"; "site_" with the name of the site whose own model it is; or
        "federated_site_" with that of the site whose own layers the federated model has.
      compared_with: the training that it is tested against; or "".
      homes: the sites that it is the model of; the first one gives its weights, and the validation
        images on which its scores are scaled and its operating point is chosen.
    """

    kind: str
    training: str
    compared_with: str
    homes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ExternalScores:
    """The scores of one model of a finding on the images of an external site.

    Attributes:
      task: the finding and the site.
      site: the external one.
      model: which.
      column: of the finding in the model's outputs.
      images: probabilities.
      threshold: the operating point; NaN if there is none.
      scaling: that the scores of the column have been through.
    """

    task: str
    site: str
    model: _Model
    column: int
    images: Scores
    threshold: float
    scaling: calibration.Scaling

    @property
    def training(self) -> str:
        """See `_Model`."""
        return self.model.training

    @property
    def labels(self) -> np.ndarray:
        """Of the images: float32 [N], NaN unknown."""
        return self.images.labels[:, self.column]

    @property
    def probabilities(self) -> np.ndarray:
        """Of the images: float32 [N]."""
        return self.images.scores[:, self.column]


def score_all(
    study: FindingsStudy, scorer: Scorer, data: ClientData | None, trained: Trained
) -> list[ExternalScores]:
    """Scores the images of every external site with every model of a finding that it labels.

    Args:
      study: has the sites.
      scorer: of the logits of the images of the study's clients.
      data: the images of the external sites; None without any.
      trained: the models.
    """
    if data is None or study.external is None:
        return []
    elsewhere = scorer.over(data)
    # The models of several findings are often the same.
    at_home = functools.cache(
        lambda kind, home, client: scorer.score(trained[kind][home], client, "validation")
    )
    abroad = functools.cache(
        lambda kind, home, site: elsewhere.score(trained[kind][home], site, "test")
    )
    records = study.external.clients.records
    found = []
    for column, finding in enumerate(study.clients.findings):
        sites = [site for site, table in records.items() if table[finding].notna().any()]
        for model in _models(study, trained, finding) if sites else ():
            which = model.kind, model.homes[0]
            members = study.clients.clients_of(model.homes[0])
            own = Scores.join([at_home(*which, client) for client in members])
            with undefined.named(f"{finding}, {model.training} model, to be used elsewhere"):
                scaling, threshold = _chosen(study, own, column)
            for site in sites:
                images = findings_results.scaled(abroad(*which, site), {column: scaling})
                task = f"{finding} at {site}"
                found.append(ExternalScores(task, site, model, column, images, threshold, scaling))
    return found


def _models(study: FindingsStudy, trained: Trained, finding: str) -> Iterator[_Model]:
    homes = tuple(study.clients.labelled_by(finding))
    is_shared = _are_equal([*trained[trainings.FEDERATED].values()])
    federated = {
        home: trainings.FEDERATED
        if is_shared
        else f"{trainings.FEDERATED}_{trainings.site_name(home)}"
        for home in homes
    }
    for kind in trained:
        if kind == trainings.SITE:
            for home in homes:
                name = trainings.site_name(home)
                yield _Model(kind, name, federated[home], (home,))
        elif kind == trainings.FEDERATED and not is_shared:
            for home in homes:
                yield _Model(kind, federated[home], "", (home,))
        else:
            names = set(federated.values())
            against = names.pop() if kind == trainings.POOLED and len(names) == 1 else ""
            yield _Model(kind, kind, against, homes)


def _are_equal(models: Sequence[trainings.Weights]) -> bool:
    """Whether models have the same weights."""
    first, *others = models
    return all(np.array_equal(a, b) for other in others for a, b in zip(first, other))


def _chosen(study: FindingsStudy, own: Scores, column: int) -> tuple[calibration.Scaling, float]:
    """The scaling and the operating point of a model on the logits of its validation images."""
    labels = own.labels[:, column]
    scaling = calibration.fit_finding(labels, own.scores[:, column], study.settings.calibration)
    probabilities = findings_results.scaled(own, {column: scaling}).scores[:, column]
    return scaling, metrics.operating_point(labels, probabilities)


def metric_rows(study: FindingsStudy, result: NetworkResult) -> list[dict[str, Any]]:
    """The rows of `metrics.json` of one network on the images of external sites.

    A site's own model and the pooled one are tested against the federated one: `p_ttest_federated`
    and `p_delong_federated`.
    """
    by_training = {(of.task, of.training): of for of in result.external}
    rows = []
    unknown = undefined.Gathered()
    for of in result.external:
        model = of.model
        against = by_training.get((of.task, model.compared_with))
        with unknown.about(of.task):
            row = result_rows.result_row(
                of.task,
                result.name,
                model.training,
                result_rows.EXTERNAL,
                of.labels,
                of.probabilities,
                of.threshold,
                operating_point=_OPERATING_POINT,
                further_baselines=(
                    None if against is None else {trainings.FEDERATED: against.probabilities}
                ),
                groups=external_lib.patients(study, of.site, of.images.rows),
                replicates=study.settings.replicates,
                seed=study.settings.seed,
                client=of.site,
                own_sites=", ".join(model.homes),
                **of.scaling.about(),
                **result.rounds[model.kind][model.homes[0]],
            )
        rows.append(row)
    unknown.tell()
    return rows
