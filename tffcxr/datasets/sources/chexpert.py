"""CheXpert, as Stanford ships it and Kaggle copies it, in full size or small.

    train.csv, valid.csv    Path, Sex, Age, Frontal/Lateral, AP/PA, then the fourteen labels
    test.csv                optional, as released later: Path and the labels
    train/patient00001/study1/view1_frontal.jpg, and the same in valid/ and test/

in a folder CheXpert-v1.0-small or CheXpert-v1.0, with which paths start, or the folder above it.

Records: 8 bits; the findings of `findings.CHEXPERT`, see `chexpert_labels`; labels of valid.csv and
test.csv are those of radiologists. Patients are those of the paths, and the published division is
the column `split`. `mask` is unknown.
"""

from __future__ import annotations

import pathlib
import re

import pandas as pd

from tffcxr.datasets import findings, records
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.datasets.sources import chexpert_labels, source_files
from tffcxr.errors import InputError

_SOURCE = "chexpert"
_SPLITS = {"train.csv": "train", "valid.csv": "validation", "test.csv": "test"}
_PATH = re.compile(r"(?:CheXpert[^/]*/)?(?P<below>[^/]+/(?P<patient>patient\d+)/.+)")
_VIEWS = ("Frontal/Lateral", "AP/PA")


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Irvin J, Rajpurkar P, Ko M, et al. CheXpert: A Large Chest Radiograph Dataset with "
        "Uncertainty Labels and Expert Comparison. AAAI 2019;33:590-597. "
        "doi:10.1609/aaai.v33i01.3301590"
    )


def load_records(root: pathlib.Path, options: LoadOptions, site: str = "") -> pd.DataFrame:
    """Returns the records table of the labelled images that are on disk.

    Args:
      root: the folder that holds the files above, or the folder above it.
      options: what uncertain labels mean.
      site: not used.

    Raises:
      InputError: a file or column is missing, a value is not what it should be, or no labelled
        image is on disk.
    """
    del site
    folder = _folder(source_files.require_folder(root, _SOURCE))
    tables = [
        _read(folder / name, split, options)
        for name, split in _SPLITS.items()
        if (folder / name).exists()
    ]
    table = pd.concat(tables, ignore_index=True)
    paths = table["below"].map(lambda below: str(folder / below))
    paths = paths.where(paths.map(lambda path: pathlib.Path(path).is_file()), None)
    table = records.drop_missing_images(table, paths, _SOURCE, folder, example=table["below"]).drop(
        columns="below"
    )
    return records.build(table.to_dict("records"), findings.CHEXPERT, _SOURCE)


def _folder(root: pathlib.Path) -> pathlib.Path:
    """The folder with the tables: this one, or one in it."""
    inner = sorted(path for path in root.glob("CheXpert*") if (path / "train.csv").exists())
    if (root / "train.csv").exists() or not inner:
        source_files.first_existing(root, list(_SPLITS), _SOURCE)
        return root
    if len(inner) > 1:
        raise InputError(
            f"{_SOURCE}: expected one copy in {root}, found {inner[0].name} and {inner[1].name}"
        )
    return inner[0]


def _read(path: pathlib.Path, split: str, options: LoadOptions) -> pd.DataFrame:
    needed = ["Path", *chexpert_labels.COLUMNS]
    df = source_files.read_csv(path, needed, _SOURCE)
    for name in ("Sex", "Age", *_VIEWS):
        df[name] = df[name].str.strip() if name in df.columns else ""
    parts = df["Path"].str.extract(_PATH)
    bad = parts["patient"].isna() | parts["below"].str.contains("..", regex=False, na=False)
    if bad.any():
        raise source_files.bad_row(path, df, bad, "a Path with the number of a patient", _SOURCE)
    return pd.DataFrame(
        {
            "below": parts["below"],
            "patient": parts["patient"],
            "view": _views(df),
            "age": source_files.ages(path, df, "Age", _SOURCE),
            "sex": _sexes(path, df),
            records.SPLIT: split,
        }
    ).join(chexpert_labels.read(path, df, options.uncertain, _SOURCE))


def _views(df: pd.DataFrame) -> pd.Series:
    """Returns AP/PA, or FRONTAL or LATERAL; the name of the file says it too."""
    is_lateral = (df["Frontal/Lateral"] == "Lateral") | df["Path"].str.contains("_lateral")
    view = df["AP/PA"].where(df["AP/PA"] != "", "FRONTAL")
    return view.where(~is_lateral, "LATERAL")


def _sexes(path: pathlib.Path, df: pd.DataFrame) -> pd.Series:
    sexes = {"Female": "F", "Male": "M", "Unknown": None, "": None}
    bad = ~df["Sex"].isin(list(sexes))
    if bad.any():
        raise source_files.bad_row(path, df, bad, "Female, Male or Unknown as Sex", _SOURCE)
    return df["Sex"].map(sexes)
