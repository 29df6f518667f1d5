"""The shards on disk, one folder per client: their specification, manifest and checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import functools
import json
import pathlib
from typing import Any
import zlib

from tffcxr.errors import InputError

# Increase it whenever the meaning of a shard's content changes.
FORMAT_VERSION = 1
SPLITS = ("train", "validation", "test")
MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class ShardSpec:
    """What one example of a shard looks like.

    Attributes:
      image_size: side of the square images, in pixels, 8 to 4096.
      findings: the label columns, in the order of the labels; none where masks are the target.
      fit: how an image that is not square becomes one: "pad" or "stretch".
      with_mask: whether the annotation of every image is stored as a mask.
      cut_out: whether everything outside the lungs becomes black, in every image whose lungs are
        known; other images stay whole.
      channels: of every image; radiographs have one.
    """

    image_size: int
    findings: tuple[str, ...]
    fit: str = "pad"
    with_mask: bool = False
    cut_out: bool = False
    channels: int = 1

    def __post_init__(self) -> None:
        if not 8 <= self.image_size <= 4096:
            raise InputError(f"expected an image size from 8 to 4096, found {self.image_size}")
        if len(set(self.findings)) != len(self.findings):
            raise InputError(f"expected distinct findings, found {self.findings}")
        if not self.findings and not self.with_mask:
            raise InputError("expected one or more findings or masks, found neither")
        if self.channels < 1:
            raise InputError(f"expected at least one channel, found {self.channels}")
        if self.fit not in ("pad", "stretch"):
            raise InputError(f"expected fit to be 'pad' or 'stretch', found {self.fit!r}")

    @property
    def example_bytes(self) -> int:
        """An upper estimate of the size of one example in a shard."""
        pixels = self.image_size**2 * (self.channels + self.with_mask)
        return pixels + 5 * len(self.findings) + 256


@dataclasses.dataclass(frozen=True)
class ShardStore:
    """The shards of all clients, on disk.

    Attributes:
      root: the folder of the fingerprint, absolute.
      spec: what the examples look like.
      manifest: the content of `manifest.json`, see `shards`.
    """

    root: pathlib.Path
    spec: ShardSpec
    manifest: Mapping[str, Any] = dataclasses.field(repr=False)

    @classmethod
    def open(cls, root: str | pathlib.Path) -> ShardStore:
        """Opens the shards that `preparation.prepare` wrote; checks the size of all files.

        Raises:
          InputError: no manifest, one of another format, or a file that is missing or of
            another size than when it was written.
        """
        root = pathlib.Path(root).absolute()
        try:
            manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
            found_version = manifest["format_version"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{root}: expected shards with a {MANIFEST}, found {error}") from None
        if found_version != FORMAT_VERSION:
            raise InputError(
                f"{root}: expected shards of format {FORMAT_VERSION}, found {found_version}"
            )
        spec = ShardSpec(**{**manifest["spec"], "findings": tuple(manifest["spec"]["findings"])})
        store = cls(root, spec, manifest)
        for path, entry in store._entries():
            size = path.stat().st_size if path.is_file() else None
            if size != entry["bytes"]:
                raise InputError(
                    f"{path}: expected {entry['bytes']} bytes, found {size or 'no file'}; the "
                    f"shards are damaged, delete {root} to have them made again"
                )
        return store

    @property
    def client_ids(self) -> list[str]:
        """The ids of all clients, sorted."""
        return sorted(self.manifest["clients"])

    def count(self, client: str, split: str) -> int:
        """The number of images of a client in a split; 0 if it has none."""
        return self._split(client, split)["images"]

    def label_counts(self, client: str, split: str) -> dict[str, dict[str, int]]:
        """{finding: {"present": n, "absent": n, "unknown": n}} of a client's split."""
        return self._split(client, split)["labels"]

    def files(self, client: str, split: str) -> list[str]:
        """The paths of a split's shards, absolute, in order; empty if it has no image."""
        return [
            str(self.root / client / entry["name"]) for entry in self._split(client, split)["files"]
        ]

    def rejected(self, client: str) -> list[dict[str, Any]]:
        """[{"row": number in the client's table, "split": name, "what": reason}, ...]."""
        return self._client(client)["rejected"]

    def verify(self) -> None:
        """Reads every shard and compares its checksum.

        Raises:
          InputError: a shard was changed since it was written.
        """
        for path, entry in self._entries():
            found = checksum(path)
            if found != entry["crc32"]:
                raise InputError(
                    f"{path}: expected checksum {entry['crc32']}, found {found}; the shards are "
                    f"damaged, delete {self.root} to have them made again"
                )

    def _entries(self) -> Iterator[tuple[pathlib.Path, dict[str, Any]]]:
        for client in self.client_ids:
            for split in SPLITS:
                for entry in self._split(client, split)["files"]:
                    yield self.root / client / entry["name"], entry

    def _client(self, client: str) -> dict[str, Any]:
        if client not in self.manifest["clients"]:
            raise InputError(f"expected a client of {self.client_ids}, found {client!r}")
        return self.manifest["clients"][client]

    def _split(self, client: str, split: str) -> dict[str, Any]:
        if split not in SPLITS:
            raise InputError(f"expected a split of {list(SPLITS)}, found {split!r}")
        return self._client(client)["splits"][split]


def checksum(path: pathlib.Path) -> str:
    """CRC-32 of a file, as eight hexadecimal digits."""
    value = 0
    with path.open("rb") as file:
        for block in iter(functools.partial(file.read, 1 << 20), b""):
            value = zlib.crc32(block, value)
    return f"{value:08x}"
