"""What is measured after every round of a model of classes: loss and accuracy."""

from __future__ import annotations

from collections.abc import Sequence
import warnings

import numpy as np

from tffcxr.evaluation import class_metrics, registry
from tffcxr.training.evaluators.validation import Scorer, Scores

METRICS = (registry.LOSS, registry.ACCURACY)


class ClassEvaluator:
    """An `Evaluator` of cross-entropy and accuracy, as `<task>/<metric>`.

    Args:
      scorer: of images whose labels are the classes, to logarithms of their probabilities.
      task: what the columns are called by.
      split: the images to measure on.
    """

    def __init__(self, scorer: Scorer, task: str, split: str):
        self.columns = tuple(metric.column(task) for metric in METRICS)
        self._scorer = scorer
        self._split = split

    def score(self, weights: Sequence[np.ndarray], client: str) -> Scores:
        """See `Evaluator`; the scores are logarithms of probabilities."""
        return self._scorer.score(weights, client, self._split)

    def metrics(self, parts: Sequence[Scores]) -> dict[str, float]:
        """See `Evaluator`; NaN without any image."""
        scores = Scores.join(parts)
        truth = class_metrics.true_classes(scores.labels)
        with warnings.catch_warnings():
            # The final tables warn of an undefined metric; once per round would be noise.
            warnings.simplefilter("ignore")
            matrix = class_metrics.confusion(truth, scores.scores)
        values = class_metrics.cross_entropy(truth, scores.scores), class_metrics.accuracy(matrix)
        return dict(zip(self.columns, values))
