"""The image files that a user means by files and folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import pathlib

from tffcxr.errors import InputError

_SUFFIXES = frozenset({".dcm", ".dicom", ".png", ".jpg", ".jpeg"})


def find(operands: Iterable[str]) -> Iterator[pathlib.Path]:
    """Files as they were named, and the image files below the folders, sorted.

    Raises:
      InputError: there is no image below a folder.
    """
    for operand in operands:
        path = pathlib.Path(operand)
        if not path.is_dir():
            yield path
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES)
        if not inside:
            raise InputError(
                f"expected images ({', '.join(sorted(_SUFFIXES))}) below the folder {path}, "
                "found none"
            )
        yield from inside
