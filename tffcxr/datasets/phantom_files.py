"""Writes phantom radiographs in the layouts of the RSNA and SIIM-ACR challenges, and of `lungs`.

RSNA Pneumonia Detection Challenge 2018 (Shih et al. 2019): DICOM files, boxes, three classes.
SIIM-ACR Pneumothorax Segmentation 2019: nested DICOM files, relative run lengths down the columns.
Both get `lung_masks/` beside the images. Sites are as in life: the pneumonia site also has
pneumothoraces that nobody labelled, and the other way round. A site with masks of the lungs alone
has PNG files, and patients with either disease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import concurrent.futures
import csv
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import uuid

import numpy as np
from PIL import Image

from tffcxr.datasets import annotations as areas
from tffcxr.datasets import phantom_dicom, phantom_folder
from tffcxr.datasets import phantom_radiograph as radiograph
from tffcxr.errors import InputError

Progress = Callable[[int, int], None]

_OTHER_FINDING = 0.15  # chance of the other site's finding, labelled by nobody
_INCIDENTAL = 0.35
_SUBTLE = 0.2  # of the diseased
_SECOND_IMAGE = 0.12  # of SIIM's patients
_CHUNK = 8


@dataclasses.dataclass(frozen=True)
class _Plan:
    """One image to be drawn.

    Attributes:
      patient: identifier.
      seed: of the patient.
      acquisition: number of the image among the patient's.
      uids: of study, series and instance.
      pneumonia, pneumothorax: severity or None.
      incidental: another finding or None.
    """

    patient: str
    seed: int
    acquisition: int
    uids: tuple[str, str, str]
    pneumonia: float | None
    pneumothorax: float | None
    incidental: str | None


def write_rsna(
    root: pathlib.Path,
    patients: int,
    seed: int,
    size: int = 256,
    positive_fraction: float = 0.5,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes a pneumonia site as the RSNA challenge ships it, one image per patient.

    Args:
      root: new folder; reused when it already holds exactly this.
      patients: how many.
      seed: of everything.
      size: pixels per side.
      positive_fraction: part of the patients with pneumonia ("Lung Opacity").
      workers: processes; None takes one per usable core. The files do not depend on it.
      progress: called with (images written, images in all).

    Raises:
      InputError: an argument is out of range, the folder holds something else, or it cannot be
        written.
    """
    settings = _settings("rsna", patients, seed, size, positive_fraction)
    with phantom_folder.create(pathlib.Path(root), settings) as folder:
        if folder is None:
            return
        plans = list(_plan("rsna", patients, seed, positive_fraction))
        rows = _draw_all(_write_rsna_image, folder, plans, size, workers, progress)
        header = ["patientId", "x", "y", "width", "height", "Target"]
        boxes = [row for label_rows, _ in rows for row in label_rows]
        _write_csv(folder / "stage_2_train_labels.csv", header, boxes)
        classes = [(patient, name) for labels, name in rows for patient, *_ in labels]
        _write_csv(folder / "stage_2_detailed_class_info.csv", ["patientId", "class"], classes)


def write_siim(
    root: pathlib.Path,
    patients: int,
    seed: int,
    size: int = 256,
    positive_fraction: float = 0.5,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes a pneumothorax site as the SIIM-ACR challenge ships it.

    About one patient in eight has two images. Arguments and errors as of `write_rsna`.
    """
    settings = _settings("siim", patients, seed, size, positive_fraction)
    with phantom_folder.create(pathlib.Path(root), settings) as folder:
        if folder is None:
            return
        plans = list(_plan("siim", patients, seed, positive_fraction))
        rows = _draw_all(_write_siim_image, folder, plans, size, workers, progress)
        _write_csv(folder / "train-rle.csv", ["ImageId", " EncodedPixels"], rows)


def write_lungs(
    root: pathlib.Path,
    patients: int,
    seed: int,
    size: int = 256,
    positive_fraction: float = 0.5,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes a site with masks of the lungs in the layout of `lungs`, one image per patient.

    The mask covers both lung fields, consolidated and collapsed lung included. Arguments and errors
    as of `write_rsna`.
    """
    settings = _settings("lungs", patients, seed, size, positive_fraction)
    with phantom_folder.create(pathlib.Path(root), settings) as folder:
        if folder is None:
            return
        plans = list(_plan("lungs", patients, seed, positive_fraction))
        _draw_all(_write_lungs_image, folder, plans, size, workers, progress)


def _settings(
    layout: str, patients: int, seed: int, size: int, positive_fraction: float
) -> dict[str, object]:
    if patients < 1:
        raise InputError(f"phantom patients: expected at least 1, found {patients}")
    if not 0 <= positive_fraction <= 1:
        raise InputError(f"phantom positive_fraction: expected 0..1, found {positive_fraction}")
    if size < radiograph.MIN_SIZE:
        raise InputError(f"phantom size: expected at least {radiograph.MIN_SIZE}, found {size}")
    return {
        "synthetic": True,
        "layout": layout,
        "generator": radiograph.VERSION,
        "patients": patients,
        "seed": seed,
        "size": size,
        "positive_fraction": positive_fraction,
    }


def _plan(layout: str, patients: int, seed: int, positive_fraction: float) -> Iterator[_Plan]:
    """Decides for every image what it shows; label and everything else are independent."""
    tag = {"rsna": 1, "siim": 2, "lungs": 3}[layout]
    rng = np.random.Generator(np.random.SFC64([seed, tag]))
    positives = round(patients * positive_fraction)
    positive = rng.permutation(np.arange(patients) < positives)
    for number in range(patients):
        person = int(rng.integers(2**62))
        patient = str(uuid.UUID(bytes=rng.bytes(16), version=4))
        severity = _severity(rng)
        other = _severity(rng) if rng.random() < _OTHER_FINDING else None
        incidental = str(rng.choice(radiograph.INCIDENTAL)) if rng.random() < _INCIDENTAL else None
        images = 1 + (layout == "siim" and rng.random() < _SECOND_IMAGE)
        own = severity if positive[number] else None
        for acquisition in range(images):
            yield _Plan(
                patient=patient,
                seed=person,
                acquisition=acquisition,
                uids=phantom_dicom.make_uids(person, acquisition),
                pneumonia=other if layout == "siim" else own,
                pneumothorax=own if layout == "siim" else other,
                incidental=incidental,
            )


def _severity(rng: np.random.Generator) -> float:
    subtle, visible = rng.uniform(0.05, 0.35), rng.uniform(0.45, 1.0)
    return float(subtle if rng.random() < _SUBTLE else visible)


def _draw_all(
    write: Callable[[pathlib.Path, int, _Plan], tuple],
    folder: pathlib.Path,
    plans: list[_Plan],
    size: int,
    workers: int | None,
    progress: Progress | None,
) -> list[tuple]:
    """Draws and writes all images; returns what `write` returned, in order."""
    workers = workers or len(os.sched_getaffinity(0))
    workers = min(workers, -(-len(plans) // (4 * _CHUNK)))
    task = functools.partial(write, folder, size)
    if workers <= 1:
        return _collect(map(task, plans), len(plans), progress)
    # Not forked: a forked child of a process that has started TensorFlow may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _keep_memory) as pool:
        try:
            return _collect(pool.map(task, plans, chunksize=_CHUNK), len(plans), progress)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


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


def _draw(plan: _Plan, size: int) -> radiograph.Phantom:
    return radiograph.draw(
        plan.seed,
        size,
        pneumonia=plan.pneumonia,
        pneumothorax=plan.pneumothorax,
        incidental=plan.incidental,
        acquisition=plan.acquisition,
    )


def _write_rsna_image(folder: pathlib.Path, size: int, plan: _Plan) -> tuple[list[tuple], str]:
    """Writes one image; returns its rows of the labels file and its class."""
    phantom = _draw(plan, size)
    path = folder / "stage_2_train_images" / f"{plan.patient}.dcm"
    _write_image(path, folder / "lung_masks" / f"{plan.patient}.png", phantom, plan)
    if phantom.boxes:
        return [(plan.patient, *box, 1) for box in phantom.boxes], "Lung Opacity"
    healthy = plan.incidental is None and plan.pneumothorax is None
    name = "Normal" if healthy else "No Lung Opacity / Not Normal"
    return [(plan.patient, "", "", "", "", 0)], name


def _write_siim_image(folder: pathlib.Path, size: int, plan: _Plan) -> tuple[str, str]:
    """Writes one image; returns its row of the annotations file."""
    phantom = _draw(plan, size)
    study, series, instance = plan.uids
    path = folder / "dicom-images-train" / study / series / f"{instance}.dcm"
    _write_image(path, folder / "lung_masks" / f"{instance}.png", phantom, plan)
    return instance, areas.encode_runs(phantom.pneumothorax)


def _write_lungs_image(folder: pathlib.Path, size: int, plan: _Plan) -> tuple[str]:
    """Writes one image and its mask; returns its name."""
    phantom = _draw(plan, size)
    for name, pixels in (("images", phantom.image), ("masks", _to_bytes(phantom.lungs))):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{plan.patient}.png")
    return (plan.patient,)


def _write_image(
    path: pathlib.Path, lungs: pathlib.Path, phantom: radiograph.Phantom, plan: _Plan
) -> None:
    for file in (path, lungs):
        file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.Generator(np.random.SFC64([plan.seed, plan.acquisition, 8]))
    phantom_dicom.write(path, phantom, plan.patient, plan.uids, rng)
    Image.fromarray(_to_bytes(phantom.lungs)).save(lungs)


def _to_bytes(region: np.ndarray) -> np.ndarray:
    """Returns uint8 [H, W], 255 in the region."""
    return region.astype(np.uint8) * 255


def _write_csv(path: pathlib.Path, header: list[str], rows: list[tuple]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
