"""Where heat maps are and how focused: of each image, and over all images of each model.

images that a model calls positive → heat maps → `heat_images.csv` → means, differences → `heat.csv`

`localisation` has the formulas. The intervals are those of `mean_interval`: patients are drawn
with replacement. A difference between two models is the mean over the images that both call
positive, of the one value minus the other, so it is paired; a model's own mean is over all images
that it calls positive itself. The p-values of all differences of a run are adjusted together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import logging
import math
import pathlib
import sys
from typing import TYPE_CHECKING, Any
import warnings

import numpy as np
import pandas as pd
import tensorflow as tf
import tqdm

from tffcxr import run_tables
from tffcxr.errors import InputError
from tffcxr.evaluation import comparisons, mean_interval
from tffcxr.explanation import localisation
from tffcxr.studies import trainings

if TYPE_CHECKING:
    from tffcxr.models.blocks import CxrModel
    from tffcxr.studies.study import Settings

# Which images: those with the finding that the model calls positive; or, of a site that does not
# label the finding, all that it calls positive.
TRUE_POSITIVES, CALLED_POSITIVE = "true positives", "called positive"
_BATCH = 32  # Images per pass through a model.
_LOG = logging.getLogger(__name__)

Image = tuple[str, int]  # A client and the row of its table.
# A group, and what `measure` gave of each of its images.
Measured = tuple["Group", Sequence[Mapping[str, float]]]
Regions = Mapping[str, "np.ndarray | None"]  # "lungs" and "annotation": bool [S, S], or None.


@dataclasses.dataclass(frozen=True)
class Group:
    """The images of one site that one model calls positive.

    Attributes:
      task: the finding or class.
      model: the network or variant.
      training: how it was trained.
      site: whose images these are.
      cases: `TRUE_POSITIVES` or `CALLED_POSITIVE`.
      images: in the order of the site's tables.
      scores: [N], the model's probabilities.
      patients: [N], of the images.
    """

    task: str
    model: str
    training: str
    site: str
    cases: str
    images: Sequence[Image]
    scores: np.ndarray
    patients: np.ndarray


def share_inside(heat: np.ndarray, region: np.ndarray | None) -> float:
    """The share of the heat inside a region, NaN without a region or without any heat."""
    if region is None:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an empty region is NaN in the table
        return localisation.share_inside(heat, region)


def measure(heat: np.ndarray, regions: Regions) -> dict[str, float]:
    """What `heat_images.csv` has of one heat map; NaN where it is undefined.

    Args:
      heat: [S, S], not negative.
      regions: of the image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # `table_of` says how often
        measured = {
            "entropy": localisation.entropy(heat),
            "half_area": localisation.half_area(heat),
        }
    for name in ("lungs", "annotation"):
        region = regions.get(name)
        measured[f"heat_in_{name}"] = share_inside(heat, region)
        measured[f"{name}_area"] = math.nan if region is None else float(region.mean())
    return measured


def places_of_map(model: CxrModel) -> int:
    """How many places a model's heat map has on a side, before it is brought to the image's."""
    return int(model.keras.get_layer(model.gradcam_layer).output_shape[1])


@dataclasses.dataclass(frozen=True)
class Job:
    """What makes the heat maps of a group.

    Attributes:
      group: the images.
      start: gives each image of the group with its heat map, [S, S], in any order.
      regions: which of the image's regions the heat is compared with.
    """

    group: Group
    start: Callable[[], Iterator[tuple[Image, np.ndarray]]]
    regions: tuple[str, ...] = ("lungs", "annotation")


def explain(
    dataset_of: Callable[[str], tf.data.Dataset],
    images: Sequence[Image],
    heat_of: Callable[[np.ndarray], np.ndarray],
) -> Iterator[tuple[Image, np.ndarray]]:
    """Yields images with their heat maps, computed in batches.

    Args:
      dataset_of: from a client to what `ClientData.evaluation_dataset` gives of it.
      images: those to explain.
      heat_of: from images, float32 [B, S, S, C], to heat, [B, S, S].
    """
    wanted = set(images)
    waiting: list[tuple[Image, np.ndarray]] = []
    for client in dict.fromkeys(client for client, _ in images):
        for batch in dataset_of(client):
            pixels = batch["images"].numpy()
            for place, row in enumerate(batch["rows"].numpy().tolist()):
                if (client, row) in wanted:
                    waiting.append(((client, row), pixels[place]))
            while len(waiting) >= _BATCH:
                yield from _explained(waiting[:_BATCH], heat_of)
                waiting = waiting[_BATCH:]
    if waiting:
        yield from _explained(waiting, heat_of)


def _explained(
    items: Sequence[tuple[Image, np.ndarray]], heat_of: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[Image, np.ndarray]]:
    heats = heat_of(np.stack([pixels for _, pixels in items]))
    return zip((image for image, _ in items), heats)


class RegionReader:
    """Reads the lungs and the annotation of an image, each image once.

    Args:
      read: from an annotation of a records table, or None, to a region, bool [S, S], or None.
      annotations: from an image to its annotations by name.
    """

    def __init__(
        self,
        read: Callable[[Any], np.ndarray | None],
        annotations: Callable[[Image], Mapping[str, Any]],
    ):
        self._read = read
        self._annotations = annotations
        self._known: dict[Image, Regions] = {}

    def __call__(self, image: Image) -> Regions:
        """The regions of an image; None where there is none, or where it is damaged."""
        if image not in self._known:
            self._known[image] = {
                name: self._region(name, annotation)
                for name, annotation in self._annotations(image).items()
            }
        return self._known[image]

    def _region(self, name: str, annotation: Any) -> np.ndarray | None:
        try:
            return self._read(annotation)
        except (InputError, OSError, ValueError) as error:
            _LOG.warning("heat is not compared with an image's %s: %s", name, error)
            return None


def measure_all(
    jobs: Sequence[Job], regions: RegionReader, progress: bool = True
) -> list[Measured]:
    """Makes and measures all heat maps.

    Args:
      jobs: one after the other.
      regions: of the images.
      progress: whether to draw a progress bar, if stderr is a terminal.
    """
    total = sum(len(job.group.images) for job in jobs)
    print(f"heat: {total} heat maps of {len(jobs)} models and groups of images", file=sys.stderr)
    found: list[Measured] = []
    off = None if progress else True  # None: off unless stderr is a terminal.
    with tqdm.tqdm(total=total, desc="heat", unit="image", disable=off) as bar:
        for job in jobs:
            by_image = {}
            for image, heat in job.start() if job.group.images else ():
                known = {name: regions(image)[name] for name in job.regions}
                by_image[image] = measure(heat, known)
                bar.update()
            found.append((job.group, [by_image[image] for image in job.group.images]))
    return found


def table_of(groups: Sequence[Measured]) -> pd.DataFrame:
    """Makes `heat_images.csv`: a row per model and image.

    Args:
      groups: each with what `measure` gave of each of its images.
    """
    rows = []
    for group, measured in groups:
        about = {key: getattr(group, key) for key in ("task", "model", "training", "site", "cases")}
        for (client, row), score, values in zip(group.images, group.scores, measured):
            rows.append({**about, "client": client, "row": row, "score": float(score), **values})
    table = pd.DataFrame(rows, columns=list(run_tables.HEAT_IMAGES.columns))
    cold = int(table["entropy"].isna().sum())
    if cold:
        _LOG.warning("%d of %d heat maps have no heat and are in no mean", cold, len(table))
    if len(table) and table["heat_in_lungs"].isna().all():
        _LOG.warning(
            "heat in lungs is undefined: no image has masks of the lungs, and no segmentation "
            "model predicted them"
        )
    return table


def summarise(
    groups: Sequence[Measured],
    compared: Sequence[tuple[str, str]],
    pixels: int,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Makes `heat.csv`: means of every model, and paired differences between models.

    Args:
      groups: each with what `measure` gave of each of its images.
      compared: pairs of trainings; of models that differ in these alone, the first's heat minus
        the second's, on the images of a site that are in the groups of both.
      pixels: of a heat map.
      replicates: of the bootstrap.
      seed: of the bootstrap.
    """
    rows = []
    by_key = {
        (group.task, group.model, group.site, group.training): (group, measured)
        for group, measured in groups
    }
    for group, measured in groups:
        values = pd.DataFrame(list(measured), columns=list(run_tables.HEAT_MEASURES))
        rows.append(_row(group, "", values, values, group.patients, pixels, replicates, seed))
    for (task, model, site, training), (group, measured) in by_key.items():
        for one, other in compared:
            match = by_key.get((task, model, site, other))
            if training != one or match is None:
                continue
            places = {image: place for place, image in enumerate(match[0].images)}
            both = [place for place, image in enumerate(group.images) if image in places]
            mine, its = (
                pd.DataFrame(list(picked), columns=list(run_tables.HEAT_MEASURES))
                for picked in (
                    [measured[place] for place in both],
                    [match[1][places[group.images[place]]] for place in both],
                )
            )
            patients = np.asarray(group.patients)[both]
            rows.append(_row(group, other, mine - its, mine, patients, pixels, replicates, seed))
    tests = [
        (row, f"{name}_p")
        for row in rows
        for name in run_tables.HEAT_MEANS
        if not math.isnan(row[f"{name}_p"])
    ]
    for (row, name), value in zip(tests, comparisons.holm([row[name] for row, name in tests])):
        row[f"{name}_holm"] = value
    return pd.DataFrame(rows, columns=list(run_tables.HEAT.columns))


def _row(
    group: Group,
    compared_with: str,
    values: pd.DataFrame,
    of_model: pd.DataFrame,
    patients: np.ndarray,
    pixels: int,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "task": group.task,
        "model": group.model,
        "training": group.training,
        "compared_with": compared_with,
        "site": group.site,
        "cases": group.cases,
        "images": len(values),
        "patients": len(set(patients)),
        "without_heat": int(values["entropy"].isna().sum()),
        "pixels": pixels,
    }
    for name in run_tables.HEAT_MEANS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # too few images are NaN in the table
            found = mean_interval.mean_interval(
                values[name].to_numpy(float), np.asarray(patients), replicates, seed=seed
            )
            row[f"{name}_p"] = (
                mean_interval.difference_test(
                    values[name].to_numpy(float), np.asarray(patients), replicates, seed
                )
                if compared_with
                else math.nan
            )
        row.update(found.named(name))
    for name in ("lungs", "annotation"):
        # Of evenly spread heat, this is the share inside.
        known = values[f"heat_in_{name}"].notna()
        row[f"{name}_images"] = int(known.sum())
        row[f"{name}_area"] = float(of_model[f"{name}_area"][known].mean())
    return row


def write(directory: pathlib.Path, groups: Sequence[Measured], settings: Settings) -> None:
    """Writes `heat_images.csv` and `heat.csv` of a run with these settings.

    Federated models are compared with the site's own and with the pooled one.
    """
    compared = [(trainings.FEDERATED, other) for other in (trainings.SITE, trainings.POOLED)]
    table = summarise(groups, compared, settings.image_size**2, settings.replicates, settings.seed)
    run_tables.HEAT_IMAGES.write(directory, table_of(groups))
    run_tables.HEAT.write(directory, table)
