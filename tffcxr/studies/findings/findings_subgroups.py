"""Writes how well the models of findings do in groups of patients: `subgroups.csv`."""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from tffcxr.studies import patient_groups
from tffcxr.studies.findings.findings_results import NetworkResult

if TYPE_CHECKING:
    from tffcxr.studies.findings.findings_study import FindingsStudy


def write(directory: pathlib.Path, study: FindingsStudy, results: Sequence[NetworkResult]) -> None:
    """Writes a row per model, test set and group; no file where no attribute is known."""
    rows = []
    for result in results:
        for task in result.scores:
            scores, patients = task.probabilities, study.patients(task.test)
            rows += patient_groups.rows(
                study,
                patient_groups.attributes(study, task.test, patients),
                {
                    "task": task.task,
                    "model": result.name,
                    "training": task.training,
                    "client": task.site,
                },
                task.labels,
                scores,
                None if np.isnan(task.threshold) else scores >= task.threshold,
                patients,
            )
    patient_groups.write(directory, rows)
