"""One call of `evaluate`: a run's model, tables of sites, and what came of it.

tables of sites → without what the run knows → probabilities → rows of results
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import pandas as pd

from tffcxr.clients.sites import Site
from tffcxr.elsewhere import known_images, scoring
from tffcxr.elsewhere.scoring import Sample
from tffcxr.errors import InputError
from tffcxr.evaluation import comparisons, result_rows
from tffcxr.models.files import export
from tffcxr.report import elsewhere_page, run_report


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
      kind: of model, one of `metadata.KINDS`.
      rows: of `metrics.json`.
      remarks: what a reader of the results must know, a line each.
    """

    kind: str
    rows: Sequence[dict[str, Any]]
    remarks: Sequence[str]


def evaluate(model: pathlib.Path, tables: Mapping[Site, pd.DataFrame], wanted: Wanted) -> Evaluated:
    """Measures a model on the images of some sites.

    Args:
      model: the `.keras` file, in its run's folder `models` if the run's images are to be left out.
      tables: the records of each site, with findings as the model calls them.
      wanted: see there.

    Raises:
      InputError: the model takes no whole radiographs, a site has nothing that it can be measured
        by, nothing is left, or files of images that the run has seen are missing or all of them
        cannot be read.
    """
    exported = export.load(model)
    about = exported.metadata
    # Before anything takes time.
    samples = [scoring.prepare(about, site, table) for site, table in tables.items()]
    remarks: list[str] = []
    if wanted.leave_out_known:
        run = model.parent.parent
        seen = known_images.read(run)
        if seen is None:
            remarks += [
                f"{sample.site.name}: whether the model was trained on some of these images is "
                "unknown, since the run has no table of its images"
                for sample in samples
            ]
        else:
            known = _compared_with(seen)
            kept = [
                known_images.leave_out(
                    each.site.name,
                    each.table,
                    known,
                    known_images.patients(run, seen, each.site),
                )
                for each in samples
            ]
            samples = [Sample(each.site, of.table) for each, of in zip(samples, kept)]
            remarks += [each.remark for each in kept if each.remark]
            remarks += _not_compared(known, len(seen))
        if about.trained_on.get("elsewhere"):
            remarks.append(
                "The model was also trained on images of other hospitals, which cannot be compared."
            )
    else:
        remarks.append(
            "Images that the model was trained on or chosen by were not looked for "
            "(--noleave_out_known): some of these may be among them."
        )
    if about.is_attacked:
        remarks.append(
            "An attack on the model was rehearsed in its training: these results say nothing of a "
            "model that nobody attacked."
        )
    if about.phantoms:
        remarks.append("The model was trained on phantoms only: results on real images say little.")
    rows = []
    how = scoring.Measures(wanted.replicates, wanted.seed)
    for sample in samples:
        measured, unusable = scoring.rows(exported, sample, wanted.batch_size, how)
        if unusable:
            remarks.append(
                f"{sample.site.name}: {unusable} of {len(sample.table)} images could not be used"
            )
        rows += measured
    return Evaluated(about.kind, rows, remarks)


def _compared_with(seen: pd.DataFrame) -> known_images.KnownImages:
    known = known_images.KnownImages(seen["image"].tolist())
    if known.missing:
        raise InputError(
            "--model: expected the images that the run was trained on or chosen by, to leave them "
            f"out, found {len(known.missing)} of {len(seen)} missing, such as {known.missing[0]}; "
            "--noleave_out_known measures without leaving any out"
        )
    return known


def _not_compared(known: known_images.KnownImages, images: int) -> list[str]:
    unreadable = known.unreadable
    if not unreadable:
        return []
    if len(unreadable) == images:
        raise InputError(
            "--model: expected the images that the run was trained on or chosen by, to leave them "
            f"out, found {images} that cannot be read, such as {unreadable[0]}; "
            "--noleave_out_known measures without leaving any out"
        )
    return [
        f"{len(unreadable)} of {images} images of the run could not be compared, since they cannot "
        "be read: whether they are among these is unknown"
    ]


def write(
    folder: pathlib.Path, evaluated: Evaluated, model: pathlib.Path, command: Sequence[str]
) -> str:
    """Writes `metrics.json` and `report.html`; returns the table for a terminal.

    Args:
      folder: of the files.
      evaluated: what came of it.
      model: the `.keras` file.
      command: the words of the command line.
    """
    rows = comparisons.adjusted(evaluated.rows)
    result_rows.write_metrics(
        folder, elsewhere_page.RECIPE, evaluated.kind, rows, remarks=evaluated.remarks
    )
    elsewhere_page.write(folder, rows, evaluated.kind, evaluated.remarks, model, command)
    return run_report.format_table(rows, evaluated.kind)
