"""A name for shards that changes whenever their inputs change."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import hashlib
import os
import pathlib
from typing import Any

import pandas as pd

from tffcxr.clients.shards import decoding
from tffcxr.clients.shards.shard_store import FORMAT_VERSION, ShardSpec
from tffcxr.datasets import limits, npz_files
from tffcxr.datasets.imaging import annotations as regions
from tffcxr.datasets.imaging import bitmap, dicom, dicom_codecs, dicom_elements, grey, images

# Everything of this project that turns a file into pixels.
CODE = (
    bitmap,
    decoding,
    dicom,
    dicom_codecs,
    dicom_elements,
    grey,
    images,
    limits,
    npz_files,
    regions,
)


def fingerprint(records_by_client: Mapping[str, pd.DataFrame], spec: ShardSpec) -> str:
    """Returns 16 hexadecimal digits for the shards of these clients.

    It covers the format, the specification, the source code that decodes, and per client and row
    the image's path, size and time of change, the split, the labels, the annotation if masks are
    wanted, and the lungs if they are cut out. Contents are not read, so an edit that changes
    neither size nor time is not detected.
    """
    digest = hashlib.sha256()

    def add(*values: Any) -> None:
        digest.update(repr(values).encode())

    add("tffcxr shards", FORMAT_VERSION, dataclasses.asdict(spec))
    for module in CODE:
        assert module.__file__ is not None
        digest.update(pathlib.Path(module.__file__).read_bytes())
    for client in sorted(records_by_client):
        records = records_by_client[client]
        add("client", client, len(records))
        labels = records[list(spec.findings)].to_numpy(float).tolist()
        for path, split, values in zip(records["image"], records["split"], labels):
            add(os.path.abspath(path), file_state(path), split, values)
        for column, wanted in (("mask", spec.with_mask), ("lungs", spec.cut_out)):
            if wanted:
                for region in records[column]:
                    add(column, region)
                    for file in getattr(region, "files", ()):
                        add(file_state(file))
    return digest.hexdigest()[:16]


def file_state(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Size and time of change of a file, None if there is none.

    An image inside of an archive is written `archive.npz#array/index`.
    """
    for name in (str(path), str(path).split("#", maxsplit=1)[0]):
        try:
            status = os.stat(name)
        except OSError:
            continue
        return status.st_size, status.st_mtime_ns
    return None
