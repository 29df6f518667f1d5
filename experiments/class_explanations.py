"""Heat maps of one class by all variants side by side, on the same test images."""

from __future__ import annotations

import functools
import pathlib
from typing import TYPE_CHECKING, Any
import warnings

import numpy as np
import pandas as pd

from experiments import pictures
from experiments.explanations import COLUMNS, share_inside
from tffcxr.datasets import findings
from tffcxr.explanation import gradcam
from tffcxr.files import write_atomically, write_text
from tffcxr.models import build as models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from experiments.classes import ClassStudy, Result

EXPLAINED = findings.RSNA[0]  # "Lung Opacity", the one that is outlined.


def write(
    directory: pathlib.Path,
    study: ClassStudy,
    outlined: Mapping[str, pd.DataFrame],
    results: Sequence[Result],
) -> None:
    """Writes `explanations.csv` and the arrays behind it.

    The images are those with the class that the variants together are most confident of, outlined
    ones first. Each variant gets the image as it was trained on: full, or the lungs alone.

    Args:
      directory: the run's folder.
      study: with the lungs of every image, as they were cut out, in its records.
      outlined: the records with the outlines that came with the data; where there is one, the heat
        in the lungs is measured by it.
      results: one per variant, on the same test images in the same order.
    """
    cases = _cases(study, results)
    records = [_record(study, results[0], case) for case in cases]
    shown = [_arrays(study, record) for record in records]
    for result in results:
        _add_heat(study, result, shown)
    for case, arrays in zip(cases, shown):
        place = results[0].scores.clients[case], int(results[0].scores.rows[case])
        outline = outlined[place[0]]["lungs"].iat[place[1]]
        if outline is not None:
            arrays["lungs"] = pictures.region(outline, study.image_size, study.fit)
    rows = []
    for number, (case, arrays) in enumerate(zip(cases, shown), start=1):
        file = f"explanations/1-lung-opacity_{number}.npz"
        write_atomically(directory / file, functools.partial(np.savez_compressed, **arrays))
        for result in results:
            heat = arrays[f"heat_{result.variant.name}"]
            rows.append(
                {
                    "task": EXPLAINED,
                    "case": number,
                    "training": result.variant.name,
                    "score": float(result.scores.scores[case, 0]),
                    "file": file,
                    "heat_in_lungs": share_inside(heat, arrays.get("lungs")),
                    "heat_in_annotation": share_inside(heat, arrays.get("annotation")),
                }
            )
    text = pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False, lineterminator="\n")
    write_text(directory / "explanations.csv", text)


def _cases(study: ClassStudy, results: Sequence[Result]) -> list[int]:
    """Positions in the test images."""
    labels = results[0].scores.labels[:, 0]
    confidence = np.mean([result.scores.scores[:, 0] for result in results], axis=0)
    has_outline = [
        _record(study, results[0], place)["mask"] is not None for place in range(len(labels))
    ]
    present = np.flatnonzero(labels == 1).tolist()
    present.sort(key=lambda place: (not has_outline[place], -confidence[place], place))
    return present[: study.heatmaps]


def _record(study: ClassStudy, result: Result, place: int) -> Mapping[str, Any]:
    table = study.records[result.scores.clients[place]]
    return table.iloc[int(result.scores.rows[place])]


def _arrays(study: ClassStudy, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The image and what is outlined in it, as `report.run_cases` reads them."""
    size, fit = study.image_size, study.fit
    arrays = {"image": pictures.picture(record["image"], size, fit)[..., 0]}
    for name, annotation in (("annotation", record["mask"]), ("lungs", record["lungs"])):
        region = pictures.region(annotation, size, fit)
        if region is not None:
            arrays[name] = region
    return arrays


def _add_heat(study: ClassStudy, result: Result, shown: Sequence[dict[str, np.ndarray]]) -> None:
    plan = study.plans[result.variant.model]
    model = models.build(
        result.variant.model,
        study.image_size,
        len(findings.RSNA),
        batch_norm=plan.batch_norm,
        seed=study.seed,
    )
    model.keras.set_weights(result.weights)
    for arrays in shown:
        pixels = arrays["image"]
        if result.variant.images == "segmented" and "lungs" in arrays:
            pixels = np.where(arrays["lungs"], pixels, 0)
        image = pixels[None, ..., None].astype(np.float32) / 255.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            heat = gradcam.grad_cam(model.keras, model.gradcam_layer, image, 0)[0]
        arrays[f"heat_{result.variant.name}"] = heat
