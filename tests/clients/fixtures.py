"""Tiny clients on disk, for the tests of shards and of what reads them."""

import pathlib

import numpy as np
import pandas as pd
from PIL import Image

from tffcxr.datasets.imaging import annotations

FINDINGS = ("Pneumonia", "Effusion")


def picture(number: int, size: int = 16) -> np.ndarray:
    """A random uint8 [size, size] image, different for each number."""
    return np.random.default_rng(number).integers(0, 256, (size, size), dtype=np.uint8)


def client_records(
    folder: pathlib.Path, images: int = 10, validation: int = 3, first: int = 0
) -> pd.DataFrame:
    """Writes PNG files and returns their table; the last `validation` rows are that split.

    Pneumonia is 1 in odd rows and Effusion is unknown in every third. The annotation is the box
    x 4..7, y 8..15.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(images):
        path = folder / f"secret-patient-{first + number}.png"
        Image.fromarray(picture(first + number)).save(path)
        rows.append(
            {
                "image": str(path),
                "patient": f"secret-patient-{first + number}",
                "site": folder.name,
                "mask": annotations.Boxes(((4, 8, 4, 8),), 16, 16),
                "Pneumonia": float(number % 2),
                "Effusion": np.nan if number % 3 == 0 else 0.0,
                "split": "validation" if number >= images - validation else "train",
            }
        )
    return pd.DataFrame(rows)


def patients(count: int = 60, positives: int = 20, site: str = "north") -> pd.DataFrame:
    """Patient i has 1 + i % 3 images and is positive if i < positives."""
    rows = [
        {
            "image": f"{site}/{patient:03d}_{image}.png",
            "patient": f"p{patient:03d}",
            "site": site,
            "Pneumonia": float(patient < positives),
            "Effusion": np.nan if patient % 5 == 0 else float(patient % 2),
        }
        for patient in range(count)
        for image in range(1 + patient % 3)
    ]
    return pd.DataFrame(rows)
