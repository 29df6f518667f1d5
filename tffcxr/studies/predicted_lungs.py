"""From a trained segmentation model to the lungs of every image, predicted once.

    <cache>/lungs/<model and code>/<image>.png    the cleaned mask of the square the model was given

A mask's name is a hash of the image's path, size and time of change; its folder's is one of the
model, its metadata and the code that reads images and cleans masks. So a mask is predicted again
when one of them changes, what a killed run did is kept, and the fingerprint of shards whose images
are cut out changes with the segmentation model.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import os
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import PIL.PngImagePlugin
import tensorflow as tf
import tqdm

from tffcxr import files, run_tables
from tffcxr.clients.shards import decoding, fingerprint
from tffcxr.datasets import lung_regions
from tffcxr.datasets.imaging import annotations as regions
from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError
from tffcxr.evaluation import segmentation
from tffcxr.models.files import export, run_models
from tffcxr.models.files.metadata import Metadata
from tffcxr.report.figures import contact_sheet
from tffcxr.sweeps import sweep_results

_COLUMNS = (*run_tables.LUNGS.columns, "mask")
# `lungs_examples.npz` has images of this size, whatever the model takes.
_EXAMPLE_SIZE = 256
UNREADABLE = "unreadable"
_LOG = logging.getLogger(__name__)
_NOTE = "tffcxr"  # The keyword under which a mask's file says what it is.


@dataclasses.dataclass(frozen=True)
class Segmented:
    """The lungs of all images.

    Attributes:
      records: client id -> its table, with the predicted lungs in the column `lungs`, None where
        they are not plausible or the image cannot be read.
      summary: a row per predicted image, by client and row: `client`, `row` (its number in the
        client's table), `plausible`, `reason` (why not, or None), `area` (share of the image, NaN
        where it cannot be read), `jaccard` (with the lungs that the table had, NaN where there were
        none), `mask` (the predicted one, a `FittedMask`, plausible or not; None where the image
        cannot be read).
      image_size: side of the square that masks were predicted on, in pixels.
      fit: how images were fitted to it.
    """

    records: Mapping[str, pd.DataFrame]
    summary: pd.DataFrame
    image_size: int
    fit: str

    @property
    def counts(self) -> dict[str, int]:
        """Images: `total`, `plausible`, `implausible` and `unreadable`, which add up to it."""
        unreadable = int((self.summary["reason"] == UNREADABLE).sum())
        plausible = int(self.summary["plausible"].sum())
        total = len(self.summary)
        return {
            "total": total,
            "plausible": plausible,
            "implausible": total - plausible - unreadable,
            "unreadable": unreadable,
        }

    def about(self, model_path: str | os.PathLike[str]) -> dict[str, Any]:
        """How many lungs were predicted and why some are not used, for `config.json`."""
        counts = self.counts
        faults = collections.Counter(
            reason.partition(":")[0] for reason in self.summary["reason"].dropna()
        )
        return {
            "images": counts["total"],
            "implausible": counts["implausible"],
            "unreadable": counts["unreadable"],
            "reasons": dict(faults.most_common()),
            "model": str(find_model(model_path)),
        }


def find_model(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path of the segmentation model that a flag gives.

    Args:
      path: a `.keras` file, the folder of a segmentation run, or that of a sweep, whose best run
        is taken.

    Raises:
      InputError: it is none of these, or runs of the sweep are still missing.
    """
    found = pathlib.Path(path)
    if (found / sweep_results.FILE).is_file():
        found = sweep_results.best_run(found, of_all=True)
    return run_models.find(found)


def load_model(path: str | os.PathLike[str]) -> export.Exported:
    """Loads the model that `find_model` returns.

    Raises:
      InputError: the model cannot be used, or it does not segment lungs.
    """
    file = find_model(path)
    model = export.load(file)
    try:
        model.metadata.check_marks_lungs()
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return model


def segment(
    records_by_client: Mapping[str, pd.DataFrame],
    model_path: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str],
    *,
    chosen: Mapping[str, np.ndarray] | None = None,
    progress: bool = True,
    batch_size: int = 8,
    workers: int | None = None,
) -> Segmented:
    """Predicts the lungs of images, where they are not in the cache.

    Args:
      records_by_client: client id -> records table.
      model_path: see `find_model`.
      cache_dir: folder of the cache, made if missing. Two runs that share one take turns.
      chosen: client id -> bool per row of its table, whose lungs are predicted; None for all.
      progress: whether to draw a progress bar, if stderr is a terminal.
      batch_size: images that are predicted at once, at least 1.
      workers: processes that decode; None for one per available core.

    Returns:
      The same tables, with the predicted lungs of these images instead of any that they had.

    Raises:
      InputError: the model cannot be used, it does not segment lungs, or the cache cannot be
        written.
    """
    if batch_size < 1:
        raise InputError(f"expected a batch size of at least 1, found {batch_size}")
    path = find_model(model_path)
    model = load_model(path)
    folder = pathlib.Path(cache_dir).absolute() / "lungs" / _model_key(path)
    cache = _Cache(folder, model.metadata)
    numbers = {
        client: np.arange(len(table)) if chosen is None else np.flatnonzero(chosen[client])
        for client, table in records_by_client.items()
    }
    every = dict.fromkeys(
        image
        for client, table in records_by_client.items()
        for image in table["image"].iloc[numbers[client]]
    )
    try:
        with cache.turn():
            missing = [image for image in every if cache.get(image) is None]
            _predict(model, cache, missing, batch_size, workers, progress)
    except OSError as error:
        raise InputError(f"cannot write the masks to {cache.folder}: {error}") from None
    rows: list[dict[str, Any]] = []
    tables = {}
    for client in sorted(records_by_client):
        records = records_by_client[client]
        lungs = list(records["lungs"])
        for row in map(int, numbers[client]):
            mask = cache.get(records["image"].iat[row])
            rows.append({"client": client, "row": row, **_summarise(mask, lungs[row])})
            lungs[row] = mask.region if mask and mask.reason is None else None
        tables[client] = records.assign(lungs=pd.Series(lungs, records.index, dtype=object))
    summary = pd.DataFrame(rows, columns=list(_COLUMNS))
    return Segmented(tables, summary, model.metadata.image_size, model.metadata.fit)


def write(directory: pathlib.Path, segmented: Segmented, examples: int = 24) -> None:
    """Writes `lungs.csv` and `lungs_examples.npz`, which `report.contact_sheet` reads.

    The table names neither patients nor files.

    Args:
      directory: the run's folder.
      segmented: the lungs.
      examples: how many images the contact sheet has at most.
    """
    summary = segmented.summary
    reasons = [reason if isinstance(reason, str) else None for reason in summary["reason"]]
    chosen = contact_sheet.choose(reasons, summary["area"].tolist(), examples)
    pictures, lungs = [], []
    for position, _ in chosen:
        row = summary.iloc[position]
        path = segmented.records[row["client"]]["image"].iat[row["row"]]
        image, mask = images.read_image(path), row["mask"].to_array()
        pictures.append(images.fit_to_square(image[..., 0], _EXAMPLE_SIZE, segmented.fit))
        lungs.append(images.fit_to_square(mask, _EXAMPLE_SIZE, segmented.fit, is_mask=True))
    shape = (len(chosen), _EXAMPLE_SIZE, _EXAMPLE_SIZE)
    arrays = {
        "images": np.array(pictures, np.uint8).reshape(shape),
        "lungs": np.array(lungs, bool).reshape(shape),
        "positions": np.array([position for position, _ in chosen], np.int64),
        "kinds": np.array([kind for _, kind in chosen], str),
    }
    files.write_atomically(
        directory / contact_sheet.EXAMPLES, lambda file: np.savez_compressed(file, **arrays)
    )
    run_tables.LUNGS.write(directory, summary.drop(columns="mask"))


@dataclasses.dataclass(frozen=True)
class _Mask:
    """A predicted mask: where it is, why it is implausible (or None), its share of the image."""

    region: regions.FittedMask
    reason: str | None
    area: float


@dataclasses.dataclass(frozen=True)
class _Cache:
    """The masks that one model predicted; each file says how it was judged.

    Attributes:
      folder: where they are.
      metadata: the model's.
    """

    folder: pathlib.Path
    metadata: Metadata

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Waits until no other run writes here, and keeps others waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with files.locked(self.folder / ".lock"):
            files.remove_unfinished(self.folder)
            yield

    def get(self, image: str) -> _Mask | None:
        """Returns the mask of an image; None if it was not predicted."""
        path = self._path(image)
        try:
            with PIL.Image.open(path) as mask:
                note = json.loads(mask.info[_NOTE])
        except (OSError, KeyError, ValueError):  # not there, or damaged
            return None
        region = regions.FittedMask(str(path), note["height"], note["width"], self.metadata.fit)
        return _Mask(region, note["reason"], note["area"])

    def put(self, image: str, mask: np.ndarray, height: int, width: int) -> None:
        """Cleans, judges and writes a mask, bool [S, S], of an image of that size."""
        mask = lung_regions.clean(mask)
        content = mask[images.place_in_square((height, width), mask.shape[0], self.metadata.fit)]
        note = PIL.PngImagePlugin.PngInfo()
        judged = {
            "height": height,
            "width": width,
            "reason": lung_regions.implausible(content),
            "area": float(content.mean()),
        }
        note.add_text(_NOTE, json.dumps(judged))
        picture = PIL.Image.fromarray(mask.astype(np.uint8) * 255)
        files.write_atomically(
            self._path(image), lambda file: picture.save(file, format="png", pnginfo=note)
        )

    def _path(self, image: str) -> pathlib.Path:
        key = repr((os.path.abspath(image), fingerprint.file_state(image)))
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.png"


def _model_key(path: pathlib.Path) -> str:
    """Returns 16 hexadecimal digits for a model, and the code between an image and its mask."""
    digest = hashlib.sha256()
    for file in (path, path.with_suffix(".json")):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    for module in (*fingerprint.CODE, lung_regions):
        assert module.__file__ is not None
        digest.update(pathlib.Path(module.__file__).read_bytes())
    return digest.hexdigest()[:16]


def _predict(
    model: export.Exported,
    cache: _Cache,
    missing: Sequence[str],
    batch_size: int,
    workers: int | None,
    progress: bool,
) -> None:
    """Predicts and writes the masks of the images that can be read."""
    size = model.metadata.image_size
    jobs = (decoding.Job(image, size, model.metadata.fit) for image in missing)
    results = decoding.decode_in_order(jobs, len(missing), workers)
    pixels = tf.TensorSpec([None, size, size, 1], tf.float32)
    probabilities = tf.function(
        lambda batch: model.keras(batch, training=False),
        input_signature=[pixels],
        autograph=False,
    )
    off = None if progress else True  # None: off unless stderr is a terminal.
    with (
        contextlib.closing(results),
        tqdm.tqdm(total=len(missing), desc="lungs", unit="image", disable=off) as bar,
    ):
        pairs = zip(missing, results)
        while batch := list(itertools.islice(pairs, batch_size)):
            bar.update(len(batch))
            readable = [(image, one) for image, one in batch if isinstance(one, decoding.Decoded)]
            if not readable:
                continue
            squares = [np.frombuffer(one.image, np.uint8) for _, one in readable]
            inputs = np.stack(squares).reshape(-1, size, size, 1).astype(np.float32) / 255.0
            masks = probabilities(inputs).numpy()[..., 0] >= model.metadata.threshold
            for (image, one), mask in zip(readable, masks):
                cache.put(image, mask, one.height, one.width)


def _summarise(mask: _Mask | None, truth: Any) -> dict[str, Any]:
    """Returns an image's row of the summary."""
    if mask is None:
        nothing = float("nan")
        return {"plausible": False, "reason": UNREADABLE, "area": nothing, "jaccard": nothing}
    return {
        "plausible": mask.reason is None,
        "reason": mask.reason,
        "area": mask.area,
        "jaccard": _jaccard(mask.region, truth),
        "mask": mask.region,
    }


def _jaccard(region: regions.FittedMask, truth: Any) -> float:
    """Returns the overlap with the lungs that were known, NaN where none were or fit the image."""
    if truth is None:
        return float("nan")
    try:
        return segmentation.jaccard(region.to_array(), truth.to_array())
    except (InputError, OSError, ValueError) as error:
        _LOG.warning("predicted lungs are not compared with the known ones: %s", error)
        return float("nan")
