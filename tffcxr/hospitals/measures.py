"""What a hospital tells of how a round's model does on its images, and what is made of it.

Where the hospital's policy lets scores of single images leave, the coordinator measures all images
together, as a run in one place does. Otherwise each hospital measures its own, and says nothing of
a metric of fewer images than its policy's smallest count. What all have together is then known
where one hospital alone has a value, or where it is a mean over images, such as a loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

import numpy as np

from tffcxr.evaluation import registry
from tffcxr.hospitals import wire
from tffcxr.training.evaluators.mask_validation import MaskScores
from tffcxr.training.evaluators.validation import Evaluator, Scores

_KINDS = {kind.__name__: kind for kind in (Scores, MaskScores)}
# Metrics whose value for several groups of images is the mean of theirs by the number of images.
_MEANS = (registry.LOSS, registry.ACCURACY, registry.JACCARD, registry.DICE)
# The mean over clients, whatever their number of images.
_MEANS_OF_CLIENTS = registry.MEANS_OF_CLIENTS


def tell(
    evaluator: Evaluator, scores: Mapping[str, Any], *, of_images: bool, smallest_count: int
) -> tuple[dict[str, Any], tuple[wire.Field, ...]]:
    """What of some scores goes into a message.

    Args:
      evaluator: has made them.
      scores: by client.
      of_images: whether scores of single images may leave.
      smallest_count: of images that a metric may be told of; not for scores of single images.

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
    measured = {
        client: {
            column: None if math.isnan(value) or images[client] < smallest_count else value
            for column, value in evaluator.metrics([found]).items()
        }
        for client, found in scores.items()
    }
    told = {client: n if n >= smallest_count else None for client, n in images.items()}
    return {"measured": measured, "images": told}, ()


def together(
    evaluator: Evaluator, messages: Sequence[wire.Message]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The metrics of all images together, and those of each client.

    Args:
      evaluator: knows the metrics.
      messages: of the hospitals.

    Raises:
      wire.MessageError: a message holds other values.
    """
    try:
        if all("scores" in message.about for message in messages):
            parts = {
                client: found for message in messages for client, found in _scores(message).items()
            }
            of_all = [parts[client] for client in sorted(parts)]
            nothing = dict.fromkeys(evaluator.columns, math.nan)
            return evaluator.metrics(of_all) if of_all else nothing, {
                client: evaluator.metrics([found]) for client, found in sorted(parts.items())
            }
        measured: dict[str, dict[str, float]] = {}
        images: dict[str, int] = {}
        for message in messages:
            of_message, counts = _measured(evaluator, message)
            measured.update(of_message)
            images.update(counts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise wire.MessageError(
            f"expected what a model does, found other values: {error}"
        ) from error
    joint = {
        column: _joint(column, {c: of_client[column] for c, of_client in measured.items()}, images)
        for column in evaluator.columns
    }
    return joint, dict(sorted(measured.items()))


def _measured(
    evaluator: Evaluator, message: wire.Message
) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    if "scores" in message.about:
        parts = _scores(message)
        return (
            {client: evaluator.metrics([found]) for client, found in parts.items()},
            {client: len(found.rows) for client, found in parts.items()},
        )
    measured = {
        client: {
            column: math.nan if of_client[column] is None else float(of_client[column])
            for column in evaluator.columns
        }
        for client, of_client in message.about["measured"].items()
    }
    return measured, {client: int(n or 0) for client, n in message.about["images"].items()}


def _joint(column: str, values: Mapping[str, float], images: Mapping[str, int]) -> float:
    """A metric of all images, from those of the clients; NaN where they do not tell it."""
    known = {client: value for client, value in values.items() if not math.isnan(value)}
    if len(known) == 1:
        return next(iter(known.values()))
    if not known:
        return math.nan
    found = list(known.values())
    if any(metric.is_of(column) for metric in _MEANS_OF_CLIENTS):
        return float(np.mean(found))
    if any(metric.is_of(column) for metric in _MEANS):
        return float(np.average(found, weights=[images[client] for client in known]))
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
