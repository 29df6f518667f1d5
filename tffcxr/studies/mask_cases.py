"""The images of a segmentation that a report shows, with what each model marked on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.evaluation import case_overlap
from tffcxr.files import write_atomically
from tffcxr.studies import study as study_lib
from tffcxr.studies import trainings
from tffcxr.training.evaluators.mask_validation import MaskScores
from tffcxr.training.evaluators.validation import Evaluator

_WORST, _BEST = 3, 1  # Of the images that are shown; one in the middle comes between.
# (weights, images float32 [B, S, S, C] in 0..1) to masks, bool [B, S, S].
Segment = Callable[[trainings.Weights, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Masks:
    """What one model marks on the test images.

    Attributes:
      training: "federated", "site", "pooled" or another kind of training.
      weights: client to its model, in the order of `model.weights`.
      scores: of the images, the same ones in the same order for all models.
    """

    training: str
    weights: Mapping[str, trainings.Weights]
    scores: MaskScores


@dataclasses.dataclass(frozen=True)
class Chosen:
    """An image to show.

    Attributes:
      place: in the scores.
      task: what is segmented there.
      kind: why it is shown, such as "worst".
    """

    place: int
    task: str
    kind: str


def choose(values: np.ndarray) -> list[tuple[int, str]]:
    """Positions of the images to show, and why, the worst first."""
    order = np.argsort(values, kind="stable").tolist()
    worst, best = order[:_WORST], order[_WORST:][-_BEST:]
    between = [order[len(order) // 2]] if len(order) > _WORST + _BEST else []
    return [
        *((place, "worst") for place in worst),
        *((place, "median") for place in between if place not in worst),
        *((place, "best") for place in best),
    ]


def score_clients(evaluator: Evaluator, weights: Mapping[str, trainings.Weights]) -> MaskScores:
    """Scores the images of every client with its model, one client after the other."""
    return MaskScores.join([evaluator.score(weights[client], client) for client in sorted(weights)])


def write(
    directory: pathlib.Path,
    study: study_lib.Study,
    segment: Segment,
    results: Sequence[Masks],
    chosen: Sequence[Chosen],
    channel: int = 0,
    with_boxes: bool = False,
) -> None:
    """Writes `segmentations.csv` and, per image, the arrays behind it.

    Args:
      directory: the run's.
      study: whose records have the images.
      segment: marks the region.
      results: of all models.
      chosen: the images.
      channel: of the images that is shown.
      with_boxes: whether the boxes around what is marked are shown, too, with how much of the true
        region they hold.
    """
    shown = [_read(study, results[0].scores, one.place) for one in chosen]
    rows = []
    for result in results:
        for number, (one, (image, arrays)) in enumerate(zip(chosen, shown), start=1):
            weights = result.weights[result.scores.clients[one.place]]
            mask = segment(weights, image[None].astype(np.float32) / 255.0)[0]
            arrays["image"] = image[..., channel]
            arrays[f"mask_{result.training}"] = mask
            row = {
                "task": one.task,
                "case": number,
                "kind": one.kind,
                "training": result.training,
                "jaccard": result.scores.jaccard[one.place],
                "dice": result.scores.dice[one.place],
                "file": f"segmentations/{number}.npz",
                "client": result.scores.clients[one.place],
                "row": result.scores.rows[one.place],
            }
            if with_boxes:
                arrays[f"boxes_{result.training}"] = _boxes(mask)
                truth = result.scores.truth_area[one.place]
                part = result.scores.boxed_area[one.place]
                row["overlap"] = part / truth if truth else float("nan")
            rows.append(row)
    for number, (_, arrays) in enumerate(shown, start=1):
        path = directory / f"segmentations/{number}.npz"
        write_atomically(path, functools.partial(np.savez_compressed, **arrays))
    rows.sort(key=lambda row: row["case"])
    table = pd.DataFrame(rows, columns=list(run_tables.SEGMENTATIONS.columns))
    run_tables.SEGMENTATIONS.write(directory, table)


def _read(
    study: study_lib.Study, scores: MaskScores, place: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """Returns an image uint8 [S, S, C], and the arrays that are shown without any model."""
    record = study.clients.records[scores.clients[place]].iloc[int(scores.rows[place])]
    image = study.read_picture(record["image"])
    return image, {"truth": study.read_region(record["mask"])}


def _boxes(mask: np.ndarray) -> np.ndarray:
    """Returns the union of the boxes around the parts of a mask, bool [S, S]."""
    boxed = np.zeros(mask.shape, bool)
    for box in case_overlap.bounding_boxes(mask):
        boxed[box] = True
    return boxed
