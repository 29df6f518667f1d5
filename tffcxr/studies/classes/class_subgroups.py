"""Writes how well the models of classes do in groups of patients: `subgroups.csv`.

Each class is a finding here, against all others: its score is its probability, and an image is
called positive if no other class is more probable.
"""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from tffcxr.evaluation import class_metrics
from tffcxr.studies import patient_groups
from tffcxr.studies.classes.variants import Result

if TYPE_CHECKING:
    from tffcxr.studies.classes.class_study import ClassStudy


def write(directory: pathlib.Path, study: ClassStudy, results: Sequence[Result]) -> None:
    """Writes a row per model, class and group; no file where no attribute is known."""
    rows = []
    for result in results:
        scores = result.scores
        if np.isnan(scores.scores).any():  # The model diverged.
            continue
        truth, called = class_metrics.true_classes(scores.labels), scores.scores.argmax(axis=1)
        patients = study.patients(scores)
        attributes = patient_groups.attributes(study, scores, patients)
        about = {"model": result.variant.model, "training": result.training}
        if result.variant.images:
            about["images_kind"] = result.variant.images
        for place, name in enumerate(study.classes):
            rows += patient_groups.rows(
                study,
                attributes,
                {"task": name, **about},
                truth == place,
                scores.scores[:, place],
                called == place,
                patients,
            )
    patient_groups.write(directory, rows)
