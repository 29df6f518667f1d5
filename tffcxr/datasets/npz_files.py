"""Reads an array of an `.npz` file, after a check of its declared size."""

from __future__ import annotations

import math
import os
import tokenize
from typing import IO
import zipfile
import zlib

import numpy as np

from tffcxr.datasets import limits
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.errors import one_line

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# Exceptions that zipfile and NumPy raise on damaged files.
READING_ERRORS = (
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def names(path: str | os.PathLike[str]) -> list[str]:
    """Returns the names of the arrays of a file.

    Raises:
      ImageError: it is no `.npz` file. The message lacks the path.
      OSError: it cannot be opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.namelist()
    except READING_ERRORS as error:
        raise _damaged(error) from None
    return [name[: -len(".npy")] for name in found if name.endswith(".npy")]


def read(path: str | os.PathLike[str], name: str) -> np.ndarray:
    """Reads one array.

    Args:
      path: the file.
      name: one of `names`.

    Raises:
      ImageError: the file is damaged, or the array is one of objects or larger than
        `limits.MAXIMUM_BYTES`. The message lacks the path.
      OSError: the file cannot be opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open(f"{name}.npy") as file:
                shape, dtype = _header(file)
            size = math.prod(shape) * dtype.itemsize
            if dtype.hasobject or not 0 <= size <= limits.MAXIMUM_BYTES:
                raise ImageError(
                    f"expected {name!r} to be an array of numbers of at most "
                    f"{limits.MAXIMUM_BYTES} bytes, found {dtype} {list(shape)}"
                )
            with archive.open(f"{name}.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
    except ImageError:
        raise
    except READING_ERRORS as error:
        raise _damaged(error) from None


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ImageError(f"expected an array in the format of NumPy 1 or 2, found {version}")
    shape, _, dtype = _HEADERS[version](file)
    return shape, dtype


def _damaged(error: Exception) -> ImageError:
    return ImageError(f"expected an intact .npz file, found: {one_line(error):.200}")
