"""Heat maps of classes by all models side by side, on the same test images."""

from __future__ import annotations

import functools
import pathlib
from typing import TYPE_CHECKING, Any
import warnings

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.explanation import gradcam
from tffcxr.files import write_atomically
from tffcxr.report import style
from tffcxr.studies.heat_tables import share_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tffcxr.models.blocks import CxrModel
    from tffcxr.studies.classes.class_study import ClassStudy
    from tffcxr.studies.classes.variants import Result, Variant

METHODS = {"gradcam": gradcam.grad_cam, "gradcam++": gradcam.grad_cam_plus_plus}
NAMES = {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}  # What reports call them.
_Image = tuple[str, int]  # A client and the row of its table.


def write(
    directory: pathlib.Path,
    study: ClassStudy,
    outlined: Mapping[str, pd.DataFrame],
    results: Sequence[Result],
    measuring: Callable[[str], CxrModel],
) -> None:
    """Writes `explanations.csv` and the arrays behind it.

    The images of a class are those that the models together are most confident of, outlined ones
    first. Each model gets the image as it was trained on: full, or the lungs alone.

    Args:
      directory: the run's folder.
      study: with the lungs of every image, as they were cut out, in its records.
      outlined: the records with the outlines that came with the data; where there is one, the heat
        in the lungs is measured by it.
      results: the models, whose names in the table are of variant and training, or of the variant
        alone where there is one training.
      measuring: gives the network of a name, in which the weights of a result go.
    """
    several = len({result.training for result in results}) > 1
    places = [_places(result) for result in results]
    of_class = {
        name: _cases(study, results, places, study.classes.index(name)) for name in study.explained
    }
    shown = {
        (name, image): _arrays(study, study.clients.records[image[0]].iloc[image[1]])
        for name, images in of_class.items()
        for image in images
    }
    for result in results:
        key = _key(result, several)
        model = measuring(result.variant.model)
        model.keras.set_weights(result.weights)
        for (name, _), arrays in shown.items():
            _add_heat(study, key, result.variant, model, study.classes.index(name), arrays)
    rows = []
    for number, (name, images) in enumerate(of_class.items(), start=1):
        column = study.classes.index(name)
        for case, image in enumerate(images, start=1):
            client, row = image
            arrays = shown[name, image]
            outline = outlined[client]["lungs"].iat[row]
            if outline is not None:
                arrays["lungs"] = study.read_region(outline)
            file = f"explanations/{number}-{style.slug(name)}_{case}.npz"
            write_atomically(directory / file, functools.partial(np.savez_compressed, **arrays))
            for result, place in zip(results, places):
                heat = arrays[f"heat_{_key(result, several)}"]
                rows.append(
                    {
                        "task": name,
                        "case": case,
                        "training": _key(result, several),
                        "score": float(result.probabilities[place[image], column]),
                        "file": file,
                        "heat_in_lungs": share_inside(heat, arrays.get("lungs")),
                        "heat_in_annotation": share_inside(heat, arrays.get("annotation")),
                        "client": client,
                        "row": row,
                    }
                )
    table = pd.DataFrame(rows, columns=list(run_tables.EXPLANATIONS.columns))
    run_tables.EXPLANATIONS.write(directory, table)


def _key(result: Result, several_trainings: bool) -> str:
    """What a model is called in `explanations.csv`."""
    return f"{result.variant.name} {result.training}" if several_trainings else result.variant.name


def _places(result: Result) -> dict[_Image, int]:
    """Where each test image is among the scores; another variant may have rejected one."""
    images = zip(result.scores.clients, result.scores.rows)
    return {(client, int(row)): place for place, (client, row) in enumerate(images)}


def _cases(
    study: ClassStudy,
    results: Sequence[Result],
    places: Sequence[Mapping[_Image, int]],
    column: int,
) -> list[_Image]:
    """The images of a class to explain, which all variants have seen."""
    labels = results[0].scores.labels[:, column]
    common = set.intersection(*(set(place) for place in places))
    present = [image for image in common if labels[places[0][image]] == 1]

    def order(image: _Image) -> tuple[bool, float, _Image]:
        client, row = image
        scores = [
            result.probabilities[place[image], column] for result, place in zip(results, places)
        ]
        has_outline = study.clients.records[client]["mask"].iat[row] is not None
        return not has_outline, -float(np.mean(scores)), image

    return sorted(present, key=order)[: study.heatmaps]


def _arrays(study: ClassStudy, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The image and what is outlined in it, as `report.run_cases` reads them."""
    arrays = {"image": study.read_picture(record["image"])[..., 0]}
    for name, annotation in (("annotation", record["mask"]), ("lungs", record["lungs"])):
        region = study.read_region(annotation)
        if region is not None:
            arrays[name] = region
    return arrays


def _add_heat(
    study: ClassStudy,
    key: str,
    variant: Variant,
    model: CxrModel,
    column: int,
    arrays: dict[str, np.ndarray],
) -> None:
    """Adds the heat map of a model, and what it was shown where that is not the image."""
    pixels = arrays["image"]
    if variant.is_cut_out and "lungs" in arrays:
        pixels = arrays[f"seen_{key}"] = np.where(arrays["lungs"], pixels, 0)
    image = pixels[None, ..., None].astype(np.float32) / 255.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        heat = METHODS[study.explanation](model.keras, model.gradcam_layer, image, column)[0]
    arrays[f"heat_{key}"] = heat
