"""What a hospital reports of how a round's model does on its images, and what is made of it.

Where the hospital's policy lets scores of single images leave, the coordinator measures all images
together, as a run in one place does. Otherwise each hospital measures its own, and says nothing of
a metric of fewer images than its policy's smallest count. What all have together is then known
where one hospital alone has a value, where it is a mean over images, such as a loss, and nearly of
an AUROC: from the hospitals' counts of scores in bins, see `evaluation.binned`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

import numpy as np

from tffcxr.errors import one_line
from tffcxr.evaluation import binned, registry
from tffcxr.hospitals import wire
from tffcxr.training.evaluators.mask_validation import MaskScores
from tffcxr.training.evaluators.validation import Evaluator, Scores

_KINDS = {kind.__name__: kind for kind in (Scores, MaskScores)}
# Metrics whose value for several groups of images is the mean of theirs by the number of images.
_MEANS = (registry.LOSS, registry.ACCURACY, registry.JACCARD, registry.DICE)
# The mean over clients, whatever their number of images.
_MEANS_OF_CLIENTS = tuple(registry.MEANS_OF_CLIENTS.values())
# Of masks: metrics of images with a known overlap, and of images with the region.
_OF_OVERLAPS = (registry.JACCARD, registry.DICE, registry.CLIENT_DICE)
_OF_REGIONS = (registry.SENSITIVITY, registry.OVERLAP, registry.BOUNDARY_OVERLAP)


def report(
    evaluator: Evaluator, scores: Mapping[str, Any], *, of_images: bool, smallest_count: int
) -> tuple[dict[str, Any], tuple[wire.Field, ...]]:
    """What of some scores goes into a message.

    Args:
      evaluator: has made them.
      scores: by client.
      of_images: whether scores of single images may leave.
      smallest_count: of images that a metric may be reported; not for scores of single images.

    Returns:
      Its `about` and its arrays.
    """
    images = {client: len(found.rows) for client, found in scores.items()}
    if of_images:
        kind = type(next(iter(scores.values()))).__name__ if scores else Scores.__name__
        fields = tuple(
            wire.Field(f"{client}/{field.name}", getattr(found, field.name))
            for client, found in scores.items()
            for field in _arrays(_KINDS[kind])
        )
        return {"scores": kind, "images": images}, fields
    counts = {client: _counts(evaluator, found) for client, found in scores.items()}
    fewest = {client: _fewest(evaluator, found) for client, found in scores.items()}
    measured = {
        client: {
            column: None if math.isnan(value) or fewest[client][column] < smallest_count else value
            for column, value in evaluator.metrics([found]).items()
        }
        for client, found in scores.items()
    }
    of_columns = {
        client: {
            column: n if measured[client][column] is not None else None for column, n in of.items()
        }
        for client, of in counts.items()
    }
    large = {client: n if n >= smallest_count else None for client, n in images.items()}
    bins = {
        client: {
            column: found
            for column, found in _bins(evaluator, of_client, smallest_count).items()
            if measured[client][column] is not None
        }
        for client, of_client in scores.items()
    }
    return {"measured": measured, "counts": of_columns, "images": large, "bins": bins}, ()


@dataclasses.dataclass(frozen=True)
class Reported:
    """What a hospital has said of a model.

    Attributes:
      metrics: client to column to value, NaN where it is not reported.
      counts: client to column to the number of images that the value is of.
      scores: client to the scores of its images; None where they do not leave.
      bins: client to column to counts of scores in bins, of AUROCs where scores do not leave.
    """

    metrics: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, Mapping[str, int]]
    scores: Mapping[str, Any] | None = None
    bins: Mapping[str, Mapping[str, list[binned.Bin]]] = dataclasses.field(default_factory=dict)


def read(evaluator: Evaluator, message: wire.Message) -> Reported:
    """What a hospital's message says.

    Raises:
      wire.MessageError: it holds other values.
    """
    try:
        if "scores" in message.about:
            scores = _scores(message)
            return Reported(
                {client: evaluator.metrics([found]) for client, found in scores.items()},
                {client: _counts(evaluator, found) for client, found in scores.items()},
                scores,
            )
        metrics = {
            client: {
                column: math.nan if of_client[column] is None else float(of_client[column])
                for column in evaluator.columns
            }
            for client, of_client in message.about["measured"].items()
        }
        counts = {
            client: {column: int(message.about["counts"][client][column] or 0) for column in of}
            for client, of in metrics.items()
        }
        bins = {
            client: {
                column: binned.pooled([[tuple(each) for each in found]])
                for column, found in dict(message.about.get("bins", {}).get(client, {})).items()
            }
            for client in metrics
        }
        return Reported(metrics, counts, bins=bins)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _other_values(error) from error


def together(
    evaluator: Evaluator, reported: Sequence[Reported]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The metrics of all images together, and those of each client.

    Args:
      evaluator: knows the metrics.
      reported: by the hospitals, see `read`.

    Raises:
      wire.MessageError: their scores do not fit together.
    """
    by_client = {client: dict(of) for each in reported for client, of in each.metrics.items()}
    by_client = dict(sorted(by_client.items()))
    if reported and all(each.scores is not None for each in reported):
        scores = {
            client: found for each in reported for client, found in (each.scores or {}).items()
        }
        try:
            return evaluator.metrics([scores[client] for client in sorted(scores)]), by_client
        except (LookupError, TypeError, ValueError) as error:
            raise _other_values(error) from error
    counts = {client: of for each in reported for client, of in each.counts.items()}
    bins = {client: of for each in reported for client, of in each.bins.items()}
    joint = {
        column: _joint(
            column,
            {client: of[column] for client, of in by_client.items()},
            {client: of[column] for client, of in counts.items()},
            {client: of[column] for client, of in bins.items() if column in of},
        )
        for column in evaluator.columns
    }
    return joint, by_client


def _other_values(error: Exception) -> wire.MessageError:
    return wire.MessageError(f"expected what a model does, found other values: {one_line(error)}")


def _counts(evaluator: Evaluator, scores: Any) -> dict[str, int]:
    """How many of the images each metric is of: those with a label, or a value, for it."""
    if isinstance(scores, MaskScores):
        return {column: int(_has_value(column, scores).sum()) for column in evaluator.columns}
    is_labelled = ~np.isnan(scores.labels)
    tasks = _tasks(evaluator)
    if len(tasks) != is_labelled.shape[1]:  # Classes of a single task.
        return dict.fromkeys(evaluator.columns, int(is_labelled.any(axis=1).sum()))
    of_task = dict(zip(tasks, is_labelled.sum(axis=0)))
    return {column: int(of_task[column.rpartition("/")[0]]) for column in evaluator.columns}


def _fewest(evaluator: Evaluator, scores: Any) -> dict[str, int]:
    """The fewest images behind each metric: of an AUROC or AUPR, those of the rarer label.

    From the digits of such a metric the number of images with a label can be found.
    """
    counts = _counts(evaluator, scores)
    tasks = _tasks(evaluator)
    if isinstance(scores, Scores) and len(tasks) == scores.labels.shape[1]:
        for place, task in enumerate(tasks):
            labels = scores.labels[:, place]
            rarer = min(int((labels == 1).sum()), int((labels == 0).sum()))
            for metric in (registry.AUROC, registry.AUPR):
                counts[metric.column(task)] = rarer
    return counts


def _tasks(evaluator: Evaluator) -> list[str]:
    return list(dict.fromkeys(column.rpartition("/")[0] for column in evaluator.columns))


def _bins(evaluator: Evaluator, scores: Any, smallest_count: int) -> dict[str, list[binned.Bin]]:
    """Counts of the scores of each finding, by the column of its AUROC; none of other tasks."""
    tasks = _tasks(evaluator)
    if not isinstance(scores, Scores) or len(tasks) != scores.labels.shape[1]:
        return {}
    return {
        registry.AUROC.column(task): binned.bins(
            scores.labels[:, place], scores.scores[:, place], smallest_count
        )
        for place, task in enumerate(tasks)
    }


def _has_value(column: str, scores: MaskScores) -> np.ndarray:
    if any(metric.is_of(column) for metric in _OF_OVERLAPS):
        return ~np.isnan(scores.dice)
    if any(metric.is_of(column) for metric in _OF_REGIONS):
        return scores.truth_area > 0
    if registry.SPECIFICITY.is_of(column):
        return scores.truth_area == 0
    return ~np.isnan(scores.loss)


def _joint(
    column: str,
    values: Mapping[str, float],
    images: Mapping[str, int],
    bins: Mapping[str, list[binned.Bin]],
) -> float:
    """A metric of all images, from those of the clients; NaN where they do not report it."""
    known = {client: value for client, value in values.items() if not math.isnan(value)}
    if len(known) == 1:
        return next(iter(known.values()))
    if not known:
        return math.nan
    found = list(known.values())
    if any(metric.is_of(column) for metric in _MEANS_OF_CLIENTS):
        return float(np.mean(found))
    weights = [images[client] for client in known]
    if any(metric.is_of(column) for metric in _MEANS) and any(weights):
        return float(np.average(found, weights=weights))
    if known.keys() <= bins.keys():
        return binned.auroc(binned.pooled([bins[client] for client in known]))
    return math.nan


def _arrays(kind: type) -> list[Any]:
    return [field for field in dataclasses.fields(kind) if field.name != "clients"]


def _scores(message: wire.Message) -> dict[str, Any]:
    """The scores of each client."""
    kind = _KINDS[message.about["scores"]]
    names = [field.name for field in _arrays(kind)]
    images = message.about["images"]
    if len(message.fields) != len(images) * len(names):
        raise ValueError(f"{len(message.fields)} arrays for {len(images)} clients")
    fields, found = iter(message.fields), {}
    for client, count in images.items():
        arrays = {name: next(fields).array for name in names}
        if any(len(array) != count for array in arrays.values()):
            raise ValueError(f"arrays of another length than {count}")
        found[client] = kind(clients=np.full(count, client, dtype=object), **arrays)
    return found
