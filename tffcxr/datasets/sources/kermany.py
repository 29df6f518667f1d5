"""Radiographs of children by Kermany et al., as on Kaggle and Mendeley Data.

    train/NORMAL/*.jpeg      IM-0115-0001.jpeg, NORMAL2-IM-0927-0001.jpeg, or NORMAL-1043-0001.jpeg
    train/PNEUMONIA/*.jpeg   person1_bacteria_2.jpeg, person3_virus_15.jpeg, or VIRUS-1043-0001.jpeg
    test/, val/              the same; Kaggle's val/ has 16 images, Mendeley's third version none
    chest_xray/              optional, above all of these

Children of one to five years from Guangzhou, "Normal" and "Pneumonia", known for all. Patients are
identified by file names, see `class_folders`. The authors call the patients of train/ and test/
independent, but in the files as Kaggle has them the same numbers occur in both
("person1_bacteria_2" in train/, "person1_virus_6" in test/). Whether these are the same children is
unknown, so they count as the same, and patients are divided again.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from tffcxr.datasets import findings
from tffcxr.datasets.sources import class_folders, source_files

_SOURCE = "kermany"
_FOLDER = "chest_xray"


def cite() -> str:
    """Returns the references of the dataset."""
    return (
        "Kermany DS, Goldbaum M, Cai W, et al. Identifying Medical Diagnoses and Treatable "
        "Diseases by Image-Based Deep Learning. Cell 2018;172(5):1122-1131. "
        "doi:10.1016/j.cell.2018.02.010. Kermany D, Zhang K, Goldbaum M. Labeled Optical Coherence "
        "Tomography (OCT) and Chest X-Ray Images for Classification. Mendeley Data 2018. "
        "doi:10.17632/rscbjbr9sj"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of the images of all splits.

    Args:
      root: the folder that holds train/ and test/, or chest_xray/ with these.

    Raises:
      InputError: see `class_folders.read`.
    """
    source_files.require_folder(root, _SOURCE)
    # Kaggle's archive has the whole a second time, in chest_xray/chest_xray/.
    inner = root / _FOLDER
    if not (root / "train").is_dir() and inner.is_dir():
        root = inner
    return class_folders.read(root, _SOURCE, findings.KERMANY, ignore=(_FOLDER,))
