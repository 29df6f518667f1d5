"""From plans of phantom radiographs to a folder of files, by several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
import concurrent.futures
import contextlib
import csv
import dataclasses
import functools
import multiprocessing
from multiprocessing import resource_tracker
import os
import pathlib
import signal
from typing import Any

import numpy as np
from PIL import Image

from tffcxr.datasets.phantoms import phantom_folder
from tffcxr.datasets.phantoms.chest import radiograph as radiograph
from tffcxr.errors import InputError

Progress = Callable[[int, int], None]

_SUBTLE = 0.2  # of the diseased
_CHUNK = 8
# Pixels per side of a radiograph, where its caller does not say.
SIZE = 256


@dataclasses.dataclass(frozen=True)
class Plan:
    """One image to be drawn.

    Attributes:
      patient: identifier.
      seed: of the patient.
      acquisition: number of the image among the patient's.
      uids: of study, series and instance, for DICOM files.
      pneumonia, pneumothorax, covid: severity or None.
      incidental: another finding or None.
      file: path below the folder, where the layout takes it from the plan.
      has_mask: whether a layout with masks has one of this image.
    """

    patient: str
    seed: int
    acquisition: int = 0
    uids: tuple[str, str, str] = ("", "", "")
    pneumonia: float | None = None
    pneumothorax: float | None = None
    covid: float | None = None
    incidental: str | None = None
    file: str = ""
    has_mask: bool = True


def settings(
    layout: str, patients: int, seed: int, size: int | None, **others: float
) -> dict[str, Any]:
    """Returns the settings of a folder of phantoms.

    Args:
      layout: whose files they are like.
      patients: at least 1.
      seed: of everything.
      size: pixels per side; None takes `SIZE`.
      **others: fractions of the layout's own, 0..1.

    Raises:
      InputError: an argument is out of range.
    """
    if patients < 1:
        raise InputError(f"--phantom_patients: expected at least 1, found {patients}")
    for name, value in others.items():
        if not 0 <= value <= 1:
            raise InputError(f"phantom {name}: expected 0..1, found {value}")
    size = SIZE if size is None else size
    if size < radiograph.MIN_SIZE:
        raise InputError(f"phantom size: expected at least {radiograph.MIN_SIZE}, found {size}")
    return {
        "synthetic": True,
        "layout": layout,
        "generator": radiograph.VERSION,
        "patients": patients,
        "seed": seed,
        "size": size,
        **others,
    }


def write(
    root: pathlib.Path,
    made_by: dict[str, Any],
    plan: Callable[[], Iterable[Plan]],
    write_image: Callable[[pathlib.Path, int, Plan], tuple],
    write_tables: Callable[[pathlib.Path, list[tuple]], None] | None,
    workers: int | None,
    progress: Progress | None,
) -> None:
    """Writes all images of a site, unless the folder already holds exactly this.

    Args:
      root: new folder, or the one that an earlier call wrote.
      made_by: of `settings`.
      plan: makes the plans.
      write_image: writes one image into the folder, given its size; a function of a module, since
        other processes call it. What it returns goes to `write_tables`.
      write_tables: writes the layout's other files, from the results of `write_image` in order;
        None without any.
      workers: processes; None takes one per usable core. The files do not depend on it.
      progress: called with (images written, images in all).

    Raises:
      InputError: the folder holds something else, or it cannot be written.
    """
    with phantom_folder.create(pathlib.Path(root), made_by) as folder:
        if folder is not None:
            task = functools.partial(write_image, folder, made_by["size"])
            rows = _draw_all(task, list(plan()), workers, progress)
            if write_tables is not None:
                write_tables(folder, rows)


def draw(plan: Plan, size: int) -> radiograph.Phantom:
    """Draws the radiograph of a plan."""
    return radiograph.draw(
        plan.seed,
        size,
        pneumonia=plan.pneumonia,
        pneumothorax=plan.pneumothorax,
        incidental=plan.incidental,
        acquisition=plan.acquisition,
        covid=plan.covid,
    )


def severity(rng: np.random.Generator) -> float:
    """Draws the severity of a disease: mostly visible, sometimes faint."""
    subtle, visible = rng.uniform(0.05, 0.35), rng.uniform(0.45, 1.0)
    return float(subtle if rng.random() < _SUBTLE else visible)


@dataclasses.dataclass(frozen=True)
class SiteWriter:
    """Writes a site with one finding in a layout; see `__call__`.

    Attributes:
      layout: the loader that reads it.
      plan: of the number of patients, the seed and the fraction that is positive.
      write_image: as of `write`.
      write_tables: as of `write`.
    """

    layout: str
    plan: Callable[[int, int, float], Iterable[Plan]]
    write_image: Callable[[pathlib.Path, int, Plan], tuple]
    write_tables: Callable[[pathlib.Path, list[tuple]], None] | None = None

    def __call__(
        self,
        root: pathlib.Path,
        patients: int,
        seed: int,
        size: int | None = None,
        positive_fraction: float = 0.5,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Writes the site.

        Args:
          root: new folder; reused when it already holds exactly this.
          patients: how many.
          seed: of everything.
          size: pixels per side; None takes `SIZE`.
          positive_fraction: part of the patients with the finding.
          workers: processes; None takes one per usable core. The files do not depend on it.
          progress: called with (images written, images in all).

        Raises:
          InputError: an argument is out of range, the folder holds something else, or it cannot be
            written.
        """
        made_by = settings(self.layout, patients, seed, size, positive_fraction=positive_fraction)
        plan = functools.partial(self.plan, patients, seed, positive_fraction)
        write(root, made_by, plan, self.write_image, self.write_tables, workers, progress)


def write_mask(path: pathlib.Path, region: np.ndarray) -> None:
    """Writes bool [H, W] as a PNG file, 255 in the region."""
    write_picture(path, region.astype(np.uint8) * 255)


def write_picture(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes uint8 [H, W] as PNG, or as JPEG if the file is called so, with the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix == ".jpeg" else {}))


def write_csv(path: pathlib.Path, header: list[str], rows: Sequence[tuple]) -> None:
    """Writes a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _draw_all(
    task: Callable[[Plan], tuple],
    plans: Sequence[Plan],
    workers: int | None,
    progress: Progress | None,
) -> list[tuple]:
    """Draws and writes all images; returns what `task` returned, in order."""
    workers = workers or len(os.sched_getaffinity(0))
    workers = min(workers, -(-len(plans) // (4 * _CHUNK)))
    if workers <= 1:
        return _collect(map(task, plans), len(plans), progress)
    # Not forked: a forked child of a process that has started TensorFlow may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _keep_memory) as pool:
        try:
            with _out_of_reach_of_ctrl_c():
                drawn = pool.map(task, plans, chunksize=_CHUNK)
            return _collect(drawn, len(plans), progress)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextlib.contextmanager
def _out_of_reach_of_ctrl_c() -> Iterator[None]:
    """Processes that are started in it never get SIGINT: this one has it, and ends them in order.

    A worker that gets it while it starts complains, or leaves the pool waiting for it forever. A
    blocked signal stays blocked in a child; here it arrives at the end of the block.
    """
    resource_tracker.ensure_running()  # It would unblock the signal when it starts.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _keep_memory() -> None:
    """Lets the allocator keep freed image-sized blocks instead of returning them to the system.

    glibc raises its thresholds for doing so to the size of the largest block freed so far.
    """
    np.empty(24 << 20, np.uint8)


def _collect(results: Iterator[tuple], total: int, progress: Progress | None) -> list[tuple]:
    rows = []
    for row in results:
        rows.append(row)
        if progress is not None:
            progress(len(rows), total)
    return rows
