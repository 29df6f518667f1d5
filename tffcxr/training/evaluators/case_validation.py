"""What is measured after every round where tasks differ by client and cases are volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tffcxr.evaluation import case_overlap, registry
from tffcxr.training.evaluators.mask_validation import MaskEvaluator, MaskScores, mean_of_known

METRICS = (registry.LOSS, registry.DICE, registry.OVERLAP, registry.BOUNDARY_OVERLAP)
# From the slices that were scored to the case of each, object [N].
CasesOf = Callable[[MaskScores], np.ndarray]


def score_cases(scores: MaskScores, cases_of: CasesOf) -> case_overlap.CaseScores:
    """Puts the slices of each case together."""
    return case_overlap.case_scores(
        cases_of(scores),
        scores.truth_area,
        scores.predicted_area,
        scores.common_area,
        scores.boxed_area,
        scores.boundary,
        scores.boxed_boundary,
    )


class CaseEvaluator:
    """An `Evaluator` of each task's loss, and of the Dice and overlaps with boxes of its cases.

    The columns are `<task>/<metric>`: the mean of the loss over slices, of the others over cases.

    Args:
      evaluator: scores the slices.
      task_of: client id to its task.
      cases_of: gives the case of each slice.
    """

    def __init__(self, evaluator: MaskEvaluator, task_of: Mapping[str, str], cases_of: CasesOf):
        self._tasks = tuple(dict.fromkeys(task_of.values()))
        self.columns = tuple(metric.column(task) for task in self._tasks for metric in METRICS)
        self._evaluator = evaluator
        self._task_of = dict(task_of)
        self._cases_of = cases_of

    def score(self, weights: Sequence[np.ndarray], client: str) -> MaskScores:
        """See `Evaluator`."""
        return self._evaluator.score(weights, client)

    def metrics(self, parts: Sequence[MaskScores]) -> dict[str, float]:
        """See `Evaluator`; NaN for a task without any image or, in the overlaps, any region."""
        values = {}
        for task in self._tasks:
            # The clients of a part are all one client.
            mine = [
                part
                for part in parts
                if len(part.clients) and self._task_of[part.clients[0]] == task
            ]
            measured = {metric: float("nan") for metric in METRICS}
            if mine:
                scores = MaskScores.join(mine)
                found = score_cases(scores, self._cases_of)
                measured[registry.LOSS] = float(scores.loss.mean())
                measured[registry.DICE] = float(found.dice.mean())
                measured[registry.OVERLAP] = mean_of_known(found.overlap)
                measured[registry.BOUNDARY_OVERLAP] = mean_of_known(found.boundary_overlap)
            values.update({metric.column(task): value for metric, value in measured.items()})
        return values
