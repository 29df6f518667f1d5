"""What a hospital says that it has when it joins a run: its clients, and how many images."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

from tffcxr.clients.shards.shard_store import SPLITS
from tffcxr.hospitals import wire

_LABELS = ("present", "absent", "unknown")
_MOST_CLIENTS = 10_000
_MOST_IMAGES = 10**9


@dataclasses.dataclass(frozen=True)
class Registration:
    """What a hospital has, as far as its policy lets it say.

    Attributes:
      site: its name.
      clients: client to split to `images` and `labels`, see `shard_store.ShardStore`; a count that
        is not told is None.
    """

    site: str
    clients: Mapping[str, Mapping[str, Mapping[str, Any]]]


def read(site: str, about: Mapping[str, Any]) -> Registration:
    """Reads what a hospital has said.

    Args:
      site: its name; a client's is the same, or begins with it and a hyphen.
      about: of the message.

    Raises:
      wire.MessageError: it says something else.
    """
    clients = about.get("clients")
    if not isinstance(clients, dict) or not 0 < len(clients) <= _MOST_CLIENTS:
        raise wire.MessageError(f"expected the clients of {site}, found {clients!r:.40}")
    for client, splits in clients.items():
        if client != site and not client.startswith(f"{site}-"):
            raise wire.MessageError(f"expected clients of {site}, found {client!r:.40}")
        if not _are_counts(splits):
            raise wire.MessageError(
                f"expected numbers of images by split and label of client {client:.40}, found "
                f"{splits!r:.60}"
            )
    return Registration(site, clients)


def _are_counts(splits: Any) -> bool:
    """Whether these are the counts of some splits."""
    return isinstance(splits, dict) and all(
        split in SPLITS
        and isinstance(found, dict)
        and _is_count(found.get("images"))
        and isinstance(found.get("labels"), dict)
        and all(
            isinstance(counts, dict)
            and sorted(counts) == sorted(_LABELS)
            and all(_is_count(count) for count in counts.values())
            for counts in found["labels"].values()
        )
        for split, found in splits.items()
    )


def _is_count(value: Any) -> bool:
    """Whether it is a number of images, or None for one that is not told."""
    return value is None or (type(value) is int and 0 <= value <= _MOST_IMAGES)
