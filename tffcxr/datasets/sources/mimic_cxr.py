"""MIMIC-CXR-JPG, as PhysioNet ships it.

    mimic-cxr-2.0.0-chexpert.csv(.gz)    subject_id, study_id, then the fourteen labels
    mimic-cxr-2.0.0-metadata.csv(.gz)    dicom_id, subject_id, study_id, ViewPosition,
                                         ViewCodeSequence_CodeMeaning, ...
    mimic-cxr-2.0.0-split.csv(.gz)       dicom_id, subject_id, study_id, split
    files/p10/p10000032/s50414267/<dicom_id>.jpg

Records: 8 bits; the findings of `findings.CHEXPERT`, see `chexpert_labels`, of the study's report,
the same for all its images; an image of a study without labels is left out. Patients are the
subjects, and the published division is the column `split`. Age and sex are in another data set
(MIMIC-IV) and unknown here, and so is `mask`. An image whose view is not recorded counts as
"UNKNOWN", and is left out with the lateral ones.
"""

from __future__ import annotations

import logging
import pathlib

import pandas as pd

from tffcxr.datasets import findings, records, views
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.datasets.sources import chexpert_labels, source_files
from tffcxr.errors import InputError

_SOURCE = "mimic_cxr"
_SPLITS = {"train": "train", "validate": "validation", "test": "test"}
_IDS = ["dicom_id", "subject_id", "study_id"]
_MEANING = "ViewCodeSequence_CodeMeaning"


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Johnson AEW, Pollard TJ, Berkowitz SJ, et al. MIMIC-CXR, a de-identified publicly "
        "available database of chest radiographs with free-text reports. Scientific Data "
        "2019;6:317. doi:10.1038/s41597-019-0322-0. Johnson A, Lungren M, Peng Y, et al. "
        "MIMIC-CXR-JPG - chest radiographs with structured labels. PhysioNet 2019. "
        "doi:10.13026/8360-t248"
    )


def load_records(root: pathlib.Path, options: LoadOptions, site: str = "") -> pd.DataFrame:
    """Returns the records table of the labelled images that are on disk.

    Args:
      root: the folder that holds the files above.
      options: what uncertain labels mean, and which views are read.
      site: not used.

    Raises:
      InputError: a file or column is missing, a value is not what it should be, or no labelled
        image is on disk.
    """
    del site
    source_files.require_folder(root, _SOURCE)
    metadata = _read(_table(root, "metadata"), [*_IDS, "ViewPosition"])
    splits = _read(_table(root, "split"), ["dicom_id", "split"]).set_index("dicom_id")["split"]
    labels = _labels(_table(root, "chexpert"), options)
    if _MEANING not in metadata.columns:
        metadata[_MEANING] = ""
    table = pd.DataFrame(
        {
            "image_id": metadata["dicom_id"],
            "patient": metadata["subject_id"],
            "study": metadata["study_id"],
            "view": _views(metadata),
            records.SPLIT: metadata["dicom_id"].map(splits).map(_SPLITS),
        }
    )
    without = table[records.SPLIT].isna()
    if without.any():
        raise InputError(
            f"{_SOURCE}: expected train, validate or test for every image in "
            f"{_table(root, 'split')}, found {splits.get(table['image_id'][without].iloc[0])!r} "
            f"for {table['image_id'][without].iloc[0]}"
        )
    table = _frontal(table, options)
    table = _labelled(table, labels)
    paths = pd.Series(
        [
            root / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}" / f"{image}.jpg"
            for image, patient, study in zip(table["image_id"], table["patient"], table["study"])
        ],
        table.index,
        dtype=object,
    )
    paths = paths.where(paths.map(pathlib.Path.is_file), None)
    table = records.drop_missing_images(
        table, paths, _SOURCE, root / "files", example=table["image_id"]
    ).drop(columns=["image_id", "study"])
    return records.build(table.to_dict("records"), findings.CHEXPERT, _SOURCE)


def _table(root: pathlib.Path, what: str) -> pathlib.Path:
    """The table of a name, of whichever version, compressed or not."""
    pattern = f"mimic-cxr-2.*-{what}.csv"
    found = sorted(root.glob(pattern)) or sorted(root.glob(f"{pattern}.gz"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(f"{_SOURCE}: expected one {pattern} or .gz in {root}, found {names}")
    return found[0]


def _read(path: pathlib.Path, columns: list[str]) -> pd.DataFrame:
    df = source_files.read_csv(path, columns, _SOURCE)
    key = columns[0]
    bad = df.duplicated(key) | (df[[c for c in columns if c in _IDS]] == "").any(axis=1)
    if bad.any():
        raise source_files.bad_row(path, df[columns], bad, f"each {key} once", _SOURCE)
    return df


def _labels(path: pathlib.Path, options: LoadOptions) -> pd.DataFrame:
    """The labels by study_id."""
    df = _read(path, ["study_id", *chexpert_labels.COLUMNS])
    labels = chexpert_labels.read(path, df, options.uncertain, _SOURCE)
    return labels.set_index(df["study_id"])


def _views(metadata: pd.DataFrame) -> pd.Series:
    """ViewPosition, otherwise what the view's code means ("postero-anterior")."""
    position, meaning = metadata["ViewPosition"], metadata[_MEANING].str.strip()
    view = position.where(position != "", meaning)
    return view.where(view != "", "UNKNOWN")


def _frontal(table: pd.DataFrame, options: LoadOptions) -> pd.DataFrame:
    """Leaves images of unknown views out, of which many are lateral."""
    unknown = table["view"].map(views.is_frontal).isna()
    if options.views != "frontal" or not unknown.any():
        return table
    logging.getLogger(__name__).warning(
        "%s: the view of %d of %d images is not recorded, and they are left out; --views=all "
        "keeps them",
        *(_SOURCE, int(unknown.sum()), len(table)),
    )
    return table[~unknown]


def _labelled(table: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    known = table["study"].isin(labels.index)
    if not known.all():
        logging.getLogger(__name__).warning(
            "%s: %d of %d images are of studies without labels and are left out",
            *(_SOURCE, int((~known).sum()), len(table)),
        )
    kept = table[known]
    found = labels.reindex(kept["study"]).set_index(kept.index)
    return kept.join(found)
