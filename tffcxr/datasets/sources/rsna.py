"""RSNA Pneumonia Detection Challenge 2018, as Kaggle ships it, or processed into PNG files.

    stage_2_train_images/<patientId>.dcm
    stage_2_train_labels.csv           patientId, x, y, width, height, Target: a row per box
    stage_2_detailed_class_info.csv    patientId, class

or, as Kaggle's "RSNA Pneumonia Processed Dataset",

    Training/Images/<patientId>.png    of the size of the DICOM files, in whose pixels the boxes are
    stage2_train_metadata.csv          the columns of both lists; age, sex and position (the view)

and for both

    lung_masks/<patientId>.png         optional, not part of the challenge: masks of the lungs
    pneumonia-challenge-dataset-mappings_2018.json
                                       optional, from RSNA: which NIH ChestX-ray14 image each is

The challenge calls an examination a patient. The images come from NIH ChestX-ray14, where some
patients have several; only the mapping file tells, and where it is present the patients are those
of NIH, so that neither splits nor an NIH site beside this one share any.

Records: images of 1024 x 1024 and 8 bits, every finding known, `mask` the boxes of "Lung Opacity".
"""

from __future__ import annotations

import json
import logging
import pathlib
import re

import pandas as pd

from tffcxr.datasets import findings, records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.sources import dicom_header, mask_folders, source_files
from tffcxr.errors import InputError

_SOURCE = "rsna"
_IMAGES = "stage_2_train_images"
_LABELS = "stage_2_train_labels.csv"
_CLASSES = "stage_2_detailed_class_info.csv"
_PROCESSED_IMAGES = "Training/Images"
_PROCESSED_TABLE = "stage2_train_metadata.csv"
_ABOUT = ["age", "sex", "position"]
_MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_BOX = ["x", "y", "width", "height"]
_OPACITY = "Lung Opacity"
_NIH_IMAGE = re.compile(r"(\d{1,64})(_.*)?")
_SIDE = 1024


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Shih G, Wu CC, Halabi SS, et al. Augmenting the National Institutes of Health Chest "
        "Radiograph Dataset with Expert Annotations of Possible Pneumonia. Radiology: Artificial "
        "Intelligence 2019;1(1):e180041. doi:10.1148/ryai.2019180041"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of the labelled images that are on disk.

    Args:
      root: the folder that holds the files above.

    Raises:
      InputError: a file or column is missing, a value is not what it should be, rows contradict
        each other, or no labelled image is on disk.
    """
    source_files.require_folder(root, _SOURCE)
    is_processed = (root / _PROCESSED_TABLE).exists()
    labels, classes = (
        (root / _PROCESSED_TABLE,) * 2 if is_processed else (root / _LABELS, root / _CLASSES)
    )
    table = _labels(labels).join(_classes(classes), how="outer")
    _check_agreement(table, labels, classes)
    images, suffix = (_PROCESSED_IMAGES, ".png") if is_processed else (_IMAGES, ".dcm")
    folder = root / images
    if not folder.is_dir():
        raise InputError(f"{_SOURCE}: expected the folder {images} in {root}, found none")
    files = source_files.find_files([folder], [suffix])
    paths = pd.Series(
        {patient: files.get(f"{patient}{suffix}") for patient in table.index}, dtype=object
    )
    table = records.drop_missing_images(table, paths, _SOURCE, folder)
    if is_processed:
        headers = _headers(labels, table)
    else:
        headers = dicom_header.read_headers(table["image"].tolist(), _SOURCE)
    patients = _nih_patients(root)
    lungs = source_files.lung_masks(root)
    rows = [
        {
            "image": file,
            "patient": patients.get(name, name),
            "view": header.view,
            "age": header.age,
            "sex": header.sex,
            "scanner": header.scanner,
            "mask": _mask(name, boxes, header, labels),
            "lungs": lungs.get(name),
            **{finding: float(kind == finding) for finding in findings.RSNA},
        }
        for name, file, kind, boxes, header in zip(
            table.index, table["image"], table["kind"], table["boxes"], headers
        )
    ]
    return records.build(rows, findings.RSNA, _SOURCE)


def _labels(path: pathlib.Path) -> pd.DataFrame:
    """Returns `target` (bool) and `boxes` (tuple of boxes) by patientId."""
    df = source_files.read_csv(path, ["patientId", *_BOX, "Target"], _SOURCE)
    bad = ~df["Target"].isin(["0", "1"]) | (df["patientId"] == "")
    if bad.any():
        raise source_files.bad_row(path, df, bad, "a patientId and a Target of 0 or 1", _SOURCE)
    target = df["Target"] == "1"
    has_box = (df[_BOX] != "").all(axis=1)
    bad = (target != has_box) | (~target & (df[_BOX] != "").any(axis=1))
    if bad.any():
        raise source_files.bad_row(
            path, df, bad, "a box with Target 1 and none with Target 0", _SOURCE
        )
    numbers = df[_BOX].apply(pd.to_numeric, errors="coerce")
    bad = target & numbers.isna().any(axis=1)
    if bad.any():
        raise source_files.bad_row(path, df, bad, "numbers for x, y, width and height", _SOURCE)
    bad = df.duplicated(["patientId", *_BOX, "Target"])
    if bad.any():
        raise source_files.bad_row(path, df, bad, "each row once", _SOURCE)
    bad = df["patientId"].isin(set(df["patientId"][target]) & set(df["patientId"][~target]))
    if bad.any():
        raise source_files.bad_row(
            path, df, bad, "one Target per patientId, of which both were found", _SOURCE
        )
    boxes: dict[str, list[tuple[float, ...]]] = {patient: [] for patient in df["patientId"]}
    for patient, box in zip(df["patientId"][target], numbers[target].itertuples(index=False)):
        boxes[patient].append(tuple(map(float, box)))
    return pd.DataFrame(
        {
            "target": [bool(found) for found in boxes.values()],
            "boxes": [tuple(found) for found in boxes.values()],
        },
        index=list(boxes),
    )


def _classes(path: pathlib.Path) -> pd.DataFrame:
    """Returns `kind`, one of the three classes, by patientId."""
    df = source_files.read_csv(path, ["patientId", "class"], _SOURCE)
    bad = ~df["class"].isin(findings.RSNA)
    if bad.any():
        raise source_files.bad_row(
            path, df, bad, f"one of the classes {', '.join(findings.RSNA)}", _SOURCE
        )
    # The challenge repeats the row of a patient for each box.
    df = df.drop_duplicates(["patientId", "class"])
    bad = df["patientId"].duplicated()
    if bad.any():
        raise source_files.bad_row(
            path, df, bad, "one class per patientId, of which two were found", _SOURCE
        )
    return df.set_index("patientId")[["class"]].rename(columns={"class": "kind"})


def _check_agreement(table: pd.DataFrame, labels: pathlib.Path, classes: pathlib.Path) -> None:
    lone = table["kind"].isna() | table["target"].isna()
    if lone.any():
        patient = table.index[lone][0]
        without = classes if pd.isna(table["kind"][patient]) else labels
        raise InputError(
            f"{_SOURCE}: expected every patientId in both {labels.name} and {classes.name} of "
            f"{labels.parent}, found {patient} missing from {without.name} ({int(lone.sum())} such)"
        )
    differs = table["target"].astype(bool) != (table["kind"] == _OPACITY)
    if differs.any():
        patient = table.index[differs][0]
        raise InputError(
            f"{_SOURCE}: expected Target 1 for the class {_OPACITY} alone, found {patient} with "
            f"Target {int(table['target'][patient])} and class {table['kind'][patient]!r} in "
            f"{labels.parent}"
        )


def _headers(path: pathlib.Path, table: pd.DataFrame) -> list[dicom_header.Header]:
    """Returns what the processed dataset's table says of each image, like DICOM headers."""
    df = source_files.read_csv(path, ["patientId", *_ABOUT], _SOURCE)
    df = df.drop_duplicates("patientId")  # A row per box, as among the labels.
    bad = ~df["sex"].isin(["F", "M", ""])
    if bad.any():
        raise source_files.bad_row(path, df, bad, "F or M as sex", _SOURCE)
    about = df.assign(age=source_files.ages(path, df, "age", _SOURCE)).set_index("patientId")
    headers = []
    for name, image in table["image"].items():
        size = mask_folders.size(image) or (_SIDE, _SIDE)
        if size != (_SIDE, _SIDE):  # The boxes would lie elsewhere.
            raise InputError(
                f"{_SOURCE}: {image}: expected {_SIDE}x{_SIDE} pixels like the challenge's images, "
                f"found {size[1]}x{size[0]}"
            )
        age, sex, view = about.loc[name, _ABOUT]
        headers.append(dicom_header.Header(None, age, sex or None, view or None, *size))
    return headers


def _mask(
    name: str, boxes: tuple, header: dicom_header.Header, labels: pathlib.Path
) -> areas.Boxes:
    try:
        return areas.Boxes(boxes, header.height or _SIDE, header.width or _SIDE)
    except InputError as error:
        raise InputError(f"{_SOURCE}: {labels}: {name}: {error}") from None


def _nih_patients(root: pathlib.Path) -> dict[str, str]:
    """Returns the NIH patient by patientId, empty without the mapping file."""
    path = root / _MAPPING
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{_SOURCE}: {path}: expected JSON, found: {error}") from None
    patients = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        # "00014706_008.png" is the image 8 of patient 14706.
        match = _NIH_IMAGE.fullmatch(_text_of(entry, "img_id"))
        subset = _text_of(entry, "subset_img_id")
        if match is None or not subset:
            raise InputError(
                f"{_SOURCE}: {path}: expected a list of objects with subset_img_id and img_id, "
                f"found {entry!r:.80}"
            )
        patients[subset] = str(int(match[1]))
    logging.getLogger(__name__).info("%s: patients are those of NIH, from %s", _SOURCE, path)
    return patients


def _text_of(entry: object, key: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else ""
