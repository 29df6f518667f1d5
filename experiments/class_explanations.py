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
from tffcxr.report import style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from experiments.classes import ClassStudy, Result, Variant
    from tffcxr.models.blocks import CxrModel

_COLUMN = 0  # "Lung Opacity", the class that is outlined.
EXPLAINED = findings.RSNA[_COLUMN]
_Image = tuple[str, int]  # A client and the row of its table.


def write(
    directory: pathlib.Path,
    study: ClassStudy,
    outlined: Mapping[str, pd.DataFrame],
    results: Sequence[Result],
    build_model: Callable[[Variant], CxrModel],
) -> None:
    """Writes `explanations.csv` and the arrays behind it.

    The images are those with the class that the variants together are most confident of, outlined
    ones first. Each variant gets the image as it was trained on: full, or the lungs alone.

    Args:
      directory: the run's folder.
      study: with the lungs of every image, as they were cut out, in its records.
      outlined: the records with the outlines that came with the data; where there is one, the heat
        in the lungs is measured by it.
      results: one per variant.
      build_model: makes the network of a variant, in which the weights of its result go.
    """
    places = [_places(result) for result in results]
    cases = _cases(study, results, places)
    shown = [_arrays(study, study.records[client].iloc[row]) for client, row in cases]
    for result in results:
        _add_heat(result, build_model(result.variant), shown)
    rows = []
    for number, ((client, row), arrays) in enumerate(zip(cases, shown), start=1):
        outline = outlined[client]["lungs"].iat[row]
        if outline is not None:
            arrays["lungs"] = pictures.region(outline, study.image_size, study.fit)
        file = f"explanations/1-{style.slug(EXPLAINED)}_{number}.npz"
        write_atomically(directory / file, functools.partial(np.savez_compressed, **arrays))
        for result, place in zip(results, places):
            heat = arrays[f"heat_{result.variant.name}"]
            rows.append(
                {
                    "task": EXPLAINED,
                    "case": number,
                    "training": result.variant.name,
                    "score": float(result.probabilities[place[client, row], _COLUMN]),
                    "file": file,
                    "heat_in_lungs": share_inside(heat, arrays.get("lungs")),
                    "heat_in_annotation": share_inside(heat, arrays.get("annotation")),
                }
            )
    text = pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False, lineterminator="\n")
    write_text(directory / "explanations.csv", text)


def _places(result: Result) -> dict[_Image, int]:
    """Where each test image is among the scores; another variant may have rejected one."""
    images = zip(result.scores.clients, result.scores.rows)
    return {(client, int(row)): place for place, (client, row) in enumerate(images)}


def _cases(
    study: ClassStudy, results: Sequence[Result], places: Sequence[Mapping[_Image, int]]
) -> list[_Image]:
    """The images to explain, which all variants have seen."""
    labels = results[0].scores.labels[:, _COLUMN]
    common = set.intersection(*(set(place) for place in places))
    present = [image for image in common if labels[places[0][image]] == 1]

    def order(image: _Image) -> tuple[bool, float, _Image]:
        client, row = image
        scores = [
            result.probabilities[place[image], _COLUMN] for result, place in zip(results, places)
        ]
        has_outline = study.records[client]["mask"].iat[row] is not None
        return not has_outline, -float(np.mean(scores)), image

    return sorted(present, key=order)[: study.heatmaps]


def _arrays(study: ClassStudy, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The image and what is outlined in it, as `report.run_cases` reads them."""
    size, fit = study.image_size, study.fit
    arrays = {"image": pictures.picture(record["image"], size, fit)[..., 0]}
    for name, annotation in (("annotation", record["mask"]), ("lungs", record["lungs"])):
        region = pictures.region(annotation, size, fit)
        if region is not None:
            arrays[name] = region
    return arrays


def _add_heat(result: Result, model: CxrModel, shown: Sequence[dict[str, np.ndarray]]) -> None:
    model.keras.set_weights(result.weights)
    for arrays in shown:
        pixels = arrays["image"]
        if result.variant.is_cut_out and "lungs" in arrays:
            pixels = np.where(arrays["lungs"], pixels, 0)
            arrays[f"seen_{result.variant.name}"] = pixels
        image = pixels[None, ..., None].astype(np.float32) / 255.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            heat = gradcam.grad_cam(model.keras, model.gradcam_layer, image, _COLUMN)[0]
        arrays[f"heat_{result.variant.name}"] = heat
