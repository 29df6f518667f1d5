"""Heat maps of true positives: the federated model beside its baseline, and where they look."""

from __future__ import annotations

import functools
import pathlib
from typing import TYPE_CHECKING, Any
import warnings

import numpy as np
import pandas as pd

from tffcxr.explanation import gradcam, localisation
from tffcxr.files import write_atomically, write_table
from tffcxr.report import style
from tffcxr.studies import pictures
from tffcxr.studies.findings.findings_results import TaskScores, Trained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tffcxr.studies.findings.findings_study import FindingsStudy

COLUMNS = (
    "task",
    "case",
    "training",
    "score",
    "file",
    "heat_in_lungs",
    "heat_in_annotation",
)


def write(
    directory: pathlib.Path,
    study: FindingsStudy,
    model: Any,
    trained: Trained,
    scores: Sequence[TaskScores],
) -> None:
    """Writes `explanations.csv` and the arrays behind it for some test images of every finding.

    The images are the federated model's most confident true positives, those with an annotation
    first. Every kind of training explains the same images.
    """
    rows: list[dict[str, Any]] = []
    for number, task in enumerate(task for task in scores if task.training == "federated"):
        cases = _true_positives(study, task)[: study.heatmaps]
        if not cases:
            continue
        others = [other for other in scores if other.task == task.task]
        name = f"{number + 1}-{style.slug(task.task)}"  # names may differ in punctuation alone
        rows.extend(_explain(directory, name, study, model, trained, task, others, cases))
    write_table(directory / "explanations.csv", pd.DataFrame(rows, columns=list(COLUMNS)))


def _true_positives(study: FindingsStudy, task: TaskScores) -> list[int]:
    """Positions in `task.test` of true positives, annotated ones and high scores first."""
    labels = task.test.labels[:, task.column]
    scores = task.test.scores[:, task.column]
    annotated = np.array(
        [annotation_of(_record(study, task, i)) is not None for i in range(len(labels))]
    )
    hits = np.flatnonzero((labels == 1) & (scores >= task.threshold))
    return sorted(hits.tolist(), key=lambda i: (not annotated[i], -scores[i], i))


def _explain(
    directory: pathlib.Path,
    name: str,
    study: FindingsStudy,
    model: Any,
    trained: Trained,
    task: TaskScores,
    others: Sequence[TaskScores],
    cases: list[int],
) -> list[dict[str, Any]]:
    size, fit = study.image_size, study.fit
    images = [pictures.picture(_record(study, task, case)["image"], size, fit) for case in cases]
    heats: dict[str, np.ndarray] = {}
    for other in others:
        model.keras.set_weights(trained[other.training][task.site])
        maps = []
        for picture in images:
            image = picture[None].astype(np.float32) / 255.0
            maps.append(gradcam.grad_cam(model.keras, model.gradcam_layer, image, task.column)[0])
        heats[other.training] = np.stack(maps)
    rows = []
    for place, case in enumerate(cases):
        record = _record(study, task, case)
        regions = {
            "annotation": pictures.region(annotation_of(record), size, fit),
            "lungs": pictures.region(record["lungs"], size, fit),
        }
        file = f"explanations/{name}_{place + 1}.npz"
        arrays: dict[str, np.ndarray] = {"image": images[place][..., 0]}
        arrays.update({f"heat_{kind}": maps[place] for kind, maps in heats.items()})
        arrays.update({kind: region for kind, region in regions.items() if region is not None})
        write_atomically(directory / file, functools.partial(np.savez_compressed, **arrays))
        for other in others:
            heat = heats[other.training][place]
            rows.append(
                {
                    "task": task.task,
                    "case": place + 1,
                    "training": other.training,
                    "score": float(other.test.scores[case, task.column]),
                    "file": file,
                    "heat_in_lungs": share_inside(heat, regions["lungs"]),
                    "heat_in_annotation": share_inside(heat, regions["annotation"]),
                }
            )
    return rows


def annotation_of(record: Mapping[str, Any]) -> Any:
    """Where the finding is; None where the source outlines nothing but the lungs."""
    return None if record["mask"] == record["lungs"] else record["mask"]


def _record(study: FindingsStudy, task: TaskScores, position: int) -> Mapping[str, Any]:
    table = study.clients.records[task.test.clients[position]]
    return table.iloc[int(task.test.rows[position])]


def share_inside(heat: np.ndarray, region: np.ndarray | None) -> float:
    """The share of the heat inside a region, NaN without a region or without any heat."""
    if region is None:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an empty region is NaN in the table
        return localisation.share_inside(heat, region)
