"""Heat maps of true positives: the federated model beside its baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.explanation import gradcam
from tffcxr.files import write_atomically
from tffcxr.report import style
from tffcxr.studies import heat_tables, trainings
from tffcxr.studies.findings.findings_results import NetworkResult, TaskScores

if TYPE_CHECKING:
    from tffcxr.studies.findings.findings_study import FindingsStudy


def write(directory: pathlib.Path, study: FindingsStudy, results: Sequence[NetworkResult]) -> None:
    """Writes `explanations.csv` and the arrays behind it for some test images of every finding.

    The images are the federated model's most confident true positives, those with an annotation
    first. Every kind of training explains the same images, each network those of its own.
    """
    rows: list[dict[str, Any]] = []
    federated = [
        (result, task)
        for result in results
        for task in result.scores
        if task.training == trainings.FEDERATED
    ]
    for number, (result, task) in enumerate(federated, start=1):
        cases = _true_positives(study, task)[: study.heatmaps]
        if cases:
            name = f"{number}-{style.slug(task.task)}"  # Names may differ in punctuation alone.
            rows.extend(_explain(directory, name, study, result, task, cases))
    table = pd.DataFrame(rows, columns=list(run_tables.EXPLANATIONS.columns))
    run_tables.EXPLANATIONS.write(directory, table)


def _true_positives(study: FindingsStudy, task: TaskScores) -> list[int]:
    """Positions in `task.test` of true positives, annotated ones and high scores first."""
    labels, scores = task.labels, task.probabilities
    annotated = np.array(
        [annotation_of(_record(study, task, i)) is not None for i in range(len(labels))]
    )
    hits = np.flatnonzero((labels == 1) & (scores >= task.threshold))
    return sorted(hits.tolist(), key=lambda i: (not annotated[i], -scores[i], i))


def _explain(
    directory: pathlib.Path,
    name: str,
    study: FindingsStudy,
    result: NetworkResult,
    task: TaskScores,
    cases: list[int],
) -> list[dict[str, Any]]:
    others = [
        other
        for other in result.scores
        if other.task == task.task and other.training in result.trained
    ]
    title = f"{task.task}, {result.name}" if study.several else task.task
    images = [study.read_picture(_record(study, task, case)["image"]) for case in cases]
    pixels = np.stack(images).astype(np.float32) / 255.0
    model = result.model
    heats: dict[str, np.ndarray] = {}
    for other in others:
        model.keras.set_weights(result.trained[other.training][task.site])
        heats[other.training] = gradcam.grad_cam(
            model.keras, model.gradcam_layer, pixels, task.column
        )
    rows = []
    for place, case in enumerate(cases):
        record = _record(study, task, case)
        regions = {
            name: study.read_region(annotation) for name, annotation in regions_of(record).items()
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
                    "task": title,
                    "case": place + 1,
                    "training": other.training,
                    "score": float(other.probabilities[case]),
                    "file": file,
                    "heat_in_lungs": heat_tables.share_inside(heat, regions["lungs"]),
                    "heat_in_annotation": heat_tables.share_inside(heat, regions["annotation"]),
                    "client": task.test.clients[case],
                    "row": task.test.rows[case],
                }
            )
    return rows


def regions_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations that heat is compared with, by their names in the arrays of an image."""
    return {"annotation": annotation_of(record), "lungs": record["lungs"]}


def annotation_of(record: Mapping[str, Any]) -> Any:
    """The region of the finding; None if the source outlines only the lungs."""
    return None if record["mask"] == record["lungs"] else record["mask"]


def _record(study: FindingsStudy, task: TaskScores, position: int) -> Mapping[str, Any]:
    table = study.clients.records[task.test.clients[position]]
    return table.iloc[int(task.test.rows[position])]
