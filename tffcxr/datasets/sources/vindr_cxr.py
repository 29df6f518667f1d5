"""VinDr-CXR, as PhysioNet ships it, or as Kaggle's VinBigData challenge.

    train/<image_id>.dicom, test/<image_id>.dicom        or .dcm, .png, .jpg
    annotations/image_labels_train.csv    image_id, rad_id, then 28 labels: a row per reader, three
    annotations/image_labels_test.csv     image_id, then the labels: the readers' consensus

(the tables may also lie beside the folders), or, as on Kaggle,

    train/<image_id>.dicom
    train.csv                             image_id, class_name, rad_id, ...: a row per box

Records: of 15,000 and 3,000 images, all postero-anterior. A finding of the training images is
present if more than half of the readers saw it, absent if fewer did. The published division is the
column `split`. Kaggle's table has 14 of the findings and no test labels. Which images are of one
patient is not published, so each stands for a patient of its own. `mask` is unknown: boxes belong
to one finding and one reader each.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from tffcxr.datasets import findings, records
from tffcxr.datasets.sources import dicom_header, source_files
from tffcxr.datasets.tables import label_values
from tffcxr.errors import InputError

_SOURCE = "vindr_cxr"
_LABELS = ("annotations/image_labels_{}.csv", "image_labels_{}.csv")
_KAGGLE = "train.csv"
_SUFFIXES = (".dicom", ".dcm", ".png", ".jpg", ".jpeg")
_SPLITS = ("train", "test")
_READER = "rad_id"


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Nguyen HQ, Lam K, Le LT, et al. VinDr-CXR: An open dataset of chest X-rays with "
        "radiologist's annotations. Scientific Data 2022;9:429. doi:10.1038/s41597-022-01498-w"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of the labelled images that are on disk.

    Args:
      root: the folder that holds the files above.

    Raises:
      InputError: a file or column is missing, a value is not what it should be, or no labelled
        image is on disk.
    """
    source_files.require_folder(root, _SOURCE)
    tables = [_split(root, split) for split in _SPLITS]
    table = pd.concat([found for found in tables if found is not None])
    files = _files(root)
    table = records.drop_missing_images(
        table, table.index.to_series().map(files), _SOURCE, root, example=table.index.to_series()
    )
    names = [name for name in table.columns if name not in ("image", records.SPLIT)]
    dicom = [path for path in table["image"] if path.lower().endswith((".dicom", ".dcm"))]
    headers = dict(zip(dicom, dicom_header.read_headers(dicom, _SOURCE)))
    rows = []
    for image_id, row in zip(table.index, table.to_dict("records")):
        header = headers.get(row["image"], dicom_header.Header())
        about = {"view": "PA", "age": header.age, "sex": header.sex, "scanner": header.scanner}
        rows.append({**row, **about, "patient": image_id})
    return records.build(rows, names, _SOURCE)


def _split(root: pathlib.Path, split: str) -> pd.DataFrame | None:
    """The labels of a split by image_id, None where there is no table."""
    names = [name.format(split) for name in _LABELS]
    path = next((root / name for name in names if (root / name).exists()), None)
    if path is not None:
        return _of_readers(path).assign(**{records.SPLIT: split})
    if split == "test":
        return None
    if not (root / _KAGGLE).exists():
        raise InputError(f"{_SOURCE}: expected {names[0]} or {_KAGGLE} in {root}, found neither")
    return _of_boxes(root / _KAGGLE).assign(**{records.SPLIT: split})


def _of_readers(path: pathlib.Path) -> pd.DataFrame:
    """Labels by image_id from a table with a row per image, or per image and reader."""
    df = source_files.read_csv(path, ["image_id"], _SOURCE)
    columns = [name for name in df.columns if name not in ("image_id", _READER)]
    names = [_name(path, column) for column in columns]
    if not columns or len(set(names)) < len(names):
        raise InputError(f"{_SOURCE}: {path}: expected a column per finding, found {columns}")
    bad = df.duplicated([name for name in ("image_id", _READER) if name in df.columns])
    if bad.any():
        raise source_files.bad_row(path, df, bad, "each image and reader once", _SOURCE)
    labels = {}
    for column, name in zip(columns, names):
        texts = df[column].str.strip()
        bad = ~texts.isin(["0", "1", "0.0", "1.0", ""])
        if bad.any():
            raise source_files.bad_row(
                path, df[["image_id", column]], bad, f"{column} of 0 or 1", _SOURCE
            )
        labels[name] = texts.map(label_values.parse)
    return _majority(pd.DataFrame(labels).groupby(df["image_id"], sort=False).mean())


def _of_boxes(path: pathlib.Path) -> pd.DataFrame:
    """Labels by image_id from a table with a row per image, reader and box; each reader has one."""
    df = source_files.read_csv(path, ["image_id", "class_name", _READER], _SOURCE)
    names = {text: _name(path, text) for text in pd.unique(df["class_name"])}
    seen = df.assign(name=df["class_name"].map(names)).drop_duplicates(
        ["image_id", _READER, "name"]
    )
    votes = seen.groupby(["image_id", "name"], sort=False).size().unstack(fill_value=0)
    readers = df.groupby("image_id")[_READER].nunique()
    found = [name for name in findings.VINDR if name in votes.columns]
    return _majority(votes[found].div(readers, axis=0))


def _name(path: pathlib.Path, column: str) -> str:
    """The vocabulary's name; the two tables of PhysioNet differ in "Other disease(s)"."""
    text = "Other Disease" if column.lower() == "other diseases" else column
    try:
        return findings.find(text, findings.VINDR)
    except InputError:
        raise InputError(
            f"{_SOURCE}: {path}: expected the findings of VinDr-CXR, found {column!r}"
        ) from None


def _majority(shares: pd.DataFrame) -> pd.DataFrame:
    """1 and 0 by more than half of the readers, NaN for a tie or where no reader says."""
    return shares.gt(0.5).astype(float).where(shares.notna() & (shares != 0.5))


def _files(root: pathlib.Path) -> dict[str, str]:
    folders = [root / split for split in _SPLITS if (root / split).is_dir()]
    if not folders:
        raise InputError(f"{_SOURCE}: expected the folder train in {root}, found none")
    found: dict[str, str] = {}
    for name, path in source_files.find_files(folders, _SUFFIXES).items():
        stem = name.rpartition(".")[0]
        if stem in found:
            raise InputError(
                f"{_SOURCE}: expected one image named {stem}, found {found[stem]} and {path}"
            )
        found[stem] = path
    return found
