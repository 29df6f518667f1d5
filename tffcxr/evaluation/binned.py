"""Scores of many images as counts in bins, so that hospitals can be measured together.

A hospital halves the interval from 0 to 1, and each half again, as long as both halves hold enough
images, or none. What it tells are the numbers of positive and negative images in each bin. Two
hospitals' bins are nested, so the coarser of the two hold for both.
"""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np

_MOST_HALVINGS = 10
# Low end, high end, positive images, negative images.
Bin = tuple[float, float, int, int]


def bins(labels: np.ndarray, scores: np.ndarray, smallest_count: int) -> list[Bin]:
    """Counts images by their scores.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      scores: [N], probabilities.
      smallest_count: of images in a bin that is not empty.

    Returns:
      Bins from 0 to 1 without a gap; none if all images together are too few.
    """
    known = ~np.isnan(labels)
    positive, scores = labels[known] == 1, scores[known]
    if len(scores) < smallest_count:
        return []
    return _halved(0.0, 1.0, positive, scores, smallest_count, _MOST_HALVINGS)


def pooled(of_hospitals: Sequence[Sequence[Bin]]) -> list[Bin]:
    """The counts of several hospitals in the finest bins that all of them have.

    Raises:
      ValueError: these are no bins from 0 to 1.
    """
    for found in of_hospitals:
        _check(found)
    edges = set.intersection(*({low for low, *_ in found} | {1.0} for found in of_hospitals))
    ordered = sorted(edges)
    together = [each for found in of_hospitals for each in found]
    return [
        (
            low,
            high,
            sum(positive for start, _, positive, _ in together if low <= start < high),
            sum(negative for start, _, _, negative in together if low <= start < high),
        )
        for low, high in zip(ordered, ordered[1:])
    ]


def auroc(found: Sequence[Bin]) -> float:
    """The AUROC if all images of a bin had the same score.

    NaN without both classes, and where one bin has all images: every pair of them is then a tie,
    and the 0.5 of that is not the models'.

    With p and n images of the classes in the bins, in the order of the scores, that is
    `sum(p_i * (sum_{j<i} n_j + n_i / 2)) / (sum p * sum n)`, the statistic of Mann and Whitney
    with ties counted as a half.
    """
    positive = np.array([each[2] for each in found], float)
    negative = np.array([each[3] for each in found], float)
    pairs = positive.sum() * negative.sum()
    if not pairs or np.count_nonzero(positive + negative) < 2:
        return math.nan
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below / pairs)


def _halved(
    low: float,
    high: float,
    positive: np.ndarray,
    scores: np.ndarray,
    smallest_count: int,
    halvings: int,
) -> list[Bin]:
    middle = (low + high) / 2
    is_low = scores < middle
    sizes = int(is_low.sum()), int((~is_low).sum())
    if not halvings or any(0 < size < smallest_count for size in sizes) or not max(sizes):
        return [(low, high, int(positive.sum()), int((~positive).sum()))]
    return [
        *_halved(low, middle, positive[is_low], scores[is_low], smallest_count, halvings - 1),
        *_halved(middle, high, positive[~is_low], scores[~is_low], smallest_count, halvings - 1),
    ]


def _check(found: Sequence[Bin]) -> None:
    ends = [0.0, *(each[1] for each in found)]
    counts = [count for each in found for count in each[2:]]
    if (
        not found
        or any(each[0] != end or not each[0] < each[1] for each, end in zip(found, ends))
        or ends[-1] != 1.0
        or any(type(count) is not int or count < 0 for count in counts)
    ):
        raise ValueError("expected bins from 0 to 1 with counts, found other values")
