"""Decodes the images of every client once, into TFRecord shards that training reads.

    <cache>/<fingerprint>/manifest.json
    <cache>/<fingerprint>/<client id>/{train,validation,test}-00000-of-0000N.tfrecord
    <cache>/<fingerprint>/<client id>/rejected.csv      only if files were rejected

The fingerprint covers everything that the shards depend on: format, specification, the code that
decodes, and for every image its client, row, path, size, time of change, split, labels and
annotation. So shards are reused when nothing changed, and never when something did.

A shard holds pixels, labels and the number of the row in the client's records table; the manifest
holds counts, checksums and the numbers of the rows that were rejected; `rejected.csv` says why.
None names a patient or a file, since file names are patient ids in some datasets: a run keeps which
file a row is, see `kept_names`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import tempfile
from typing import Any

import pandas as pd
import tensorflow as tf

from tffcxr import files
from tffcxr.clients.shards import fingerprint, shard_writer
from tffcxr.clients.shards.shard_store import MANIFEST, SPLITS, ShardSpec, ShardStore
from tffcxr.errors import InputError, one_line

__all__ = ["ShardSpec", "ShardStore", "prepare"]

_CLIENT_ID = re.compile(r"\w[\w.-]{0,99}")
_UNFINISHED = ".preparing-"
# From a folder to the manifest of what it wrote there.
_Write = Callable[[pathlib.Path], dict[str, Any]]


def prepare(
    records_by_client: Mapping[str, pd.DataFrame],
    spec: ShardSpec,
    cache_dir: str | os.PathLike[str],
    workers: int | None = None,
    max_rejected_fraction: float = 0.01,
    progress: bool = True,
    for_training: bool = True,
) -> ShardStore:
    """Returns the shards of all clients, made now or found in the cache.

    The shards appear in the cache under their fingerprint all at once, by a rename after everything
    was written and synced. A killed run leaves a folder that is never read; the next run deletes
    it. Two runs that share a cache take turns.

    Args:
      records_by_client: client id -> records table with a column `split`. Ids are made of
        letters, digits, "_", "-" and ".", since they are folder names.
      spec: what an example looks like.
      cache_dir: folder of the cache, made if missing.
      workers: processes that decode; None for one per available core.
      max_rejected_fraction: the fraction of a client's images that may be unusable, 0 to 1.
      progress: whether to draw a progress bar, if stderr is a terminal.
      for_training: whether every client must have training images.

    Raises:
      InputError: a table lacks a column, a client has no training image, an image has no
        annotation though the specification wants masks, too many files of a client are
        rejected, or the cache cannot be written or is full.
      RuntimeError: called at the top level of a program, instead of below
        `if __name__ == "__main__":`, where a worker that imports the program would call it too.
    """
    if not 0 <= max_rejected_fraction <= 1:
        raise InputError(f"expected a rejected fraction from 0 to 1, found {max_rejected_fraction}")
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A spawned worker imports the main program, and would wait here for its own parent.
        raise RuntimeError("call prepare below `if __name__ == '__main__':`")
    for client, records in records_by_client.items():
        _check_client(client, records, spec)
        if for_training and not (records["split"] == "train").any():
            raise InputError(f"client {client}: expected images for training, found none")
    cache = pathlib.Path(cache_dir).absolute()
    root = cache / fingerprint.fingerprint(records_by_client, spec)
    if not (root / MANIFEST).exists():
        images = sum(map(len, records_by_client.values()))

        def write(folder: pathlib.Path) -> dict[str, Any]:
            return shard_writer.ShardWriter(
                folder, records_by_client, spec, workers, max_rejected_fraction, progress
            ).write()

        try:
            cache.mkdir(parents=True, exist_ok=True)
            with files.locked(cache / ".lock"):
                # Another run may have made them while this one waited.
                if not (root / MANIFEST).exists():
                    _make(root, images, spec, write)
        except (OSError, tf.errors.OpError) as error:
            reason = one_line(error)
            raise InputError(f"cannot write the shards to cache {cache}: {reason}") from None
    store = ShardStore.open(root)
    for client, records in records_by_client.items():
        rejected = store.rejected(client)
        if len(rejected) > max_rejected_fraction * len(records):
            raise InputError(
                f"client {client}: {len(rejected)} of {len(records)} images were rejected, "
                f"at most {max_rejected_fraction:.1%} may be, such as "
                f"{records['image'].iat[rejected[0]['row']]}; see {root / client / 'rejected.csv'}"
            )
    return store


def _check_client(client: str, records: pd.DataFrame, spec: ShardSpec) -> None:
    if not _CLIENT_ID.fullmatch(client):
        raise InputError(
            f"client {client!r}: expected an id of letters, digits, '_', '-' and '.' that can "
            "name a folder"
        )
    needed = ["image", "split", *spec.findings]
    needed += ["mask"] * spec.with_mask + ["lungs"] * spec.cut_out
    missing = [name for name in needed if name not in records.columns]
    if missing:
        raise InputError(f"client {client}: expected columns {missing} in its records table")
    unknown = sorted(set(records["split"]) - set(SPLITS), key=str)
    if unknown:
        raise InputError(f"client {client}: expected splits {list(SPLITS)}, found {unknown}")
    if spec.with_mask:
        without = int(sum(mask is None for mask in records["mask"]))
        if without:
            raise InputError(
                f"client {client}: expected an annotation for every image, since masks are "
                f"wanted, found none for {without} of {len(records)}"
            )


def _make(root: pathlib.Path, images: int, spec: ShardSpec, write: _Write) -> None:
    """Writes all shards; the caller holds the cache's lock."""
    cache = root.parent
    for leftover in cache.glob(f"{_UNFINISHED}*"):  # Ours, and its run is dead: we have the lock.
        shutil.rmtree(leftover)
    needed, free = int(1.02 * images * spec.example_bytes), shutil.disk_usage(cache).free
    if needed > free:
        raise InputError(
            f"cache {cache}: expected {needed / 1e6:.0f} MB of free space for {images} images, "
            f"found {free / 1e6:.0f} MB"
        )
    unfinished = pathlib.Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=cache))
    try:
        manifest = write(unfinished)
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for path in sorted(unfinished.rglob("*")):
            _sync(path)
        _sync(unfinished)
        unfinished.rename(root)
        _sync(cache)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _sync(path: pathlib.Path) -> None:
    """Has a file or folder on disk before this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
