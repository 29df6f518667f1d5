"""How well a model does in groups of patients, such as women and men, and how far these differ.

L. Seyyed-Kalantari et al., "Underdiagnosis bias of artificial intelligence algorithms applied to
chest radiographs in under-served patient populations", Nature Medicine 27, 2021, measure groups by
sex, age and others at one operating point, as here. The best and the worst of several groups differ
by chance, too; the more so, the more groups there are and the smaller they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any
import warnings

import numpy as np
from sklearn import exceptions
from sklearn import metrics as sklearn_metrics

from tffcxr.evaluation import bootstrap, inputs
from tffcxr.evaluation.mean_interval import Mean, bootstrap_means
from tffcxr.evaluation.proportion_interval import proportion_interval

# Groups with fewer positive or negative images, or of masks with fewer images, are not compared.
LEAST = 10
_UNDEFINED = Mean(math.nan, math.nan, math.nan)


@dataclasses.dataclass(frozen=True)
class Group:
    """One group of images with a known label.

    Attributes:
      name: of the group.
      images: how many.
      patients: of the images.
      positives: images with the finding.
      is_small: whether it has fewer than `LEAST` positive or negative images.
      auroc: with its interval; NaN with one class only.
      gap: by how much that of the best group is higher, with its interval; NaN for the best group
        itself, and for those that are too small.
      sensitivity: at the operating point; NaN without a positive image.
      specificity: likewise.
    """

    name: str
    images: int
    patients: int
    positives: int
    is_small: bool
    auroc: Mean
    gap: Mean
    sensitivity: Mean
    specificity: Mean


@dataclasses.dataclass(frozen=True)
class MeanGroup:
    """One group of images or cases that have values, such as the Dice of their masks.

    Attributes:
      name: of the group.
      images: how many, or how many cases.
      patients: of these.
      is_small: whether fewer than `LEAST` have a value of each metric.
      means: by metric, with their intervals.
      gaps: by metric, as in `Group`.
    """

    name: str
    images: int
    patients: int
    is_small: bool
    means: Mapping[str, Mean]
    gaps: Mapping[str, Mean]


def compare(
    names: np.ndarray,
    order: Sequence[str],
    labels: np.ndarray,
    scores: np.ndarray,
    called: np.ndarray | None,
    patients: np.ndarray,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Group]:
    """Measures a model in every group.

    The AUROCs of two groups are resampled apart from each other. Where patients have images in
    both, the interval of the gap is a little too wide.

    Args:
      names: object [N], the group of each image.
      order: the groups, in the order of the result; those without images are left out.
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      scores: [N], higher = more likely present.
      called: bool [N], which images are called positive; None without an operating point.
      patients: [N], of the images.
      replicates: number of bootstrap resamples.
      level: coverage of the intervals.
      seed: the same seed gives the same intervals.
    """
    labels = np.asarray(labels, float)
    options: Any = {"replicates": replicates, "level": level, "seed": seed}
    groups, resampled = [], []
    with warnings.catch_warnings():
        # Small groups lack much, and are marked as such.
        warnings.simplefilter("ignore", exceptions.UndefinedMetricWarning)
        for number, name in enumerate(order):
            mine = (names == name) & ~np.isnan(labels)
            if not mine.any():
                continue
            data = inputs.known(labels[mine], [scores[mine]], patients[mine])
            found = bootstrap.bootstrap_aurocs(data, replicates, seed + number)
            areas = None if found is None else found[0]
            is_positive = labels[mine] == 1
            of_class = {
                wanted: proportion_interval(
                    called[mine][is_positive == wanted] == wanted,
                    patients[mine][is_positive == wanted],
                    **options,
                )
                if called is not None and (is_positive == wanted).any()
                else _UNDEFINED
                for wanted in (True, False)
            }
            positives = int(is_positive.sum())
            groups.append(
                Group(
                    name=name,
                    images=is_positive.size,
                    patients=int(np.unique(data.groups).size),
                    positives=positives,
                    is_small=min(positives, is_positive.size - positives) < LEAST,
                    auroc=_auroc(data, areas, level),
                    gap=_UNDEFINED,
                    sensitivity=of_class[True],
                    specificity=of_class[False],
                )
            )
            resampled.append(areas)
    gaps = _gaps([group.auroc for group in groups], [g.is_small for g in groups], resampled, level)
    return [dataclasses.replace(group, gap=gap) for group, gap in zip(groups, gaps)]


def compare_means(
    names: np.ndarray,
    order: Sequence[str],
    values: Mapping[str, np.ndarray],
    patients: np.ndarray,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[MeanGroup]:
    """Measures in every group a model whose metrics are means over images or cases.

    Args:
      names: object [N], the group of each image.
      order: the groups, in the order of the result; those without any value are left out.
      values: by metric: [N], higher is better; NaN where an image has none, and is left out.
      patients: [N], of the images.
      replicates: number of bootstrap resamples.
      level: coverage of the intervals.
      seed: the same seed gives the same intervals.
    """
    has_value = ~np.isnan(np.stack([np.asarray(each, float) for each in values.values()]))
    groups: list[MeanGroup] = []
    resampled: dict[str, list[np.ndarray | None]] = {metric: [] for metric in values}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.UndefinedMetricWarning)
        for number, name in enumerate(order):
            mine = (names == name) & has_value.any(axis=0)
            if not mine.any():
                continue
            means = {}
            for metric, each in values.items():
                labels = np.where(np.isnan(each[mine]), np.nan, 1.0)
                data = inputs.known(labels, [each[mine]], patients[mine])
                known = data.scores[0]
                drawn = bootstrap_means(data, replicates, seed + number) if known.size else None
                mean = float(known.mean()) if known.size else math.nan
                means[metric] = Mean(mean, *_ends(drawn, level))
                resampled[metric].append(drawn)
            groups.append(
                MeanGroup(
                    name=name,
                    images=int(mine.sum()),
                    patients=int(np.unique(patients[mine].astype(str)).size),
                    is_small=int(has_value[:, mine].sum(axis=1).min()) < LEAST,
                    means=means,
                    gaps={},
                )
            )
    is_small = [group.is_small for group in groups]
    gaps = {
        metric: _gaps([group.means[metric] for group in groups], is_small, of_groups, level)
        for metric, of_groups in resampled.items()
    }
    return [
        dataclasses.replace(group, gaps={metric: of[place] for metric, of in gaps.items()})
        for place, group in enumerate(groups)
    ]


def _auroc(data: inputs.Known, areas: np.ndarray | None, level: float) -> Mean:
    if not data.has_both_classes or not data.finite:
        return _UNDEFINED
    area = float(sklearn_metrics.roc_auc_score(data.positive, data.scores[0]))
    return Mean(area, *_ends(areas, level))


def _gaps(
    means: Sequence[Mean],
    is_small: Sequence[bool],
    resampled: Sequence[np.ndarray | None],
    level: float,
) -> list[Mean]:
    """How far each group that is large enough is below the best one of them."""
    result = [_UNDEFINED] * len(means)
    comparable = [
        place
        for place, found in enumerate(means)
        if not is_small[place] and not math.isnan(found.mean)
    ]
    if len(comparable) < 2:
        return result
    best = max(comparable, key=lambda place: means[place].mean)
    for place in comparable:
        if place == best:
            continue
        one, other = resampled[best], resampled[place]
        differences = None
        if one is not None and other is not None:
            count = min(one.size, other.size)
            differences = one[:count] - other[:count]
        gap = means[best].mean - means[place].mean
        result[place] = Mean(gap, *_ends(differences, level))
    return result


def _ends(values: np.ndarray | None, level: float) -> tuple[float, float]:
    if values is None:
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
