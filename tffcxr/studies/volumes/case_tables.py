"""Writes what was measured of each volume, and apart from that whose volume it is."""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tffcxr import kept_names, run_tables
from tffcxr.studies.mask_cases import Masks
from tffcxr.training.evaluators.case_validation import score_cases

if TYPE_CHECKING:
    from tffcxr.studies.volumes.volume_study import VolumeStudy


def write(directory: pathlib.Path, study: VolumeStudy, results: Sequence[Masks]) -> None:
    """Writes `cases.csv`: a row per model and case, numbered in its task, without ids.

    Whose they are stands in `CASE_FILES` of `kept_names`, a row per case.

    Args:
      directory: the run's.
      study: says the task of each client, and the stratum and the files of each case.
      results: of all models, on the same cases.
    """
    measured: list[pd.DataFrame] = []
    names: dict[str, pd.DataFrame] = {}
    for result in results:
        for task in study.tasks:
            found = score_cases(study.of_task(result.scores, task), study.patients)
            numbers = np.arange(1, len(found.cases) + 1)
            columns: dict[str, Any] = {
                "task": task,
                "training": result.training,
                "case": numbers,
                "stratum": [study.stratum_of.get(case, "") for case in found.cases],
                "overlap": found.overlap,
                "boundary_overlap": found.boundary_overlap,
                "dice": found.dice,
                "missed": found.missed.astype(int),
            }
            measured.append(pd.DataFrame(columns))
            names[task] = _names(study, task, found.cases)
    table = pd.concat(measured, ignore_index=True)
    if not study.stratum_of:
        table = table.drop(columns="stratum")
    run_tables.CASES.write(directory, table)
    kept_names.write(directory, run_tables.CASE_FILES, pd.concat(names.values(), ignore_index=True))


def _names(study: VolumeStudy, task: str, cases: Sequence[str]) -> pd.DataFrame:
    """The rows of `CASE_FILES` of a task's cases, "site/patient"."""
    parts = [str(case).partition("/") for case in cases]
    return pd.DataFrame(
        {
            "task": task,
            "case": np.arange(1, len(cases) + 1),
            "site": [site for site, _, _ in parts],
            "patient": [patient for _, _, patient in parts],
            "files": [" | ".join(map(str, study.files_of.get(case, ()))) for case in cases],
        }
    )
