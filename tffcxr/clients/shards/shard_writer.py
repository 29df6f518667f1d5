"""Decodes and writes the shards of all clients into one folder, and describes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import csv
import dataclasses
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
import tqdm

from tffcxr.clients.shards import decoding
from tffcxr.clients.shards.shard_store import FORMAT_VERSION, SPLITS, ShardSpec, checksum
from tffcxr.errors import InputError

_OF_REJECTED = ("row", "split", "what", "reason")
_SHARD_BYTES = 128 << 20


@dataclasses.dataclass(frozen=True)
class ShardWriter:
    """Writes one folder of shards.

    Attributes:
      folder: where to write; it exists and is empty.
      records_by_client: client id -> records table with a column `split`.
      spec: what an example looks like.
      workers: processes that decode; None for one per available core.
      max_rejected_fraction: the fraction of a client's images that may be unusable.
      progress: whether to draw a progress bar, if stderr is a terminal.
    """

    folder: pathlib.Path
    records_by_client: Mapping[str, pd.DataFrame]
    spec: ShardSpec
    workers: int | None
    max_rejected_fraction: float
    progress: bool

    def write(self) -> dict[str, Any]:
        """Writes all shards and returns their manifest, plain JSON values.

        Raises:
          InputError: too many images of a client are unusable, or none is left for training.
          OSError, tf.errors.OpError: the folder cannot be written.
        """
        jobs, images = self._jobs(), sum(map(len, self.records_by_client.values()))
        results = decoding.decode_in_order(jobs, images, self.workers)
        off = None if self.progress else True  # None: off unless stderr is a terminal.
        clients = {}
        with (
            contextlib.closing(results),
            tqdm.tqdm(total=images, desc="decoding", unit="image", disable=off) as bar,
        ):
            for client in sorted(self.records_by_client):
                clients[client] = self._write_client(client, results, bar)
        return {
            "format_version": FORMAT_VERSION,
            "spec": dataclasses.asdict(self.spec),
            "clients": clients,
        }

    def _jobs(self) -> Iterator[decoding.Job]:
        """One job per image, in the order in which `write` wants the results."""
        for client in sorted(self.records_by_client):
            records = self.records_by_client[client]
            paths = records["image"].to_numpy()
            unused = [None] * len(records)
            regions = records["mask"].to_numpy() if self.spec.with_mask else unused
            lungs = records["lungs"].to_numpy() if self.spec.cut_out else unused
            for split in SPLITS:
                for rows in self._shards(client, split):
                    for row in rows:
                        yield decoding.Job(
                            paths[row],
                            self.spec.image_size,
                            self.spec.fit,
                            regions[row],
                            lungs[row],
                            self.spec.channels,
                        )

    def _shards(self, client: str, split: str) -> list[np.ndarray]:
        """The rows of a client's table in each shard of a split, at most 128 MiB of examples.

        Training images are put in a fixed random order, so that the limited shuffle buffer of a
        large client never sees only what lay side by side in its table.
        """
        rows = np.flatnonzero(self.records_by_client[client]["split"].to_numpy() == split)
        if split == "train":
            rows = np.random.default_rng(0).permutation(rows)
        parts = -(-len(rows) * self.spec.example_bytes // _SHARD_BYTES)
        return np.array_split(rows, parts) if parts else []

    def _write_client(
        self, client: str, results: Iterator[decoding.Decoded | decoding.Rejected], bar: tqdm.tqdm
    ) -> dict[str, Any]:
        """Returns the client's part of the manifest."""
        records = self.records_by_client[client]
        (self.folder / client).mkdir()
        splits: dict[str, Any] = {}
        rejections: list[dict[str, Any]] = []
        for split in SPLITS:
            bar.set_description(f"decoding {split} images of {client}", refresh=False)
            files, written = [], []
            shards = self._shards(client, split)
            for part, rows in enumerate(shards):
                name = f"{split}-{part:05d}-of-{len(shards):05d}.tfrecord"
                accepted = []
                with tf.io.TFRecordWriter(str(self.folder / client / name)) as writer:
                    for row in rows:
                        result = next(results)
                        bar.update()
                        if isinstance(result, decoding.Decoded):
                            writer.write(self._serialize(result, records, row))
                            accepted.append(row)
                        else:
                            rejections.append(_rejection(records, row, split, result))
                            self._check_rejections(client, rejections)
                files.append(_entry(self.folder / client / name, len(accepted)))
                written.extend(accepted)
            splits[split] = {
                "images": len(written),
                "labels": {f: _counts(records[f].iloc[written]) for f in self.spec.findings},
                "files": files,
            }
        is_trained_on = bool((records["split"] == "train").any())
        needed, what = (["train"], "training image") if is_trained_on else (SPLITS, "image")
        if not any(splits[split]["images"] for split in needed):
            raise InputError(f"client {client}: every {what} was rejected")
        if rejections:
            _write_csv(self.folder / client / "rejected.csv", rejections)
        return {
            "splits": splits,
            "rejected": [{key: r[key] for key in ("row", "split", "what")} for r in rejections],
        }

    def _serialize(self, decoded: decoding.Decoded, records: pd.DataFrame, row: int) -> bytes:
        """The example that `client_data` parses: image, labels, row, and mask if there is one."""
        labels = [records[finding].iat[row] for finding in self.spec.findings]
        feature = {
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[decoded.image])),
            "labels": tf.train.Feature(float_list=tf.train.FloatList(value=labels)),
            "row": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(row)])),
        }
        if decoded.mask is not None:
            feature["mask"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[decoded.mask]))
        return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()

    def _check_rejections(self, client: str, rejections: list[dict[str, Any]]) -> None:
        images = len(self.records_by_client[client])
        if len(rejections) > self.max_rejected_fraction * images:
            first = "; ".join(one["named"] for one in rejections[:3])
            raise InputError(
                f"client {client}: more than {self.max_rejected_fraction:.1%} of {images} images "
                f"cannot be used, the first are {first}"
            )


def _rejection(
    records: pd.DataFrame, row: int, split: str, rejected: decoding.Rejected
) -> dict[str, Any]:
    """What `rejected.csv` has of a file, and for messages the whole reason, which may name it."""
    return {
        "row": int(row),
        "split": split,
        "what": rejected.what,
        "reason": _without_names(rejected.reason, records, row),
        "named": rejected.reason,
    }


def _without_names(reason: str, records: pd.DataFrame, row: int) -> str:
    """A reason with FILE in the place of the files of a row, which may name a patient."""
    found = [str(records["image"].iat[row])]
    for name in ("mask", "lungs"):
        if name in records:
            found += map(str, getattr(records[name].iat[row], "files", ()))
    for path in found:
        for text in (path, path.partition("#")[0]):  # An array of an archive.
            reason = reason.replace(text, "FILE")
    return reason


def _entry(path: pathlib.Path, images: int) -> dict[str, Any]:
    return {
        "name": path.name,
        "images": images,
        "bytes": path.stat().st_size,
        "crc32": checksum(path),
    }


def _counts(labels: pd.Series) -> dict[str, int]:
    return {
        "present": int((labels == 1).sum()),
        "absent": int((labels == 0).sum()),
        "unknown": int(labels.isna().sum()),
    }


def _write_csv(path: pathlib.Path, rejections: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _OF_REJECTED, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rejections)
