"""Reads a user's images in parallel, in order, with a bounded number of them in memory.

Worker processes import this module: it does without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
import dataclasses

import numpy as np

from tffcxr.clients.shards import decoding
from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError
from tffcxr.prediction import image_checks
from tffcxr.prediction.image_checks import Expected

# As of `decoding`: whole pictures are passed one by one, or hundreds would be waiting.
_CHUNK = 8
_WORTH_A_POOL = 64

OK, REFUSED, UNREADABLE = "ok", "refused", "unreadable"


@dataclasses.dataclass(frozen=True)
class Reading:
    """How images are to be read.

    Attributes:
      expected: what the model was trained on.
      fit: one of `options.FITS`.
      allow_others: whether images that the header says to be others are marked, not refused.
      keep_pictures: whether the images are also needed as they are.
    """

    expected: Expected
    fit: str
    allow_others: bool = False
    keep_pictures: bool = False


@dataclasses.dataclass(frozen=True)
class Image:
    """One file, read or not.

    Attributes:
      path: the file.
      status: `OK`, `REFUSED` or `UNREADABLE`.
      error: why it is not `OK`, in one line that starts with the path.
      warnings: in what it differs from what the model was trained on.
      square: fitted, uint8 [S, S, 1].
      shape: rows and columns with square pixels, see `images.read_image`.
      stored_shape: rows and columns of the file.
      picture: uint8 [H, W, 1] of `shape`, if it is to be kept.
    """

    path: str
    status: str = OK
    error: str = ""
    warnings: tuple[str, ...] = ()
    square: np.ndarray | None = None
    shape: tuple[int, int] = (0, 0)
    stored_shape: tuple[int, int] = (0, 0)
    picture: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class _Job:
    path: str
    reading: Reading


def read_all(paths: Sequence[str], reading: Reading) -> Generator[Image, None, None]:
    """Yields every file's image, in order, read as far ahead as memory is meant to hold."""
    jobs = [_Job(path, reading) for path in paths]
    chunk = 1 if reading.keep_pictures else _CHUNK
    return decoding.in_order(_work, jobs, len(jobs), None, chunk, _WORTH_A_POOL)


def read(path: str, reading: Reading) -> Image:
    """Reads one file; what is wrong with it stands in the result."""
    expected = reading.expected
    checked = image_checks.check_header(path, expected)
    if checked.refusal and not reading.allow_others:
        return Image(path, REFUSED, f"{path}: {checked.refusal}")
    try:
        picture, stored_shape = images.read_with_shape(path)
    except InputError as error:
        return Image(path, UNREADABLE, str(error))
    try:
        warnings = image_checks.check_pixels(picture, expected)
    except InputError as error:
        return Image(path, REFUSED, f"{path}: {error}")
    return Image(
        path,
        warnings=(*filter(None, [checked.refusal]), *checked.warnings, *warnings),
        square=images.fit_to_square(picture, expected.image_size, reading.fit),
        shape=picture.shape[:2],
        stored_shape=stored_shape,
        picture=picture if reading.keep_pictures else None,
    )


def _work(job: _Job) -> Image:
    return read(job.path, job.reading)
