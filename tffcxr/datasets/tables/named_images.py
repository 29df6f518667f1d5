"""Finds the files that a table names, however it writes them."""

from __future__ import annotations

import collections
from collections.abc import Sequence
import functools
import itertools
import logging
import os
import pathlib
import re

from tffcxr.errors import InputError

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")
_DICOM_MARK = (128, b"DICM")


class ImageFiles:
    """The files at any depth below a folder.

    A table may write a path from the folder or an absolute one, as on Windows or on another
    computer, the end of a path, or the name alone; with or without the suffix, and in another case.
    """

    def __init__(self, root: pathlib.Path):
        """Takes the folder; it is only searched for what is no path from it."""
        self._root = root

    def find(self, written: Sequence[str], source: str) -> list[str | None]:
        """Returns the path of the file that each text means, None if there is none.

        A file in another folder than written is only taken where its name is written once:
        "1/front.png" is not "2/front.png".

        Args:
          written: what a table says, not empty.
          source: the loader, for messages.

        Raises:
          InputError: several are meant equally well. The message lacks the table.
        """
        counts = collections.Counter(_stem(_parts(text)[-1]) for text in written)
        found = []
        elsewhere: list[tuple[str, str]] = []
        for text in written:
            path, is_as_written = self._find(text)
            if path is not None and not is_as_written:
                if counts[_stem(_parts(text)[-1])] > 1:
                    path = None
                else:
                    elsewhere.append((text, path))
            found.append(path)
        if elsewhere:
            logging.getLogger(__name__).warning(
                "%s: %d of %d files are known by their names alone, such as %s for %r",
                *(source, len(elsewhere), len(written), elsewhere[0][1], elsewhere[0][0]),
            )
        return found

    def _find(self, written: str) -> tuple[str | None, bool]:
        """Returns a file, and whether it is in the folder that is written, if one is."""
        for form in dict.fromkeys((written, written.replace("\\", "/"))):
            path = self._root / form
            if path.is_file():
                return str(path), True
        *folders, name = _parts(written)
        candidates = self._by_name.get(name) or self._by_stem.get(_stem(name), [])
        # Those whose folders agree with most of what is written.
        ends = [_common_end(folders, self._folders(path)) for path in candidates]
        best = [path for path, end in zip(candidates, ends) if end == max(ends)]
        if not best:
            return None, False
        is_as_written = max(ends) == min(len(folders), *(len(self._folders(p)) for p in best))
        if len(best) > 1 and not is_as_written:
            return None, False  # Files of this name in other folders.
        if len(best) > 1:
            raise InputError(
                f"expected one file for {written!r}, found {best[0]} and {best[1]}"
                + (f" and {len(best) - 2} more" if len(best) > 2 else "")
            )
        return best[0], is_as_written

    def _folders(self, path: str) -> list[str]:
        """The folders between the root and a file, in small letters."""
        return [part.casefold() for part in pathlib.Path(path).relative_to(self._root).parts[:-1]]

    def all_images(self) -> list[str]:
        """Returns all DICOM, PNG and JPEG files, by suffix, or DICOM's mark in those without."""
        return sorted(
            path
            for paths in self._by_name.values()
            for path in paths
            if path.lower().endswith(SUFFIXES)
            or ("." not in os.path.basename(path) and _has_mark(path))
        )

    @functools.cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for parent, children, names in os.walk(self._root, followlinks=True):
            children[:] = sorted(name for name in children if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    found.setdefault(name.casefold(), []).append(os.path.join(parent, name))
        return found

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """Images alone: a report "a.pdf" is not meant by "a"."""
        found: dict[str, list[str]] = {}
        for name, paths in self._by_name.items():
            if name.endswith(SUFFIXES):
                found.setdefault(_stem(name), []).extend(paths)
        return found


def _stem(name: str) -> str:
    """A name without the suffix of an image; other dots belong to it, as in UIDs."""
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name != suffix:
            return name[: -len(suffix)]
    return name


def _parts(written: str) -> list[str]:
    """The folders and the name of a path of whatever system, in small letters."""
    parts = [part for part in re.split(r"[\\/]+", written.casefold()) if part not in ("", ".")]
    return parts or [written]


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    """How many of the last entries of two lists are the same."""
    pairs = zip(reversed(one), reversed(other))
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _has_mark(path: str) -> bool:
    offset, mark = _DICOM_MARK
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(len(mark)) == mark
    except OSError:
        return False
