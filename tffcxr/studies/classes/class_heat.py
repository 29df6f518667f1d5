"""Heat of every model over all test images of the explained classes that it classifies correctly.

Each model is explained on what it sees: full images, or the lungs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import functools
import pathlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tffcxr.clients.client_data import ClientData
from tffcxr.explanation import gradcam
from tffcxr.studies import heat_tables
from tffcxr.studies.classes import class_explanations

if TYPE_CHECKING:
    from tffcxr.models.blocks import CxrModel
    from tffcxr.studies.classes.class_study import ClassStudy
    from tffcxr.studies.classes.variants import Result


def write(
    directory: pathlib.Path,
    study: ClassStudy,
    outlined: Mapping[str, pd.DataFrame],
    results: Sequence[Result],
    measuring: Callable[[str], CxrModel],
    data: Mapping[str, ClientData],
) -> None:
    """Writes `heat_images.csv` and `heat.csv`.

    Args:
      directory: the run's.
      study: with the lungs of every image, as they were cut out, in its records.
      outlined: the records with the outlines that came with the data; where there is one, the heat
        in the lungs is measured by it.
      results: the models.
      measuring: gives the network of a name, in which the weights of a result go.
      data: the test images, by kind of images.
    """

    def annotations(image: heat_tables.Image) -> dict[str, object]:
        client, row = image
        known = outlined[client]["lungs"].iat[row]
        cut = study.clients.records[client]
        return {
            "annotation": cut["mask"].iat[row],
            "lungs": cut["lungs"].iat[row] if known is None else known,
        }

    regions = heat_tables.RegionReader(study.read_region, annotations)
    method = class_explanations.METHODS[study.explanation]

    @functools.cache
    def gradients(network: str) -> gradcam.Gradients:
        model = measuring(network)
        return gradcam.compiled_gradients(model.keras, model.gradcam_layer)

    def heat(
        result: Result, group: heat_tables.Group, column: int
    ) -> Iterator[tuple[heat_tables.Image, np.ndarray]]:
        model = measuring(result.variant.model)
        model.keras.set_weights(result.weights)
        return heat_tables.explain(
            lambda client: data[result.variant.images].evaluation_dataset(client, "test"),
            group.images,
            lambda pixels: method(
                model.keras,
                model.gradcam_layer,
                pixels,
                column,
                gradients=gradients(result.variant.model),
            ),
        )

    jobs = [
        heat_tables.Job(group, functools.partial(heat, result, group, column))
        for result in results
        for group, column in _groups(study, result)
    ]
    heat_tables.write(directory, heat_tables.measure_all(jobs, regions), study.settings)


def _groups(study: ClassStudy, result: Result) -> Iterator[tuple[heat_tables.Group, int]]:
    """Yields the images of each explained class that a model takes for it, and its column."""
    scores, patients = result.scores, study.patients(result.scores)
    called = scores.scores.argmax(axis=1)
    for name in study.explained:
        column = study.classes.index(name)
        places = np.flatnonzero((scores.labels[:, column] == 1) & (called == column))
        group = heat_tables.Group(
            name,
            result.variant.name,
            result.training,
            " and ".join(dict.fromkeys(study.clients.site_of.values())),
            heat_tables.TRUE_POSITIVES,
            [(str(scores.clients[place]), int(scores.rows[place])) for place in places],
            result.probabilities[places, column],
            patients[places],
        )
        yield group, column
