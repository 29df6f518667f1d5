"""PneumoniaMNIST and ChestMNIST of MedMNIST v2, as Zenodo ships them.

    pneumoniamnist.npz, or pneumoniamnist_64.npz, _128.npz, _224.npz
        train_images uint8 [4708, 28, 28], train_labels uint8 [4708, 1], and the same for val, test
    chestmnist.npz, or chestmnist_64.npz, ...
        the same with 78468 images, and labels [78468, 14]

Records: images already cropped and scaled. PneumoniaMNIST: of children, by Kermany et al.;
"Pneumonia" known for all. ChestMNIST: of NIH ChestX-ray14, all fourteen findings known for all. The
published division is the column `split`. Which images are of the same patient is not published, so
each image stands for a patient of its own, and an overlap with `nih` cannot be detected.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd

from tffcxr.datasets import npz_files, records
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.errors import InputError

_SOURCE = "medmnist"
_NAMES = ("pneumoniamnist", "chestmnist")
# By the number of labels of an image; ChestMNIST has an order of its own.
_FINDINGS: dict[int, tuple[str, ...]] = {
    1: ("Pneumonia",),
    14: (
        *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule"),
        *("Pneumonia", "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis"),
        *("Pleural Thickening", "Hernia"),
    ),
}
_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Yang J, Shi R, Wei D, et al. MedMNIST v2 - A large-scale lightweight benchmark for 2D and "
        "3D biomedical image classification. Scientific Data 2023;10:41. "
        "doi:10.1038/s41597-022-01721-8"
    )


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of all splits that the file has.

    Args:
      root: the file, or the folder that holds it.

    Raises:
      InputError: there is no such file, or several, or its arrays are not those of one of the two.
    """
    path = _file(root)
    try:
        found = npz_files.names(path)
        splits = [name for name in _SPLITS if f"{name}_images" in found]
        if not splits:
            raise ImageError(
                f"expected the array 'train_images', found {', '.join(found) or 'none'}"
            )
        rows = [row for name in splits for row in _rows(path, found, name)]
    except ImageError as error:
        raise InputError(f"{_SOURCE}: {path}: {error}") from None
    except OSError as error:
        raise InputError(
            f"{_SOURCE}: {path}: expected an .npz file, found: {error.strerror}"
        ) from None
    names = [name for name in rows[0] if name in _FINDINGS[14]]
    return records.build(rows, names, _SOURCE)


def _file(root: pathlib.Path) -> pathlib.Path:
    if root.is_file():
        return root
    found = sorted(path for name in _NAMES for path in root.glob(f"{name}*.npz"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        patterns = " or ".join(f"{name}*.npz" for name in _NAMES)
        raise InputError(
            f"{_SOURCE}: expected a file, or a folder with one {patterns}, at {root}, found {names}"
        )
    return found[0]


def _rows(path: pathlib.Path, found: list[str], name: str) -> list[dict]:
    if f"{name}_labels" not in found:
        raise ImageError(f"expected the array '{name}_labels', found {', '.join(found)}")
    images = npz_files.read(path, f"{name}_images")
    labels = npz_files.read(path, f"{name}_labels")
    fits = labels.ndim == 2 and len(labels) == len(images) and labels.shape[1] in _FINDINGS
    if images.dtype != np.uint8 or images.ndim != 3 or not fits:
        raise ImageError(
            f"expected {name}_images uint8 [N, H, W] and {name}_labels [N, 1] or [N, 14], "
            f"found {images.dtype} {list(images.shape)} and {list(labels.shape)}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ImageError(f"expected {name}_labels to be 0 or 1, found {labels.max()}")
    return [
        {
            "image": f"{path}#{name}_images/{index}",
            "patient": f"{name}-{index:05d}",
            **dict(zip(_FINDINGS[labels.shape[1]], map(float, of_image))),
            records.SPLIT: _SPLITS[name],
        }
        for index, of_image in enumerate(labels)
    ]
