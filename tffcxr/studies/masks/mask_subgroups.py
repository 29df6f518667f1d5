"""Writes how well the models of masks do in groups of patients: `subgroups.csv`."""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
from typing import TYPE_CHECKING

from tffcxr.studies import mask_cases, patient_groups

if TYPE_CHECKING:
    from tffcxr.studies.masks.mask_study import MaskStudy


def write(
    directory: pathlib.Path, study: MaskStudy, network: str, results: Sequence[mask_cases.Masks]
) -> None:
    """Writes a row per model and group, of Jaccard and Dice; no file without known attributes."""
    images = results[0].scores  # The same for all models.
    patients = study.patients(images)
    attributes = patient_groups.attributes(study, images, patients)
    rows = []
    for result in results:
        about = {"task": study.region, "model": network, "training": result.training}
        values = {"jaccard": result.scores.jaccard, "dice": result.scores.dice}
        rows += patient_groups.mean_rows(study, attributes, about, values, patients)
    patient_groups.write(directory, rows)
