"""Draws the pictures of `make_testdata`, and writes them and tables.

Two dark lungs in a grey chest, and brighter ellipses. They belong to nobody.
"""

from __future__ import annotations

import csv
import pathlib

import numpy as np
import PIL.Image
from pydicom import uid
from pydicom.dataset import FileDataset, FileMetaDataset
import pydicom.encaps
import simplejpeg

SIDE = 64
UID_ROOT = "1.2.826.0.1.3680043.10.9999"  # Below pydicom's own root; no real study has it.


def chest(rng: np.random.Generator, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Draws a chest; returns its grey values, float [side, side] in 0..1, and its lungs, bool."""
    y, x = np.mgrid[:side, :side] / side
    shift = rng.uniform(-0.03, 0.03, 2)
    lungs = np.zeros((side, side), bool)
    for centre in (0.30, 0.70):
        lungs |= ((x - centre - shift[0]) / 0.15) ** 2 + ((y - 0.5 - shift[1]) / 0.34) ** 2 < 1
    grey = np.where(lungs, 0.25, 0.65) + 0.05 * np.cos(2 * np.pi * y * 9)
    return grey + rng.normal(0, 0.02, grey.shape), lungs


def with_boxes(grey: np.ndarray, boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Brightens an ellipse in each box (x, y, width, height)."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] + 0.5
    for left, top, width, height in boxes:
        inside = ((x - left - width / 2) / (width / 2)) ** 2
        inside += ((y - top - height / 2) / (height / 2)) ** 2
        grey = grey + 0.45 * np.clip(1 - inside, 0, 1)
    return grey


def to_bytes(grey: np.ndarray) -> np.ndarray:
    """Returns uint8 [H, W]."""
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)


def write_dicom(
    path: pathlib.Path, pixels: np.ndarray, instance: str, patient: str, **elements: object
) -> None:
    """Writes an 8-bit secondary capture in JPEG Baseline, as both challenges have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = uid.UID(instance)
    meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = uid.UID(instance)
    dataset.Modality = "CR"
    dataset.PatientName = dataset.PatientID = patient
    dataset.BodyPartExamined = "CHEST"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelSpacing = [2.5, 2.5]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionMethod = "ISO_10918_1"
    jpeg = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels[:, :, np.newaxis]), 90, "GRAY", colorsubsampling="Gray"
    )
    dataset.PixelData = pydicom.encaps.encapsulate([jpeg])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)


def write_csv(path: pathlib.Path, header: list[str], rows: list[list[object]]) -> None:
    """Writes a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_png(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes a grey PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path, optimize=True)


def write_jpeg(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes a grey JPEG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    jpeg = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels[:, :, np.newaxis]), 90, "GRAY", colorsubsampling="Gray"
    )
    path.write_bytes(jpeg)
