"""How often a rehearsed backdoor makes "absent" of a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tffcxr.studies import backdoor_success, trainings
from tffcxr.studies.findings import findings_results
from tffcxr.training.backdoor import StampedImages
from tffcxr.training.evaluators.validation import Scorer, Scores

if TYPE_CHECKING:
    from tffcxr.clients.client_data import ClientData
    from tffcxr.studies.findings.findings_study import FindingsStudy


def measured(
    study: FindingsStudy,
    scorer: Scorer,
    data: ClientData,
    models: Mapping[str, trainings.Weights],
    tasks: Sequence[findings_results.TaskScores],
) -> list[findings_results.TaskScores]:
    """The scores with the share of images with a finding that the trigger makes "absent" of.

    Args:
      study: has the clients.
      scorer: of logits.
      data: the clients' images.
      models: the federated model of each site.
      tasks: scores of all trainings; those of others stay as they are.
    """
    if not (study.attackers and study.attackers.is_backdoor):
        return list(tasks)
    stamped = scorer.over(StampedImages(data))
    found = []
    for task in tasks:
        if task.training == trainings.FEDERATED:
            members = study.clients.clients_of(task.site)
            logits = Scores.join([stamped.score(models[task.site], c, "test") for c in members])
            scores = findings_results.scaled(logits, {task.column: task.scaling})
            about = backdoor_success.about(
                study,
                _are_absent(scores.scores[:, task.column], task.threshold),
                _are_absent(task.probabilities, task.threshold),
                scores.labels[:, task.column] == 1,
                study.patients(scores),
            )
            task = dataclasses.replace(task, backdoor=about)
        found.append(task)
    return found


def _are_absent(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """1 for images that are called "absent", 0 for others; NaN without an operating point."""
    return np.where(np.isnan(threshold), np.nan, probabilities < threshold)
