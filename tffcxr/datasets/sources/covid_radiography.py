"""COVID-19 Radiography Database of Qatar University and the University of Dhaka, as on Kaggle.

    <class>/images/*.png       COVID, Lung_Opacity, Normal, Viral Pneumonia
    <class>/masks/*.png        the same names

Records: images of 299 x 299. `mask` and `lungs` are the lungs, drawn by a network and checked by
radiologists on copies of 256 x 256, so that a mask of that size is enlarged to its (square) image;
no other size but the image's own is taken. The four classes are findings, known for all. Which
images are of one patient is not published, so each stands for a patient of its own, and some
patients may be in several splits. "Normal" and "Lung_Opacity" come largely from the RSNA Pneumonia
Detection Challenge: a model that is trained here has seen images of `rsna`.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.sources import mask_folders, source_files
from tffcxr.errors import InputError

_SOURCE = "covid_radiography"
_FINDINGS = {
    "COVID": "COVID-19",
    "Lung_Opacity": "Lung Opacity",
    "Normal": "Normal",
    "Viral Pneumonia": "Viral Pneumonia",
}
_MASK_SIDE = 256


def cite() -> str:
    """Returns the references of the dataset."""
    return (
        "Chowdhury MEH, Rahman T, Khandakar A, et al. Can AI Help in Screening Viral and COVID-19 "
        "Pneumonia? IEEE Access 2020;8:132665-132676. doi:10.1109/ACCESS.2020.3010287. Rahman T, "
        "Khandakar A, Qiblawey Y, et al. Exploring the effect of image enhancement techniques on "
        "COVID-19 detection using chest X-ray images. Computers in Biology and Medicine "
        "2021;132:104319. doi:10.1016/j.compbiomed.2021.104319"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of the images of all classes that are there.

    Args:
      root: the folder that holds the folders above.

    Raises:
      InputError: there is no class, or an unknown one, a folder is missing or empty, or an image
        has no mask or one of a size that it should not have.
    """
    source_files.require_folder(root, _SOURCE)
    folders = sorted(folder for folder in root.iterdir() if (folder / "images").is_dir())
    unknown = [folder.name for folder in folders if folder.name not in _FINDINGS]
    if unknown or not folders:
        raise InputError(
            f"{_SOURCE}: expected folders {', '.join(_FINDINGS)} with images/ and masks/ in "
            f"{root}, found {', '.join(unknown) or 'none'}"
        )
    rows = [row for folder in folders for row in _rows(folder)]
    return records.build(rows, list(_FINDINGS.values()), _SOURCE)


def _rows(folder: pathlib.Path) -> list[dict[str, object]]:
    images = mask_folders.files_by_stem(folder / "images", _SOURCE)
    masks = mask_folders.files_by_stem(folder / "masks", _SOURCE)
    mask_folders.check_pairs(images, masks, _SOURCE, folder / "masks")
    rows: list[dict[str, object]] = []
    for stem, image in images.items():
        region = _region(image, masks[stem])
        classes = {finding: float(kind == folder.name) for kind, finding in _FINDINGS.items()}
        patient = f"{folder.name}/{stem}"
        row = {"image": image, "patient": patient, "mask": region, "lungs": region}
        rows.append({**row, **classes})
    return rows


def _region(image: str, mask: str) -> areas.MaskFile | areas.CoarseMask:
    size, drawn = mask_folders.size(image), (_MASK_SIDE, _MASK_SIDE)
    if size is not None and size != drawn and mask_folders.size(mask) == drawn:
        height, width = size
        if height == width:
            return areas.CoarseMask(mask, height, width, _MASK_SIDE, _MASK_SIDE)
    mask_folders.check_sizes(image, [mask], _SOURCE)
    return areas.MaskFile(mask)
