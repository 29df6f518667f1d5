"""PadChest, as BIMCV ships it.

    PADCHEST_chest_x_ray_images_labels_160K_<date>.csv(.gz)
        ImageID, StudyDate_DICOM, PatientID, PatientBirth, PatientSex_DICOM, Projection, Labels,
        PhotometricInterpretation_DICOM, Manufacturer_DICOM (optional), ...; Labels is a list such
        as "['normal']"
    **/<ImageID>                 PNG of 16 bits, anywhere below

Records: the findings of `TERMS`, present if the report has one of their terms. The data set has
174 terms in a tree, of which these are the ones with a counterpart in other sets; "pulmonary edema"
is Edema, and "laminar atelectasis" is Atelectasis, too. Three quarters of the labels are by a
network that read the report. Where a report is "unchanged" or the study "suboptimal", what it does
not mention is unknown, otherwise absent. Images with "exclude" or without labels are left out.

PNG files have the values of the DICOM files, whatever they mean: nothing is inverted (the authors'
`preprocess_images` in util.py of github.com/auriml/Rx-thorax-automatic-captioning). Where these are
MONOCHROME1, low values should be white. The authors leave such images out, since many are errors of
the DICOM header (`generateExcludedImageList` there), so nobody knows which of those that the table
still has are inverted; they are left out here, too. `age` is that of the year, and `mask` is
unknown.
"""

from __future__ import annotations

import ast
import logging
import math
import pathlib

import pandas as pd

from tffcxr.datasets import findings, records, scanners
from tffcxr.datasets.sources import source_files
from tffcxr.errors import InputError

_SOURCE = "padchest"
_TABLES = "PADCHEST_chest_x_ray_images_labels_*"
_COLUMNS = [
    *("ImageID", "StudyDate_DICOM", "PatientID", "PatientBirth", "PatientSex_DICOM"),
    *("Projection", "PhotometricInterpretation_DICOM", "Labels"),
]
_MANUFACTURER = "Manufacturer_DICOM"
# Each finding, and the terms of the data set that mean it: its own, and those below it in the tree.
TERMS: dict[str, tuple[str, ...]] = {
    "Atelectasis": (
        *("atelectasis", "laminar atelectasis", "lobar atelectasis", "round atelectasis"),
        *("segmental atelectasis", "total atelectasis", "atelectasis basal"),
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation",),
    "Edema": ("pulmonary edema",),
    "Effusion": (
        *("pleural effusion", "loculated pleural effusion", "loculated fissural effusion"),
        "hydropneumothorax",
    ),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("pulmonary fibrosis",),
    "Fracture": (
        *("fracture", "rib fracture", "callus rib fracture", "clavicle fracture"),
        *("humeral fracture", "vertebral fracture"),
    ),
    "Hernia": ("hiatal hernia",),
    "Infiltration": ("infiltrates",),
    "Mass": ("pulmonary mass",),
    "Nodule": ("nodule", "multiple nodules"),
    "Pleural Thickening": (
        *("pleural thickening", "apical pleural thickening", "calcified pleural thickening"),
    ),
    "Pneumonia": ("pneumonia", "atypical pneumonia"),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "Tuberculosis": ("tuberculosis",),
    findings.NO_FINDING: ("normal",),
}
_INCOMPLETE = ("unchanged", "suboptimal study")
_EXCLUDE = "exclude"
_NONE = ("", "nan", "None")


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Bustos A, Pertusa A, Salinas JM, de la Iglesia-Vayá M. PadChest: A large chest x-ray "
        "image dataset with multi-label annotated reports. Medical Image Analysis 2020;66:101797. "
        "doi:10.1016/j.media.2020.101797"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of the labelled images that are on disk.

    Args:
      root: the folder that holds the files above.

    Raises:
      InputError: the table is missing, or there are several, a column is missing, a value is not
        what it should be, or no labelled image is on disk.
    """
    source_files.require_folder(root, _SOURCE)
    path = _table(root)
    df = source_files.read_csv(path, _COLUMNS, _SOURCE, long=["Labels"])
    bad = df.duplicated("ImageID") | df["ImageID"].isin(_NONE) | df["PatientID"].isin(_NONE)
    if bad.any():
        raise source_files.bad_row(
            path, df[_COLUMNS], bad, "each ImageID once, with a PatientID", _SOURCE
        )
    df = df.assign(terms=_terms(path, df))
    df = _usable(df)
    files = source_files.find_files([root], [".png"])
    df = records.drop_missing_images(
        df, df["ImageID"].map(files), _SOURCE, root, example=df["ImageID"]
    )
    table = pd.DataFrame(
        {
            "image": df["image"],
            "patient": df["PatientID"],
            "view": df["Projection"].where(~df["Projection"].isin(["UNK", *_NONE]), None),
            "age": _ages(df),
            "sex": df["PatientSex_DICOM"].where(df["PatientSex_DICOM"].isin(["F", "M"]), None),
            "scanner": _scanners(df),
        }
    ).join(_labels(df["terms"]))
    return records.build(table.to_dict("records"), list(TERMS), _SOURCE)


def _table(root: pathlib.Path) -> pathlib.Path:
    found = sorted(root.glob(f"{_TABLES}.csv")) or sorted(root.glob(f"{_TABLES}.csv.gz"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(
            f"{_SOURCE}: expected one {_TABLES}.csv or .csv.gz in {root}, found {names}"
        )
    return found[0]


def _terms(path: pathlib.Path, df: pd.DataFrame) -> pd.Series:
    """The set of terms of each row, None where the table has no list."""

    def parse(text: str) -> frozenset[str] | None:
        if text in _NONE:
            return None
        found = ast.literal_eval(text)
        if not isinstance(found, list):
            raise ValueError
        return frozenset(str(term).strip().lower() for term in found) - {""} or None

    terms, wrong = {}, []
    for text in pd.unique(df["Labels"]):
        try:
            terms[text] = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            wrong.append(text)
    bad = df["Labels"].isin(wrong)
    if bad.any():
        raise source_files.bad_row(
            path, df[["ImageID", "Labels"]], bad, "a list of Labels", _SOURCE
        )
    return df["Labels"].map(terms)


def _usable(df: pd.DataFrame) -> pd.DataFrame:
    usable = df["terms"].map(lambda terms: bool(terms) and _EXCLUDE not in terms)
    usable &= df["Projection"].str.upper() != _EXCLUDE.upper()
    is_unclear = df["PhotometricInterpretation_DICOM"] == "MONOCHROME1"
    if (usable & is_unclear).any():
        logging.getLogger(__name__).warning(
            "%s: %d of %d images are MONOCHROME1 by the table, which is often wrong, so that they "
            "may be inverted, and are left out",
            *(_SOURCE, int((usable & is_unclear).sum()), len(df)),
        )
    if not usable.all():
        logging.getLogger(__name__).warning(
            "%s: %d of %d images have no labels, or are excluded by the source, and are left out",
            *(_SOURCE, int((~usable).sum()), len(df)),
        )
    return df[usable & ~is_unclear]


def _ages(df: pd.DataFrame) -> pd.Series:
    """Years between the years of study and birth; unknown if one is missing or they contradict."""
    studied = pd.to_numeric(df["StudyDate_DICOM"].str[:4], errors="coerce")
    ages = studied - pd.to_numeric(df["PatientBirth"], errors="coerce")
    return ages.where((ages >= 0) & (ages <= records.MAXIMUM_AGE))


def _scanners(df: pd.DataFrame) -> pd.Series:
    """The manufacturers, where the table has that column; it has no models."""
    if _MANUFACTURER not in df:
        return pd.Series(None, df.index, dtype=object)
    return df[_MANUFACTURER].where(~df[_MANUFACTURER].isin(_NONE), "").map(scanners.name)


def _labels(terms: pd.Series) -> pd.DataFrame:
    absent = terms.map(lambda found: math.nan if found.intersection(_INCOMPLETE) else 0.0)
    return pd.DataFrame(
        {
            finding: absent.where(terms.map(frozenset(own).isdisjoint), 1.0)
            for finding, own in TERMS.items()
        },
        index=terms.index,
    )
