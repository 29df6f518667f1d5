"""From a model of radiographs and labelled images to rows of results, for each kind of model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import logging
import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from tffcxr.clients import site_tables
from tffcxr.clients.shards.decoding import Annotation
from tffcxr.clients.sites import Site
from tffcxr.datasets import records
from tffcxr.datasets.imaging import images as images_lib
from tffcxr.errors import InputError
from tffcxr.evaluation import class_rows, mask_rows, result_rows, segmentation, undefined
from tffcxr.models.files import metadata
from tffcxr.models.files.export import Exported
from tffcxr.models.files.metadata import Metadata
from tffcxr.prediction import predictor, reading


@dataclasses.dataclass(frozen=True)
class Sample:
    """The images of one site that the model has not seen.

    Attributes:
      site: the site.
      table: its records, with what the model is measured by.
    """

    site: Site
    table: pd.DataFrame


class Predicted(NamedTuple):
    """What a model says of an image.

    Attributes:
      path: of the image.
      shape: its rows and columns with square pixels.
      probabilities: float32 [outputs] or [S, S, 1].
    """

    path: str
    shape: tuple[int, int]
    probabilities: np.ndarray


class Measures(NamedTuple):
    """How the intervals are made.

    Attributes:
      replicates: of the bootstrap, by patient.
      seed: of the bootstrap.
    """

    replicates: int
    seed: int


def prepare(about: Metadata, site: Site, table: pd.DataFrame) -> Sample:
    """Selects the images of a site that a model can be measured on.

    Args:
      about: the model.
      site: the site.
      table: its records, with findings as the model calls them.

    Raises:
      InputError: there is none, or the model takes no whole radiographs.
    """
    about.check_takes_radiographs()
    return Sample(site, _KINDS[about.kind].keep(about, site, table))


def rows(
    exported: Exported, sample: Sample, batch_size: int, how: Measures
) -> tuple[list[dict[str, Any]], int]:
    """Measures a model.

    Args:
      exported: the model.
      sample: the images.
      batch_size: images that are predicted at once.
      how: see `Measures`.

    Returns:
      Rows of `metrics.json`; and how many images could not be used, which the log names: unreadable
      files, and images of another modality or body part.
    """
    about = exported.metadata
    found = list(_predict(exported, sample.table["image"].tolist(), batch_size))
    is_usable = np.array([one is not None for one in found])
    usable = Sample(sample.site, sample.table[is_usable].reset_index(drop=True))
    outputs = [one for one in found if one is not None]
    made = _KINDS[about.kind].rows(about, usable, outputs, how) if outputs else []
    common = {
        "model": about.network,
        "training": about.training,
        "split": result_rows.EXTERNAL,
        "client": sample.site.name,
    }
    return [{**row, **common} for row in made], int((~is_usable).sum())


def _predict(
    exported: Exported, paths: Sequence[str], batch_size: int
) -> Iterator[Predicted | None]:
    """Yields what the model says of every image, None of one that cannot be used.

    No more images than a batch are waiting in memory.
    """
    how = reading.Reading(predictor.expected_of(exported), exported.metadata.fit)
    spec = tf.TensorSpec([None, *exported.keras.input_shape[1:]], tf.float32)
    model = tf.function(lambda x: exported.keras(x, training=False), [spec], autograph=False)
    waiting: list[reading.Image] = []

    def answers() -> Iterator[Predicted | None]:
        squares = [image.square for image in waiting if image.square is not None]
        pixels = np.array(squares, np.float32) / np.float32(255.0)
        found = iter(model(tf.constant(pixels)).numpy() if squares else ())
        for image in waiting:
            if image.square is None:
                yield None
            else:
                yield Predicted(image.path, image.shape, next(found))
        waiting.clear()

    with contextlib.closing(reading.read_all(paths, how)) as read:
        for image in read:
            if image.square is None:
                logging.warning("left out: %s", image.error)
            waiting.append(image)
            if len(waiting) == batch_size:
                yield from answers()
    yield from answers()


def _common_findings(about: Metadata, table: pd.DataFrame) -> list[str]:
    return [name for name in about.outputs if name in records.findings(table)]


def _keep_findings(about: Metadata, site: Site, table: pd.DataFrame) -> pd.DataFrame:
    found = _common_findings(about, table)
    if not found:
        raise InputError(
            f"site {site.name}: expected labels of {', '.join(about.outputs)}, found "
            f"{', '.join(records.findings(table)) or 'none'}"
        )
    return table


def _rows_of_findings(
    about: Metadata, sample: Sample, outputs: Sequence[Predicted], how: Measures
) -> list[dict[str, Any]]:
    """A row per finding; see `result_rows.result_row`."""
    probabilities = np.stack([one.probabilities for one in outputs]).astype(float)
    found = []
    for name in _common_findings(about, sample.table):
        task = f"{name} at {sample.site.name}"
        with undefined.named(f"{task}, {about.training} model"):
            row = result_rows.result_row(
                task,
                about.network,
                about.training,
                result_rows.EXTERNAL,
                sample.table[name].to_numpy(float),
                probabilities[:, about.outputs.index(name)],
                about.operating_points.get(name, math.nan),
                groups=sample.table["patient"].to_numpy(object),
                replicates=how.replicates,
                seed=how.seed,
            )
        found.append(row)
    return found


def _keep_classes(about: Metadata, site: Site, table: pd.DataFrame) -> pd.DataFrame:
    whole = site_tables.with_all_classes(table, about.outputs)
    return site_tables.keep_classes(whole, site, about.outputs)


def _rows_of_classes(
    about: Metadata, sample: Sample, outputs: Sequence[Predicted], how: Measures
) -> list[dict[str, Any]]:
    with np.errstate(divide="ignore"):
        log_probabilities = np.log(np.stack([one.probabilities for one in outputs]).astype(float))
    with undefined.named(f"{sample.site.name}, {about.training} model"):
        measured = class_rows.measured(
            sample.table[list(about.outputs)].to_numpy(float).argmax(axis=1),
            log_probabilities,
            sample.table["patient"].to_numpy(object),
            about.outputs,
            *how,
        )
    return [{"task": f"{', '.join(about.outputs)} at {sample.site.name}", **measured}]


def _keep_masks(about: Metadata, site: Site, table: pd.DataFrame) -> pd.DataFrame:
    (region,) = about.outputs
    if region == site_tables.LUNGS:
        return site_tables.keep_lungs(table, site)
    return site_tables.keep_region(table, site, region)


def _rows_of_masks(
    about: Metadata, sample: Sample, outputs: Sequence[Predicted], how: Measures
) -> list[dict[str, Any]]:
    """A row of the masks at the model's resolution, as its run measures them."""
    (region,) = about.outputs
    truths = [_truth(about, *pair) for pair in zip(sample.table["mask"], outputs)]
    marked = [one.probabilities[..., 0] >= about.threshold for one in outputs]
    has_region = np.array([truth.any() for truth in truths])
    jaccard, dice = (
        np.where(has_region, [of(one, true) for one, true in zip(marked, truths)], np.nan)
        for of in (segmentation.jaccard, segmentation.dice)
    )
    patients = sample.table["patient"].to_numpy(object)
    task = f"{region} at {sample.site.name}"
    with undefined.named(f"{task}, {about.training} model"):
        row = mask_rows.measured(jaccard, dice, patients, *how)
        if region != site_tables.LUNGS:  # There are lungs in every image.
            truth_area, marked_area = (
                np.array([mask.mean() for mask in masks]) for masks in (truths, marked)
            )
            row.update(mask_rows.detection(truth_area, marked_area, patients, *how))
    return [{"task": task, **row}]


def _truth(about: Metadata, annotation: Annotation, image: Predicted) -> np.ndarray:
    """An annotation as the model's output has it: bool [S, S].

    Raises:
      InputError: it cannot be read, or has another size than the image.
    """
    mask = annotation.to_array()
    if mask.shape != image.shape:
        raise InputError(
            f"expected an annotation of {image.shape} pixels for {image.path}, found {mask.shape}"
        )
    square = images_lib.fit_to_square(
        mask.astype(np.uint8), about.image_size, about.fit, is_mask=True
    )
    return square.astype(bool)


class _Kind(NamedTuple):
    keep: Callable[[Metadata, Site, pd.DataFrame], pd.DataFrame]
    rows: Callable[[Metadata, Sample, Sequence[Predicted], Measures], list[dict[str, Any]]]


_KINDS: Mapping[str, _Kind] = {
    metadata.FINDINGS: _Kind(_keep_findings, _rows_of_findings),
    metadata.CLASSES: _Kind(_keep_classes, _rows_of_classes),
    metadata.MASKS: _Kind(_keep_masks, _rows_of_masks),
}
