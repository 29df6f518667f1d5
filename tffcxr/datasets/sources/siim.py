"""SIIM-ACR Pneumothorax Segmentation 2019, as Kaggle and the Healthcare API ship it.

    train-rle.csv (or stage_2_train.csv)   ImageId, EncodedPixels: a row per region, -1 for none
    dicom-images-train/<study>/<series>/<ImageId>.dcm, or flat (or stage_2_images)
    lung_masks/<ImageId>.png               optional, not part of the challenge: masks of the lungs

Records: images of 1024 x 1024 and 8 bits, "Pneumothorax" known for all, `mask` the union of an
image's regions (see `annotations.RunLengths`), patients from the DICOM headers.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.sources import dicom_header, source_files
from tffcxr.errors import InputError

_SOURCE = "siim"
_FINDING = "Pneumothorax"
_TABLES = ("train-rle.csv", "stage_2_train.csv")
_FOLDERS = ("dicom-images-train", "stage_2_images")
_NONE = "-1"
_SIDE = 1024


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Society for Imaging Informatics in Medicine, American College of Radiology. SIIM-ACR "
        "Pneumothorax Segmentation. Kaggle, 2019. "
        "https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of the annotated images that are on disk.

    Args:
      root: the folder that holds the files above.

    Raises:
      InputError: a file or column is missing, a run-length code is damaged, rows contradict each
        other, or no annotated image is on disk.
    """
    source_files.require_folder(root, _SOURCE)
    path = source_files.first_existing(root, _TABLES, _SOURCE)
    folder = source_files.first_existing(root, _FOLDERS, _SOURCE)
    regions = _regions(path)
    files = source_files.find_files([folder], [".dcm"])
    table = pd.DataFrame({"runs": list(regions.values())}, index=list(regions))
    paths = pd.Series({image: files.get(f"{image}.dcm") for image in regions}, dtype=object)
    table = records.drop_missing_images(table, paths, _SOURCE, folder)
    headers = dicom_header.read_headers(table["image"].tolist(), _SOURCE)
    lungs = source_files.lung_masks(root)
    rows = []
    for image, runs, file, header in zip(table.index, table["runs"], table["image"], headers):
        try:
            mask = areas.RunLengths(runs, header.height or _SIDE, header.width or _SIDE)
        except InputError as error:
            raise InputError(f"{_SOURCE}: {path}: {image}: {error}") from None
        rows.append(
            {
                "image": file,
                "patient": header.patient or image,
                "view": header.view,
                "age": header.age,
                "sex": header.sex,
                "scanner": header.scanner,
                "mask": mask,
                "lungs": lungs.get(image),
                _FINDING: float(not mask.empty),
            }
        )
    return records.build(rows, [_FINDING], _SOURCE)


def _regions(path: pathlib.Path) -> dict[str, tuple[str, ...]]:
    """Returns the run-length codes of each ImageId, none for an image without pneumothorax."""
    df = source_files.read_csv(path, ["ImageId", "EncodedPixels"], _SOURCE, long=["EncodedPixels"])
    columns = ["ImageId", "EncodedPixels"]
    bad = (df[columns] == "").any(axis=1)
    if bad.any():
        raise source_files.bad_row(
            path, df[columns], bad, "an ImageId and run lengths or -1", _SOURCE
        )
    bad = df.duplicated(columns)
    if bad.any():
        raise source_files.bad_row(path, df[columns], bad, "each row once", _SOURCE)
    none = df["EncodedPixels"] == _NONE
    bad = df["ImageId"].isin(set(df["ImageId"][none]) & set(df["ImageId"][~none]))
    if bad.any():
        raise source_files.bad_row(
            path,
            df[columns],
            bad,
            "-1 or run lengths for an ImageId, of which both were found",
            _SOURCE,
        )
    regions: dict[str, list[str]] = {image: [] for image in df["ImageId"]}
    for image, code in zip(df["ImageId"][~none], df["EncodedPixels"][~none]):
        regions[image].append(code)
    return {image: tuple(codes) for image, codes in regions.items()}
