"""Heat of every model over all images that it calls positive, at its own and at other hospitals.

At the hospital whose finding it is, these are the true positives. At another hospital, which does
not label the finding, they are all images that reach the model's operating point, right or wrong:
heat there says whether the model looks at lungs, not whether it finds the disease.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import functools
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from tffcxr.clients.client_data import ClientData
from tffcxr.explanation import gradcam
from tffcxr.studies import heat_tables
from tffcxr.studies.findings import findings_explanations, findings_results
from tffcxr.training.evaluators.validation import Scorer, Scores

if TYPE_CHECKING:
    from tffcxr.studies.findings.findings_results import NetworkResult, TaskScores
    from tffcxr.studies.findings.findings_study import FindingsStudy


def write(
    directory: pathlib.Path,
    study: FindingsStudy,
    results: Sequence[NetworkResult],
    data: ClientData,
) -> None:
    """Writes `heat_images.csv` and `heat.csv`.

    Args:
      directory: the run's.
      study: with the lungs of test images in its records, where they are known.
      results: every network.
      data: the test images.
    """
    regions = heat_tables.RegionReader(
        study.read_region,
        lambda image: findings_explanations.regions_of(
            study.clients.records[image[0]].iloc[image[1]]
        ),
    )
    scorers = {result.name: _Scorer(study, result, data) for result in results}
    gradients = {
        result.name: gradcam.compiled_gradients(result.model.keras, result.model.gradcam_layer)
        for result in results
    }
    jobs = [
        heat_tables.Job(
            group,
            functools.partial(_heat, result, gradients[result.name], task, group, data),
            # What another site outlines is another finding.
            ("lungs",) if group.cases == heat_tables.CALLED_POSITIVE else ("lungs", "annotation"),
        )
        for result in results
        for task in result.scores
        if task.training in result.trained
        for group in _groups(study, scorers[result.name], result, task)
    ]
    heat_tables.write(directory, heat_tables.measure_all(jobs, regions), study.settings)


def _groups(
    study: FindingsStudy, scorer: _Scorer, result: NetworkResult, task: TaskScores
) -> Iterator[heat_tables.Group]:
    """Yields the images of every site that a model of one site's finding calls positive."""
    sites = [task.site, *(site for site in study.clients.findings_of if site != task.site)]
    for site in sites:
        if site == task.site:
            scored = task.test
        else:
            logits = scorer.logits(task.training, task.site, site)
            scored = findings_results.scaled(logits, {task.column: task.scaling})
        labels, scores = scored.labels[:, task.column], scored.scores[:, task.column]
        is_labelled = site == task.site or bool(np.isfinite(labels).any())
        hits = scores >= task.threshold
        if is_labelled:
            hits &= labels == 1
        places = np.flatnonzero(hits)
        yield heat_tables.Group(
            task.task,
            result.name,
            task.training,
            site,
            heat_tables.TRUE_POSITIVES if is_labelled else heat_tables.CALLED_POSITIVE,
            [(str(scored.clients[place]), int(scored.rows[place])) for place in places],
            scores[places],
            study.patients(scored)[places],
        )


class _Scorer:
    """Scores the test images of other sites, once for all findings of a model."""

    def __init__(self, study: FindingsStudy, result: NetworkResult, data: ClientData) -> None:
        self._study = study
        self._result = result
        self._scorer = Scorer(result.model.keras, data)
        self._known: dict[tuple[str, str, str], Scores] = {}

    def logits(self, training: str, home: str, site: str) -> Scores:
        """What a site's model says of the images of another site."""
        key = training, home, site
        if key not in self._known:
            weights = self._result.trained[training][home]
            members = self._study.clients.clients_of(site)
            self._known[key] = Scores.join(
                [self._scorer.score(weights, client, "test") for client in members]
            )
        return self._known[key]


def _heat(
    result: NetworkResult,
    gradients: gradcam.Gradients,
    task: TaskScores,
    group: heat_tables.Group,
    data: ClientData,
) -> Iterator[tuple[heat_tables.Image, np.ndarray]]:
    """Yields the images of a group with their heat maps, float32 [S, S]."""
    model = result.model
    model.keras.set_weights(result.trained[task.training][task.site])
    return heat_tables.explain(
        lambda client: data.evaluation_dataset(client, "test"),
        group.images,
        lambda pixels: gradcam.grad_cam(
            model.keras, model.gradcam_layer, pixels, task.column, gradients=gradients
        ),
    )
