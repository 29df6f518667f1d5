"""One call of `evaluate`: a run's model, tables of sites, and what came of it.

tables of sites → without what the run knows → probabilities → rows of results
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from tffcxr.elsewhere import known_images, scoring
from tffcxr.elsewhere.scoring import Sample
from tffcxr.errors import InputError
from tffcxr.evaluation import comparisons, result_rows
from tffcxr.models.files import export, metadata
from tffcxr.report import run_report

RECIPE = "evaluate"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a user asks for.

    Attributes:
      batch_size: images that are predicted at once.
      replicates: of the bootstrap.
      seed: of the bootstrap.
      leave_out_known: whether images that the run has seen are left out.
    """

    batch_size: int = 16
    replicates: int = 1000
    seed: int = 0
    leave_out_known: bool = True


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What came of it.

    Attributes:
      rows: of `metrics.json`.
      remarks: what a reader of the results must know, a line each.
    """

    rows: Sequence[dict[str, Any]]
    remarks: Sequence[str]


def evaluate(model: pathlib.Path, tables: Mapping[str, pd.DataFrame], wanted: Wanted) -> Evaluated:
    """Measures a model on the images of some sites.

    Args:
      model: the `.keras` file, in its run's folder `models` if the run's images are to be left out.
      tables: the records of each site.
      wanted: see there.

    Raises:
      InputError: the model gives no findings, or none that a site labels, or nothing is left.
    """
    exported = export.load(model)
    samples = [Sample(site, table) for site, table in tables.items()]
    for sample in samples:
        scoring.common_findings(exported, sample)  # Before anything takes time.
    remarks: list[str] = []
    if wanted.leave_out_known:
        run = model.parent.parent
        seen = known_images.read(run)
        if seen is None:
            remarks += [
                f"{sample.site}: whether the model was trained on some of these images is unknown, "
                f"since {run} has no table of its images"
                for sample in samples
            ]
        else:
            known = known_images.KnownImages(seen)
            samples = [_unseen(sample, known, remarks) for sample in samples]
    if exported.metadata.phantoms:
        remarks.append("The model was trained on phantoms only: results on real images say little.")
    rows = []
    for sample in samples:
        images = sample.table["image"].tolist()
        probabilities = scoring.scores(exported, images, wanted.batch_size)
        unusable = int(np.isnan(probabilities).any(axis=1).sum())
        if unusable:
            remarks.append(f"{sample.site}: {unusable} of {len(images)} images could not be used")
        rows += scoring.rows(exported, sample, probabilities, wanted.replicates, wanted.seed)
    return Evaluated(rows, remarks)


def write(folder: pathlib.Path, evaluated: Evaluated) -> str:
    """Writes `metrics.json`; returns the table for a terminal."""
    rows = comparisons.adjusted(evaluated.rows)
    result_rows.write_metrics(folder, RECIPE, metadata.FINDINGS, rows)
    table = run_report.format_table(rows, metadata.FINDINGS)
    return table.replace("report.html", "metrics.json")  # There is no page.


def _unseen(sample: Sample, known: known_images.KnownImages, remarks: list[str]) -> Sample:
    """The sample without the images that the run has seen, and without their patients.

    Patients are known by their images: whose image the run has seen is left out with all images.
    """
    is_known = known.among(sample.table["image"].tolist())
    patients = set(sample.table["patient"][is_known])
    keep = ~sample.table["patient"].isin(patients).to_numpy()
    if not keep.any():
        raise InputError(
            f"site {sample.site}: expected images that the run was not trained on, found "
            f"{len(keep)} that it was"
        )
    if not keep.all():
        remarks.append(
            f"{sample.site}: {int((~keep).sum())} of {len(keep)} images are left out, since the "
            f"run was trained on {int(is_known.sum())} of them, and the others are of the same "
            "patients"
        )
    return dataclasses.replace(sample, table=sample.table[keep].reset_index(drop=True))
