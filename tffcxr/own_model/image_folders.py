"""Clients whose data are folders of radiographs: DICOM, PNG or JPEG, sorted by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import logging
import os
import pathlib
import tempfile
from typing import Any

import pandas as pd
import tensorflow as tf

from tffcxr.clients.augment import BY_NAME
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards import preparation
from tffcxr.clients.sites import Site, check_names
from tffcxr.datasets import findings as finding_names
from tffcxr.datasets import loaders, splits
from tffcxr.datasets import records as records_lib
from tffcxr.errors import InputError
from tffcxr.options import AUGMENTATIONS
from tffcxr.own_model.dataset_clients import check_names as check_client_names

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FolderClients:
    """`Clients` of folders; see `clients_from_folders`.

    Attributes:
      labels: what the columns of the labels are, in order.
    """

    labels: tuple[str, ...]
    _data: ClientData
    _folder: tempfile.TemporaryDirectory | None  # Of the decoded images; goes with the clients.

    @property
    def ids(self) -> tuple[str, ...]:
        """See `Clients`."""
        return tuple(self._data.store.client_ids)

    @property
    def element_spec(self) -> Any:
        """See `Clients`."""
        spec = self._data.element_spec
        return spec["images"], spec["labels"]

    @property
    def validation(self) -> Mapping[str, tf.data.Dataset]:
        """See `Clients`; of those that have such images."""
        return self._of_split("validation")

    @property
    def test(self) -> Mapping[str, tf.data.Dataset]:
        """Client -> images that neither training nor validation sees, of those that have such."""
        return self._of_split("test")

    def train_images(self, client: str, /) -> int:
        """See `Clients`."""
        return self._data.train_images(client)

    def train_dataset(self, client: str, round_number: int, passes: int, /) -> tf.data.Dataset:
        """See `Clients`; the order depends on the seed, the round and the client alone."""
        return self._data.train_dataset(client, round_number, passes).map(_as_keras_takes_it)

    def _of_split(self, split: str) -> dict[str, tf.data.Dataset]:
        return {
            client: self._data.evaluation_dataset(client, split).map(_as_keras_takes_it)
            for client in self.ids
            if self._data.store.count(client, split)
        }


def clients_from_folders(
    folders: Mapping[str, str | os.PathLike[str]],
    *,
    image_size: int,
    labels: Sequence[str] | None = None,
    batch_size: int = 8,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.0,
    augmentation: str = "none",
    cache_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> FolderClients:
    """Makes clients of folders of radiographs, each with the images of one hospital.

    Images are decoded once, into the cache. Those that cannot be read are skipped and listed there;
    more than 1 % of them are an error. Patients never cross a split.

    Args:
      folders: client -> a folder that holds one folder of images per class, or `train/`, `val/` and
        `test/` with these, and maybe a `metadata.csv` (`filename`, `patientid`); or "LOADER:PATH"
        for a data set in a layout of its own, such as "rsna:/data/rsna".
      image_size: side of the square images in pixels; images are padded to a square.
      labels: the classes or findings, in the order of the label's columns; None for all classes of
        the folders, in the order of `labels` of the result. A folder such as "covid" is the class
        "COVID-19", by whichever name it is asked for. Images with an unknown label are left out.
      batch_size: images per batch.
      validation_fraction: of the patients, where a folder has no split of its own.
      test_fraction: likewise.
      augmentation: of training images: "none", "flip" or "affine".
      cache_dir: for decoded images; None for a temporary folder, removed with the clients.
      seed: of splits, order and augmentation.

    Returns:
      Clients with `labels`, `validation` and `test` (client -> dataset). Their batches are
      `(images, labels)`: float32 [B, S, S, 1] in 0..1, and float32 [B, len(labels)] of 0 and 1.

    Raises:
      InputError: a folder has no images or other classes, or a setting is out of range.
    """
    if augmentation not in AUGMENTATIONS:
        raise InputError(
            f"augmentation: expected one of {', '.join(AUGMENTATIONS)}, found {augmentation!r}"
        )
    check_client_names(folders, "folders")
    for name, value in (("image_size", image_size), ("batch_size", batch_size)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{name}: expected a whole number, found {value!r}")
    if isinstance(labels, str) or (labels is not None and not labels):
        raise InputError(f"labels: expected a list of classes or findings, found {labels!r}")
    sites = [_site(name, str(path)) for name, path in folders.items()]
    check_names(sites)
    tables = {site.name: _load(site) for site in sites}
    names = _classes(tables) if labels is None else _found(tables, labels)
    held_out = {"validation": validation_fraction, "test": test_fraction}
    if min(held_out.values()) < 0 or sum(held_out.values()) >= 1:
        raise InputError(
            "validation_fraction, test_fraction: expected fractions that leave images to train on, "
            f"found {validation_fraction} and {test_fraction}"
        )
    fractions = {"train": 1.0 - sum(held_out.values()), **held_out}
    records = {
        name: _split(_known(table, names, name), fractions, seed, name)
        for name, table in tables.items()
    }
    temporary = None if cache_dir is not None else tempfile.TemporaryDirectory(prefix="tffcxr-")
    store = preparation.prepare(
        records,
        preparation.ShardSpec(image_size, names),
        pathlib.Path(temporary.name if temporary else str(cache_dir)),
        workers=1,  # More would import the user's program again, and train there, too.
    )
    data = ClientData(store, batch_size, seed, BY_NAME[augmentation])
    return FolderClients(names, data, temporary)


def _site(name: str, source: str) -> Site:
    """A folder of classes, or what "LOADER:PATH" says."""
    loader, separator, path = source.partition(":")
    if separator and loader in loaders.LOADERS:
        return Site(name, loader, pathlib.Path(path))
    return Site(name, "classes", pathlib.Path(source))


def _load(site: Site) -> pd.DataFrame:
    try:
        return site.load()
    except InputError as error:
        raise InputError(f"client {site.name!r}: {error}") from None


def _found(tables: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> tuple[str, ...]:
    """The labels as the tables of all clients have them, in any case."""
    found = {}
    for client, table in tables.items():
        have = records_lib.findings(table)
        found[client] = tuple(
            finding_names.find(label, have, f"client {client!r}") for label in labels
        )
    return next(iter(found.values()))


def _classes(tables: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """The classes that all folders have.

    Raises:
      InputError: the folders have different ones.
    """
    found = {name: tuple(records_lib.findings(table)) for name, table in tables.items()}
    first = next(iter(found))
    for name, classes in found.items():
        if set(classes) != set(found[first]):
            raise InputError(
                f"client {name!r}: expected the classes of client {first!r}, "
                f"{', '.join(found[first])}; found {', '.join(classes)} (labels= selects some)"
            )
    return found[first]


def _known(table: pd.DataFrame, labels: Sequence[str], client: str) -> pd.DataFrame:
    """The images whose labels are all known, without other labels."""
    have = records_lib.findings(table)
    known = table[list(labels)].notna().all(axis=1)
    if not known.all():
        _logger.warning(
            "client %s: %d of %d images have an unknown label and are left out",
            *(client, int((~known).sum()), len(table)),
        )
    others = [name for name in have if name not in labels]
    return table[known].drop(columns=others).reset_index(drop=True)


def _split(
    table: pd.DataFrame, fractions: Mapping[str, float], seed: int, client: str
) -> pd.DataFrame:
    """Keeps a folder's own splits; divides its patients where it has none."""
    if records_lib.SPLIT in table:
        return table
    try:
        return splits.split_patients(table, fractions, seed, None)
    except InputError as error:
        raise InputError(f"client {client!r}: {error}") from None


@tf.autograph.experimental.do_not_convert
def _as_keras_takes_it(batch: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    return batch["images"], batch["labels"]
