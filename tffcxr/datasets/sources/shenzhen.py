"""Shenzhen Hospital chest X-ray set of the National Library of Medicine, with masks of the lungs.

    CXR_png/CHNCXR_<number>_<0 or 1>.png
    mask/<same name>_mask.png

The masks, by Stirenko et al., exist for 566 of the 662 images; the log counts the others.

Records: images of about 3000 x 3000, one per patient. `mask` and `lungs` are both lungs, None
without a mask; "Tuberculosis" is the last digit of the name, known for all. What
`ClinicalReadings/` says of age and sex is not read.
"""

from __future__ import annotations

import logging
import pathlib

import pandas as pd

from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.sources import mask_folders, source_files
from tffcxr.errors import InputError

_SOURCE = "shenzhen"
_PREFIX = "CHNCXR"


def cite() -> str:
    """Returns the references of the images and of the masks."""
    return (
        "Jaeger S, Candemir S, Antani S, Wang YXJ, Lu PX, Thoma G. Two public chest X-ray datasets "
        "for computer-aided screening of pulmonary diseases. Quantitative Imaging in Medicine and "
        "Surgery 2014;4(6):475-477. doi:10.3978/j.issn.2223-4292.2014.11.20. Lung masks: Stirenko "
        "S, Kochura Y, Alienin O, et al. Chest X-Ray Analysis of Tuberculosis by Deep Learning "
        "with Segmentation and Augmentation. ELNANO 2018. arXiv:1803.01199"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of all images.

    Args:
      root: the folder that holds the files above.

    Raises:
      InputError: a folder is missing or empty, a name is none of the set, no image has a mask, or
        one has a mask of another size.
    """
    source_files.require_folder(root, _SOURCE)
    images = mask_folders.files_by_stem(root / "CXR_png", _SOURCE)
    masks = mask_folders.files_by_stem(root / "mask", _SOURCE, ending="_mask")
    mask_folders.report_masks_without_image(images, masks, _SOURCE)
    without = sum(stem not in masks for stem in images)
    if without == len(images):
        raise InputError(
            f"{_SOURCE}: expected masks in {root / 'mask'} for some images of {root / 'CXR_png'}, "
            f"found none for any of {len(images)}"
        )
    if without:
        logging.getLogger(__name__).info(
            "%s: %d of %d images have no mask of the lungs", _SOURCE, without, len(images)
        )
    rows = []
    for stem, image in images.items():
        number, label = mask_folders.tuberculosis(stem, _PREFIX, image, _SOURCE)
        region = None
        if stem in masks:
            mask_folders.check_sizes(image, [masks[stem]], _SOURCE)
            region = areas.MaskFile(masks[stem])
        row = {"image": image, "patient": number, "mask": region, "lungs": region}
        rows.append({**row, mask_folders.TUBERCULOSIS: label})
    return records.build(rows, [mask_folders.TUBERCULOSIS], _SOURCE)
