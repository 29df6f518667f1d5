"""Montgomery County chest X-ray set, as the National Library of Medicine ships it.

    CXR_png/MCUCXR_<number>_<0 or 1>.png
    ManualMask/leftMask/<same name>.png, ManualMask/rightMask/<same name>.png

Records: 138 images of 12 bits, 4020 x 4892 or 4892 x 4020, one per patient. `mask` and `lungs` are
both lungs; "Tuberculosis" is the last digit of the name, known for all. What `ClinicalReadings/`
says of age and sex is not read.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.sources import mask_folders, source_files

_SOURCE = "montgomery"
_SIDES = ("ManualMask/leftMask", "ManualMask/rightMask")
_PREFIX = "MCUCXR"


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Jaeger S, Candemir S, Antani S, Wang YXJ, Lu PX, Thoma G. Two public chest X-ray datasets "
        "for computer-aided screening of pulmonary diseases. Quantitative Imaging in Medicine and "
        "Surgery 2014;4(6):475-477. doi:10.3978/j.issn.2223-4292.2014.11.20"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of all images.

    Args:
      root: the folder that holds the files above.

    Raises:
      InputError: a folder is missing or empty, a name is none of the set, or an image lacks the
        mask of a lung or has one of another size.
    """
    source_files.require_folder(root, _SOURCE)
    images = mask_folders.files_by_stem(root / "CXR_png", _SOURCE)
    sides = [mask_folders.files_by_stem(root / side, _SOURCE) for side in _SIDES]
    for side, masks in zip(_SIDES, sides):
        mask_folders.check_pairs(images, masks, _SOURCE, root / side)
    rows = []
    for stem, image in images.items():
        number, label = mask_folders.tuberculosis(stem, _PREFIX, image, _SOURCE)
        paths = tuple(masks[stem] for masks in sides)
        mask_folders.check_sizes(image, paths, _SOURCE)
        region = areas.JoinedMasks(paths)
        row = {"image": image, "patient": number, "mask": region, "lungs": region}
        rows.append({**row, mask_folders.TUBERCULOSIS: label})
    return records.build(rows, [mask_folders.TUBERCULOSIS], _SOURCE)
