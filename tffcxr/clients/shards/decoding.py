"""Decodes many images in parallel, in order, with a bounded number of them in memory.

The functions that run in worker processes live here, because this module imports no TensorFlow:
a worker is ready within a second and small. Workers are spawned, not forked, since a fork of a
process in which TensorFlow already runs threads can hang.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Generator, Iterable, Sequence
import concurrent.futures
from concurrent.futures import process
import dataclasses
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from typing import Protocol, TypeVar

import cv2
import numpy as np

from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError, one_line

# One task for a worker is this many images, so that passing messages costs little.
_CHUNK = 8
# Tasks handed out ahead of the one that is awaited, per worker.
_AHEAD = 4
# For fewer images, starting workers takes longer than decoding.
_WORTH_A_POOL = 64


class Annotation(Protocol):
    """A region of an image, see `tffcxr.datasets.imaging.annotations`."""

    def to_array(self) -> np.ndarray:
        """Returns bool [H, W] in the pixels of the original image."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to decode.

    Attributes:
      path: the image, as in the records table.
      image_size: side of the square that comes out, in pixels.
      fit: "pad" or "stretch", see `images.fit_to_square`.
      annotation: the region to rasterise along with the image, or None.
      lungs: the lungs, whose outside is made black, or None to keep the whole image.
      channels: that the image must have.
    """

    path: str
    image_size: int
    fit: str
    annotation: Annotation | None = None
    lungs: Annotation | None = None
    channels: int = 1


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Pixels of one image, row by row.

    Attributes:
      image: uint8 [image_size, image_size, channels] as bytes, 0 to 255.
      mask: the annotation as uint8 [image_size, image_size] of 0 and 1, as bytes, or None.
      height: rows of the image before it was fitted.
      width: columns of the image before it was fitted.
    """

    image: bytes
    mask: bytes | None
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class Rejected:
    """Why an image cannot be used.

    Attributes:
      what: "image" or "annotation", whichever is at fault.
      reason: one line, which may name the file.
    """

    what: str
    reason: str


def decode(job: Job) -> Decoded | Rejected:
    """Reads one image and its annotations, if any, and fits all of them to the same square.

    Raises:
      RuntimeError: the reader failed in a way that it does not know; the message has the path.
    """
    try:
        try:
            image = images.read_image(job.path)  # [H, W, channels]
        except (InputError, OSError) as error:
            return Rejected("image", one_line(error))
        if image.shape[2] != job.channels:
            return Rejected(
                "image", f"{job.path}: expected {job.channels} channels, found {image.shape[2]}"
            )
        pixels = images.fit_to_square(image, job.image_size, job.fit)
        mask = None
        try:
            if job.annotation is not None:
                mask = _rasterise(job.annotation, job, image.shape[:2])
            if job.lungs is not None:
                pixels = _cut_out(pixels, _rasterise(job.lungs, job, image.shape[:2]), job.path)
        except (InputError, OSError) as error:
            return Rejected("annotation", one_line(error))
        height, width = image.shape[:2]
        return Decoded(pixels.tobytes(), None if mask is None else mask.tobytes(), height, width)
    except Exception as error:
        raise RuntimeError(f"cannot decode {job.path}") from error


def decode_in_order(
    jobs: Iterable[Job], total: int, workers: int | None = None
) -> Generator[Decoded | Rejected, None, None]:
    """Yields the result of every job, in the order of the jobs; see `in_order`."""
    return in_order(decode, jobs, total, workers, _CHUNK, _WORTH_A_POOL)


class Task(Protocol):
    """What `in_order` gives to a worker."""

    @property
    def path(self) -> str:
        """What is read, for messages."""


AnyTask = TypeVar("AnyTask", bound=Task)
Result = TypeVar("Result")


def in_order(
    work: Callable[[AnyTask], Result],
    jobs: Iterable[AnyTask],
    total: int,
    workers: int | None,
    chunk_size: int,
    worth_a_pool: int,
) -> Generator[Result, None, None]:
    """Yields the result of every job, in the order of the jobs.

    Args:
      work: a function of a module that imports no TensorFlow, called in worker processes.
      jobs: what to work on, taken only as fast as results are consumed.
      total: how many jobs there are.
      workers: number of processes; None for one per available core. 1 uses this process.
      chunk_size: jobs that are passed to a worker at once.
      worth_a_pool: fewer jobs than this are worked on in this process.

    Raises:
      InputError: a worker process died, by a file that crashes its decoder or for lack of memory.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = min(workers or available or 1, total // chunk_size)
    if processes <= 1 or total < worth_a_pool:
        yield from map(work, jobs)
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        pending: collections.deque[tuple[list[AnyTask], concurrent.futures.Future]] = (
            collections.deque()
        )
        remaining = iter(jobs)
        while True:
            while len(pending) < processes * _AHEAD:
                chunk = list(itertools.islice(remaining, chunk_size))
                if not chunk:
                    break
                pending.append((chunk, pool.submit(_work_on, work, chunk)))
            if not pending:
                return
            chunk, future = pending.popleft()
            yield from future.result()
    except process.BrokenProcessPool:
        raise InputError(
            f"a decoding process died near {chunk[0].path}: out of memory, or a file that crashes "
            "its decoder (one worker, in this process, would show which)"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _rasterise(annotation: Annotation, job: Job, shape: tuple[int, ...]) -> np.ndarray:
    """Returns an annotation in the square, uint8 [image_size, image_size] of 0 and 1.

    Raises:
      InputError, OSError: it cannot be read, or is not one of an image of this shape [H, W].
    """
    region = annotation.to_array()  # [H, W]
    if region.shape != shape:
        raise InputError(
            f"expected an annotation of {shape} pixels for {job.path}, found {region.shape}"
        )
    return images.fit_to_square(region.astype(np.uint8), job.image_size, job.fit, is_mask=True)


def _cut_out(pixels: np.ndarray, lungs: np.ndarray, path: str) -> np.ndarray:
    """Makes pixels [S, S, C] outside of the lungs [S, S] black.

    Raises:
      InputError: there are no lungs, so that nothing but black would be left.
    """
    if not lungs.any():
        raise InputError(f"expected lungs in {path} that can be cut out, found an empty mask")
    return pixels * lungs[:, :, np.newaxis]


def _work_on(work: Callable[[AnyTask], Result], jobs: Sequence[AnyTask]) -> list[Result]:
    return [work(job) for job in jobs]


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, ends with it, and keeps to one core."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # Only ever called in a child.

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
