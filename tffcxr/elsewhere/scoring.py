"""From a model of findings and labelled images to rows of results."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import dataclasses
import logging
import math
from typing import Any

import numpy as np
import pandas as pd

from tffcxr.datasets import records
from tffcxr.errors import InputError
from tffcxr.evaluation import result_rows
from tffcxr.models.files import metadata
from tffcxr.models.files.export import Exported
from tffcxr.prediction import predictor, reading

SPLIT = "external"


@dataclasses.dataclass(frozen=True)
class Sample:
    """The images of one site that the model has not seen.

    Attributes:
      site: its name.
      table: its records.
    """

    site: str
    table: pd.DataFrame


def common_findings(exported: Exported, sample: Sample) -> list[str]:
    """The findings that the model gives and the site labels.

    Raises:
      InputError: there is none, or the model gives no findings.
    """
    about = exported.metadata
    if about.kind != metadata.FINDINGS:
        raise InputError(f"expected a model of findings, found {about.about}")
    known = records.findings(sample.table)
    found = [name for name in about.outputs if name in known]
    if not found:
        raise InputError(
            f"site {sample.site}: expected labels of {', '.join(about.outputs)}, found "
            f"{', '.join(known) or 'none'}"
        )
    return found


def scores(exported: Exported, images: Sequence[str], batch_size: int) -> np.ndarray:
    """Probabilities of images: float64 [N, outputs]; NaN for images that cannot be used.

    Those are named in the log: unreadable files, and images of another modality or body part.
    """
    how = reading.Reading(predictor.expected_of(exported), exported.metadata.fit)
    found = np.full((len(images), len(exported.metadata.outputs)), math.nan)
    model = predictor.Predictor(exported, batch_size)
    with contextlib.closing(reading.read_all(images, how)) as read:
        for place, predicted in enumerate(model.predict(read)):
            if predicted.answer.status != reading.OK:
                logging.warning("left out: %s", predicted.answer.error)
                continue
            found[place] = [row.number for row in predicted.answer.rows]
    return found


def rows(
    exported: Exported, sample: Sample, probabilities: np.ndarray, replicates: int, seed: int
) -> list[dict[str, Any]]:
    """A row of `metrics.json` per finding; see `result_rows.result_row`.

    Args:
      exported: the model.
      sample: the images.
      probabilities: of `scores`.
      replicates: of the bootstrap, by patient.
      seed: of the bootstrap.
    """
    about = exported.metadata
    usable = ~np.isnan(probabilities).any(axis=1)
    table = sample.table[usable]
    found = []
    for name in common_findings(exported, sample):
        found.append(
            result_rows.result_row(
                f"{name} at {sample.site}",
                about.network,
                about.training,
                SPLIT,
                table[name].to_numpy(float),
                probabilities[usable, about.outputs.index(name)],
                about.operating_points.get(name, math.nan),
                groups=table["patient"].to_numpy(object),
                replicates=replicates,
                seed=seed,
                client=sample.site,
            )
        )
    return found
