"""The image files that a user means by files and folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import pathlib

from tffcxr.errors import InputError

_SUFFIXES = frozenset({".dcm", ".dicom", ".png", ".jpg", ".jpeg"})
_PREAMBLE = 132  # Bytes; the last four of a DICOM file's are DICM.


def find(operands: Iterable[str]) -> Iterator[pathlib.Path]:
    """Files as they were named, and the image files below the folders, sorted.

    Below folders, these are files with a suffix of images, and DICOM files with another or none, as
    archives write them.

    Raises:
      InputError: there is no image below a folder.
    """
    return found_by(operands, _images, f"images ({', '.join(sorted(_SUFFIXES))})")


def found_by(
    operands: Iterable[str], search: Callable[[pathlib.Path], Iterable[pathlib.Path]], what: str
) -> Iterator[pathlib.Path]:
    """Files as they were named, and what a search finds below the folders, sorted.

    Args:
      operands: files and folders.
      search: of a folder.
      what: is searched for, in words.

    Raises:
      InputError: there is nothing of it below a folder.
    """
    for operand in operands:
        path = pathlib.Path(operand)
        if not path.is_dir():
            yield path
            continue
        inside = sorted(search(path))
        if not inside:
            raise InputError(f"expected {what} below the folder {path}, found none")
        yield from inside


def _images(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    return (path for path in folder.rglob("*") if path.is_file() and _is_image(path))


def _is_image(path: pathlib.Path) -> bool:
    if path.suffix.lower() in _SUFFIXES:
        return True
    if path.name == "DICOMDIR" or path.name.startswith("."):
        return False
    return is_dicom(path)


def is_dicom(path: pathlib.Path) -> bool:
    """Whether a file begins like a DICOM file; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE)[-4:] == b"DICM"
    except OSError:
        return False
