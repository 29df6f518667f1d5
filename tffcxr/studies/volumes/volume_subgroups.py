"""Writes how well the models of volumes do in groups of patients: `subgroups.csv`.

Age, sex and scanner are those of DICOM headers; NIfTI files have none.
"""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tffcxr.studies import mask_cases, patient_groups
from tffcxr.training.evaluators.case_validation import score_cases

if TYPE_CHECKING:
    from tffcxr.studies.volumes.volume_study import VolumeStudy


class _Slices(NamedTuple):
    """A slice of each case, which stands for it in the records; see `study.Scored`."""

    rows: np.ndarray
    clients: np.ndarray


def write(directory: pathlib.Path, study: VolumeStudy, results: Sequence[mask_cases.Masks]) -> None:
    """Writes a row per model, task and group, of Dice and overlap; no file without attributes."""
    rows = []
    for result in results:
        scores = result.scores
        found = score_cases(scores, study.patients)
        first = np.unique(study.patients(scores).astype(str), return_index=True)[1]
        slices = _Slices(scores.rows[first], scores.clients[first])
        people = study.people(found.cases)
        for task in study.tasks:
            mine = np.array([study.task_of[client] == task for client in slices.clients], bool)
            images = _Slices(slices.rows[mine], slices.clients[mine])
            rows += patient_groups.mean_rows(
                study,
                patient_groups.attributes(study, images, people[mine]),
                {"task": task, "model": study.spec.network, "training": result.training},
                {"dice": found.dice[mine], "overlap": found.overlap[mine]},
                people[mine],
            )
    patient_groups.write(directory, rows)
