"""Images and masks of the lungs in two folders, such as those of COVID-19 patients by V7 Labs.

    images/<name>.png or .jpg
    masks/<name>.png            of the image's size; 0, and 1 or 255 in the lungs
    metadata.csv                optional; filename, patientid: which patient an image is of

Records: `mask` and `lungs` are the lungs; no findings. Without `metadata.csv` (its columns are
those of the COVID-19 image data collection) patients are identified by file names: images whose
names differ only in an ending for the day, the view or the part of a figure count as one patient
("case-7-day2-PA", "case-7-day5"). This joins a few patients too many rather than too few, so that
none is in both training and test.

The border of the lungs depends on the source: the masks by V7 Labs include the lung behind the
heart and are cut straight at the mediastinum; those of the phantoms leave the heart out.
"""

from __future__ import annotations

import logging
import pathlib
import re

import pandas as pd

from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.sources import mask_folders, source_files

_SOURCE = "lungs"
_METADATA = "metadata.csv"
# What may follow after the patient in a file's name, at the end.
_ENDINGS = re.compile(
    r"""(
      [-_. ] (pa|ap|l|lat|lateral|left|right)              # view, or side of a figure
    | [-_. ] day [-_ ]? \d+                                # follow-up
    | [-_. ] \d+ [-_ ] (hour|day|week|month|year) s?
    | [-_. ] (admission|baseline|follow-?up)
    | [-_. ] [a-h] \d?                                     # part of a figure
    | [-_. ] (f|fig|figure) -? \d+ [a-h]?                  # figure of an article
    | (?<=\.pdf) - \d+                                     # page of an article
    )$""",
    re.IGNORECASE | re.VERBOSE,
)

# By its list, the COVID-19 image data collection has two images of this patient among those with
# masks, at two dates; it is the only one whose images have nothing in their names in common.
_OTHER_NAMES = {"9C34AF49-E589-44D5-92D3-168B3B04E4A6": "8FDE8DBA-CFBD-4B4C-B1A4-6F36A93B7E87"}


def cite() -> str:
    """Returns the reference of the images that this layout was made for."""
    return (
        "Cohen JP, Morrison P, Dao L, Roth K, Duong TQ, Ghassemi M. COVID-19 Image Data "
        "Collection: Prospective Predictions Are the Future. Machine Learning for Biomedical "
        "Imaging 2020;1:1-38. arXiv:2006.11988. Lung masks: V7 Labs, covid-19-xray-dataset, 2020"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of all images.

    Args:
      root: the folder that holds the files above.

    Raises:
      InputError: a folder is missing or empty, an image has no mask or one of another size, or
        `metadata.csv` lacks an image.
    """
    source_files.require_folder(root, _SOURCE)
    images = mask_folders.files_by_stem(root / "images", _SOURCE)
    masks = mask_folders.files_by_stem(root / "masks", _SOURCE)
    mask_folders.check_pairs(images, masks, _SOURCE, root / "masks")
    patients = _patients(root, images)
    rows = []
    for stem, image in images.items():
        mask_folders.check_sizes(image, [masks[stem]], _SOURCE)
        region = areas.MaskFile(masks[stem])
        rows.append({"image": image, "patient": patients[stem], "mask": region, "lungs": region})
    return records.build(rows, [], _SOURCE)


def patient_of(stem: str) -> str:
    """Returns what a file's name says about the patient: the name without endings such as -day2."""
    while True:
        shorter = _ENDINGS.sub("", stem)
        if shorter in ("", stem):
            return _OTHER_NAMES.get(stem, stem)
        stem = shorter


def _patients(root: pathlib.Path, images: dict[str, str]) -> dict[str, str]:
    """Returns the patient of each image by stem."""
    path = root / _METADATA
    if not path.exists():
        patients = {stem: patient_of(stem) for stem in images}
        logging.getLogger(__name__).info(
            "%s: %d images of %d patients, identified by the names of the files in %s",
            _SOURCE,
            len(images),
            len(set(patients.values())),
            root,
        )
        return patients
    return source_files.listed_patients(path, images, _SOURCE)
