"""A folder of phantoms with every fault that a check knows, and one without any."""

from __future__ import annotations

import functools
import pathlib

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from tests.datasets import dicom_files
from tffcxr.datasets.phantoms import phantom

SIZE = 96
CLEAN = 24


@functools.cache
def radiograph(seed: int) -> np.ndarray:
    """A phantom, uint8 [96, 96], the same for every test."""
    drawn = phantom.draw(seed, size=SIZE).image
    noise = np.random.default_rng(seed).normal(0, 6, drawn.shape)  # As of a detector.
    return np.clip(drawn + noise, 0, 255).astype(np.uint8)


def clean(folder: pathlib.Path, first: int = 0) -> list[dict[str, object]]:
    """Writes images of as many patients, half of them with a finding; returns their rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(CLEAN):
        name = f"image{first + number}.png"
        Image.fromarray(radiograph(first + number)).save(folder / name)
        rows.append(
            {
                "path": name,
                "patient": f"p{first + number}",
                "sex": "FM"[number % 2],
                "age": 20 + 2 * number,
                "view": "PA",
                "split": "test" if number >= 16 else "train",
                "No Finding": 1 - number % 2,
                "Pneumonia": number % 2,
                "Effusion": int(number % 6 == 5),
            }
        )
    return rows


def write_table(folder: pathlib.Path, rows: list[dict[str, object]]) -> None:
    """Writes the table of the folder."""
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)


def faulty(folder: pathlib.Path) -> None:
    """Writes the clean images, and one image more for each fault."""
    rows = clean(folder)

    def add(name: str, like: int, **others: object) -> pathlib.Path:
        rows.append({**rows[like], "path": name, "patient": name, "view": "", **others})
        return folder / name

    def add_dicom(name: str, seed: int, **elements: str) -> None:
        made = dicom_files.dataset(radiograph(seed), None, **{"Modality": "DX", **elements})
        add(name, 0).write_bytes(dicom_files.to_bytes(made))

    whole = (folder / "image0.png").read_bytes()
    add("cut_off.png", 0).write_bytes(whole[: len(whole) // 2])
    add("text.png", 0).write_text("no image")
    Image.new("L", (SIZE, SIZE), 80).save(add("grey.png", 0))
    again = Image.fromarray(radiograph(1))
    again.save(add("copied.png", 1, patient="p1"))
    again.save(add("of_another.jpg", 1), quality=80)
    again.resize((64, 64)).save(add("in_test.png", 1, patient="p1", split="test"))
    again.crop((3, 2, 93, 92)).save(add("relabelled.png", 1, patient="p1", Pneumonia=0))
    Image.fromarray(radiograph(900)).save(add("both.png", 0, Pneumonia=1))
    Image.fromarray(radiograph(901)).save(add("listed_lateral.png", 0, view="LL"))
    add_dicom("lateral.dcm", 902, ViewPosition="LL")
    add_dicom("knee.dcm", 903, BodyPartExamined="KNEE")
    add_dicom("ct.dcm", 904, Modality="CT")
    Image.fromarray(np.rot90(radiograph(905)).copy()).save(add("rotated.png", 0))
    named = Image.fromarray(np.kron(radiograph(906), np.ones((4, 4), np.uint8)))
    ImageDraw.Draw(named).text((5, 5), "DOE^JOHN 1957-03-04 ID 00123", fill=255, font_size=14)
    named.save(add("named.png", 0))
    write_table(folder, rows)
