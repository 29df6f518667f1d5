"""Writes phantom radiographs in the layouts of the RSNA and SIIM-ACR challenges, and of `lungs`.

RSNA Pneumonia Detection Challenge 2018 (Shih et al. 2019): DICOM files, boxes, three classes.
SIIM-ACR Pneumothorax Segmentation 2019: nested DICOM files, relative run lengths down the columns.
Both get `lung_masks/` beside the images. As in real data, the pneumonia site also has unlabelled
pneumothoraces, and the pneumothorax site unlabelled pneumonia. A site with masks of the lungs alone
has PNG files, and patients with either disease.
"""

from __future__ import annotations

from collections.abc import Iterator
import functools
import pathlib
import uuid

import numpy as np

from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.phantoms import phantom_dicom
from tffcxr.datasets.phantoms import phantom_drawing as drawing
from tffcxr.datasets.phantoms.chest import radiograph as radiograph

_OTHER_FINDING = 0.15  # chance of the other site's finding, labelled by nobody
_INCIDENTAL = 0.35
_SECOND_IMAGE = 0.12  # of SIIM's patients


def _plan(
    layout: str, patients: int, seed: int, positive_fraction: float
) -> Iterator[drawing.Plan]:
    """Draws the content of every image; the label is independent of everything else."""
    tag = {"rsna": 1, "siim": 2, "lungs": 3}[layout]
    rng = np.random.Generator(np.random.SFC64([seed, tag]))
    positives = round(patients * positive_fraction)
    positive = rng.permutation(np.arange(patients) < positives)
    for number in range(patients):
        person = int(rng.integers(2**62))
        patient = str(uuid.UUID(bytes=rng.bytes(16), version=4))
        severity = drawing.severity(rng)
        other = drawing.severity(rng) if rng.random() < _OTHER_FINDING else None
        incidental = str(rng.choice(radiograph.INCIDENTAL)) if rng.random() < _INCIDENTAL else None
        images = 1 + (layout == "siim" and rng.random() < _SECOND_IMAGE)
        own = severity if positive[number] else None
        for acquisition in range(images):
            yield drawing.Plan(
                patient=patient,
                seed=person,
                acquisition=acquisition,
                uids=phantom_dicom.make_uids(person, acquisition),
                pneumonia=other if layout == "siim" else own,
                pneumothorax=own if layout == "siim" else other,
                incidental=incidental,
            )


def _write_rsna_tables(folder: pathlib.Path, rows: list[tuple]) -> None:
    header = ["patientId", "x", "y", "width", "height", "Target"]
    boxes = [row for label_rows, _ in rows for row in label_rows]
    drawing.write_csv(folder / "stage_2_train_labels.csv", header, boxes)
    classes = [(patient, name) for labels, name in rows for patient, *_ in labels]
    drawing.write_csv(folder / "stage_2_detailed_class_info.csv", ["patientId", "class"], classes)


def _write_siim_table(folder: pathlib.Path, rows: list[tuple]) -> None:
    drawing.write_csv(folder / "train-rle.csv", ["ImageId", " EncodedPixels"], rows)


def _write_rsna_image(
    folder: pathlib.Path, size: int, plan: drawing.Plan
) -> tuple[list[tuple], str]:
    """Writes one image; returns its rows of the labels file and its class."""
    phantom = drawing.draw(plan, size)
    path = folder / "stage_2_train_images" / f"{plan.patient}.dcm"
    _write_image(path, folder / "lung_masks" / f"{plan.patient}.png", phantom, plan)
    if phantom.boxes:
        return [(plan.patient, *box, 1) for box in phantom.boxes], "Lung Opacity"
    healthy = plan.incidental is None and plan.pneumothorax is None
    name = "Normal" if healthy else "No Lung Opacity / Not Normal"
    return [(plan.patient, "", "", "", "", 0)], name


def _write_siim_image(folder: pathlib.Path, size: int, plan: drawing.Plan) -> tuple[str, str]:
    """Writes one image; returns its row of the annotations file."""
    phantom = drawing.draw(plan, size)
    study, series, instance = plan.uids
    path = folder / "dicom-images-train" / study / series / f"{instance}.dcm"
    _write_image(path, folder / "lung_masks" / f"{instance}.png", phantom, plan)
    return instance, areas.encode_runs(phantom.pneumothorax)


def _write_lungs_image(folder: pathlib.Path, size: int, plan: drawing.Plan) -> tuple[str]:
    """Writes one image and its mask; returns its name."""
    phantom = drawing.draw(plan, size)
    drawing.write_picture(folder / "images" / f"{plan.patient}.png", phantom.image)
    drawing.write_mask(folder / "masks" / f"{plan.patient}.png", phantom.lungs)
    return (plan.patient,)


def _write_image(
    path: pathlib.Path, lungs: pathlib.Path, phantom: radiograph.Phantom, plan: drawing.Plan
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.Generator(np.random.SFC64([plan.seed, plan.acquisition, 8]))
    phantom_dicom.write(path, phantom, plan.patient, plan.uids, rng)
    drawing.write_mask(lungs, phantom.lungs)


# "Lung Opacity" is what is positive; one image per patient.
write_rsna = drawing.SiteWriter(
    "rsna", functools.partial(_plan, "rsna"), _write_rsna_image, _write_rsna_tables
)
# A pneumothorax is what is positive. About one patient in eight has two images.
write_siim = drawing.SiteWriter(
    "siim", functools.partial(_plan, "siim"), _write_siim_image, _write_siim_table
)
# Both lung fields are in the mask, consolidated and collapsed lung too; one image per patient.
write_lungs = drawing.SiteWriter("lungs", functools.partial(_plan, "lungs"), _write_lungs_image)
