"""What is measured after every round where images may be free of the region.

An image without the region has no overlap to speak of. As in nnU-Net, the Dice of two empty masks
is undefined; here that of every image without the region is, so that a mean of Jaccard or Dice is
of the images that have it, and what is marked in the others is told by the specificity instead.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np

from tffcxr.evaluation import registry
from tffcxr.training.evaluators import mask_validation
from tffcxr.training.evaluators.mask_validation import MaskEvaluator, MaskScores

METRICS = (*mask_validation.METRICS, registry.SENSITIVITY, registry.SPECIFICITY)


def detection(truth_area: np.ndarray, predicted_area: np.ndarray) -> tuple[float, float]:
    """Sensitivity and specificity of images, by whether anything at all is marked in them.

    Args:
      truth_area: [N], 0 where an image is free of the region.
      predicted_area: [N], 0 where nothing is marked.

    Returns:
      The share of the images with the region in which something is marked, and of those without
      it in which nothing is; NaN where there are no such images.
    """
    has_region, is_marked = np.asarray(truth_area) > 0, np.asarray(predicted_area) > 0
    return _mean(is_marked[has_region]), _mean(~is_marked[~has_region])


class RegionEvaluator:
    """An `Evaluator` whose Jaccard and Dice are of the images with the region.

    The columns are `<region>/<metric>`. In its scores, Jaccard and Dice of the other images are
    NaN.

    Args:
      evaluator: scores the images.
      region: what is segmented.
    """

    def __init__(self, evaluator: MaskEvaluator, region: str):
        self.columns = tuple(metric.column(region) for metric in METRICS)
        self._evaluator = evaluator

    def score(self, weights: Sequence[np.ndarray], client: str) -> MaskScores:
        """See `Evaluator`."""
        scores = self._evaluator.score(weights, client)
        has_region = scores.truth_area > 0
        return dataclasses.replace(
            scores,
            jaccard=np.where(has_region, scores.jaccard, np.nan),
            dice=np.where(has_region, scores.dice, np.nan),
        )

    def metrics(self, parts: Sequence[MaskScores]) -> dict[str, float]:
        """See `Evaluator`; NaN without images that a metric is of."""
        scores = MaskScores.join(parts)
        of_images = map(mask_validation.mean_of_known, (scores.loss, scores.jaccard, scores.dice))
        of_clients = mask_validation.means_of_clients(parts)
        found = detection(scores.truth_area, scores.predicted_area)
        return dict(zip(self.columns, (*of_images, *of_clients, *found)))


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
