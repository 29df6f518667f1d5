"""Writes the tiny datasets beside this file, each in its source's own layout.

    PYTHONPATH=. python testdata/make_testdata.py

The pictures are drawn: two dark lungs in a grey chest, a bright disc for an opacity, a black rim
for a pneumothorax. They belong to nobody. Nothing here is random but a seeded noise, so the same
versions of the encoders write the same bytes.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pydicom.config

from testdata import label_tables, tiny_files
from tffcxr.datasets.imaging import annotations as areas


def make_rsna(root: pathlib.Path) -> None:
    """12 patients, 6 with "Lung Opacity" (one with two boxes), 3 normal, 3 neither."""
    rng = np.random.default_rng(1)
    labels: list[list[object]] = []
    classes: list[list[object]] = []
    boxes = [[(12, 20, 16, 20)], [(38, 30, 14, 18)], [(12, 18, 15, 14), (38, 34, 14, 14)]]
    boxes += [[(40, 16, 12, 22)], [(14, 34, 14, 16)], [(37, 24, 16, 16)]]
    for index in range(12):
        patient = f"{index:08x}-0000-4000-8000-{index:012x}"
        grey, lungs = tiny_files.chest(rng)
        found = boxes[index // 2] if index % 2 else []
        kind = (
            "Lung Opacity" if found else ("Normal", "No Lung Opacity / Not Normal")[index % 4 // 2]
        )
        tiny_files.write_dicom(
            root / "stage_2_train_images" / f"{patient}.dcm",
            tiny_files.to_bytes(tiny_files.with_boxes(grey, found)),
            f"{tiny_files.UID_ROOT}.1.{index + 1}",
            patient,
            PatientSex="FM"[index % 3 % 2],
            PatientAge=str(30 + 4 * index),
            ViewPosition=("PA", "AP")[index % 2],
        )
        fields = [[f"{number:.1f}" for number in box] for box in found] or [[""] * 4]
        labels += [[patient, *box, int(bool(found))] for box in fields]
        classes += [[patient, kind] for _ in fields]
        tiny_files.write_png(
            root / "lung_masks" / f"{patient}.png", tiny_files.to_bytes(lungs.astype(float))
        )
    header = ["patientId", "x", "y", "width", "height", "Target"]
    tiny_files.write_csv(root / "stage_2_train_labels.csv", header, labels)
    tiny_files.write_csv(root / "stage_2_detailed_class_info.csv", ["patientId", "class"], classes)


def make_siim(root: pathlib.Path) -> None:
    """12 images of 10 patients, 5 with "Pneumothorax" (one in two regions), nested folders."""
    rng = np.random.default_rng(2)
    rows: list[list[object]] = []
    for index in range(12):
        patient = f"siim-{min(index, 9):02d}"  # The last three images are of one patient.
        image = f"{tiny_files.UID_ROOT}.2.{index + 1}"
        grey, lungs = tiny_files.chest(rng)
        y, x = np.mgrid[: tiny_files.SIDE, : tiny_files.SIDE] / tiny_files.SIDE
        outer = lungs & ((x < 0.22) | (x > 0.78)) & (y < 0.6)
        regions = [outer & (x < 0.5)] if index % 2 == 0 else []
        if index == 4:
            regions.append(outer & (x > 0.5))
        regions = regions if index < 10 else []
        for region in regions:
            grey = np.where(region, 0.02, grey)
        tiny_files.write_dicom(
            root
            / "dicom-images-train"
            / f"{tiny_files.UID_ROOT}.3.{index}"
            / f"{tiny_files.UID_ROOT}.4.{index}"
            / f"{image}.dcm",
            tiny_files.to_bytes(grey),
            image,
            patient,
            PatientSex="MF"[index % 2],
            PatientAge=("062Y", "018M", "45")[index % 3],
            ViewPosition=("PA", "AP")[index % 2],
        )
        codes = [areas.encode_runs(region) for region in regions] or ["-1"]
        rows += [[image, code] for code in codes]
        tiny_files.write_png(
            root / "lung_masks" / f"{image}.png", tiny_files.to_bytes(lungs.astype(float))
        )
    tiny_files.write_csv(root / "train-rle.csv", ["ImageId", " EncodedPixels"], rows)


def make_nih(root: pathlib.Path) -> None:
    """12 images of 8 patients in two of the archive's folders, four findings in use."""
    rng = np.random.default_rng(3)
    labels = ["No Finding", "Infiltration", "No Finding", "Effusion|Infiltration", "No Finding"]
    labels += ["Infiltration|Pleural_Thickening", "Effusion", "No Finding", "Infiltration"]
    labels += ["No Finding", "Infiltration|Pneumonia", "No Finding"]
    patients = [1, 1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 8]
    rows: list[list[object]] = []
    for index, (patient, label) in enumerate(zip(patients, labels)):
        follow_up = patients[:index].count(patient)
        name = f"{patient:08d}_{follow_up:03d}.png"
        grey, _ = tiny_files.chest(rng)
        grey = tiny_files.with_boxes(grey, [(14, 18, 16, 28)] if "Infiltration" in label else [])
        grey = tiny_files.with_boxes(grey, [(34, 44, 24, 14)] if "Effusion" in label else [])
        tiny_files.write_png(
            root / f"images_{1 + index // 6:03d}" / "images" / name, tiny_files.to_bytes(grey)
        )
        row: list[object] = [name, label, follow_up, patient, 30 + 5 * patient, "MF"[patient % 2]]
        rows.append(
            [*row, ("PA", "AP")[index % 2], tiny_files.SIDE, tiny_files.SIDE, 0.143, 0.143, ""]
        )
    # The original's header has unquoted commas in brackets and one at its end, too.
    header = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age"]
    header += ["Patient Gender", "View Position", "OriginalImage[Width", "Height]"]
    header += ["OriginalImagePixelSpacing[x", "y]", ""]
    tiny_files.write_csv(root / "Data_Entry_2017.csv", header, rows)


def make_medmnist(root: pathlib.Path) -> None:
    """12 training, 6 validation and 6 test images of 28 pixels, two of three with pneumonia."""
    rng = np.random.default_rng(4)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", 12), ("val", 6), ("test", 6)):
        labels = (np.arange(count) % 3 > 0).astype(np.uint8)
        boxes = [[(6, 8, 7, 10)] if label else [] for label in labels]
        drawn = [
            tiny_files.to_bytes(tiny_files.with_boxes(tiny_files.chest(rng, 28)[0], box))
            for box in boxes
        ]
        arrays[f"{split}_images"] = np.stack(drawn)
        arrays[f"{split}_labels"] = labels[:, np.newaxis]
    root.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(root / "pneumoniamnist.npz", **arrays)


def make_lungs(root: pathlib.Path) -> None:
    """6 images of 5 patients in PNG and JPEG, one wider than high; masks of 0 and 255."""
    rng = np.random.default_rng(5)
    for index, name in enumerate(["a-day0", "a-day4-PA", "b", "c-PA", "fig-7", "e.original"]):
        grey, lungs = tiny_files.chest(rng)
        pixels, mask = tiny_files.to_bytes(grey), tiny_files.to_bytes(lungs.astype(float))
        if index == 2:
            pixels, mask = pixels[6:-6], mask[6:-6]
        tiny_files.write_png(root / "masks" / f"{name}.png", mask)
        if index % 2:
            tiny_files.write_png(root / "images" / f"{name}.png", pixels)
        else:
            tiny_files.write_jpeg(root / "images" / f"{name}.jpg", pixels)


def make_montgomery(root: pathlib.Path) -> None:
    """4 images of 12 bits in 16, two with tuberculosis, a mask for each lung."""
    rng = np.random.default_rng(6)
    for index in range(4):
        name = f"MCUCXR_{index + 1:04d}_{index // 2}.png"
        grey, lungs = tiny_files.chest(rng)
        on_the_left = lungs & (
            np.arange(tiny_files.SIDE) < tiny_files.SIDE // 2
        )  # Of the image: the right lung.
        tiny_files.write_png(
            root / "CXR_png" / name, np.rint(np.clip(grey, 0, 1) * 4095).astype(np.uint16)
        )
        for folder, region in (("rightMask", on_the_left), ("leftMask", lungs & ~on_the_left)):
            tiny_files.write_png(
                root / "ManualMask" / folder / name, tiny_files.to_bytes(region.astype(float))
            )


def make_shenzhen(root: pathlib.Path) -> None:
    """5 colour images, as the original has them, of which the third has no mask."""
    rng = np.random.default_rng(7)
    for index in range(5):
        name = f"CHNCXR_{index + 1:04d}_{index % 2}"
        grey, lungs = tiny_files.chest(rng)
        tiny_files.write_png(
            root / "CXR_png" / f"{name}.png", np.repeat(tiny_files.to_bytes(grey)[..., None], 3, 2)
        )
        if index != 2:
            tiny_files.write_png(
                root / "mask" / f"{name}_mask.png", tiny_files.to_bytes(lungs.astype(float))
            )


def make_covid_radiography(root: pathlib.Path) -> None:
    """1 image of 299 pixels in each class, with a colour mask of 256 pixels as the original has.

    The class "Viral Pneumonia" is left out: Bazel takes no file with a space in its name.
    """
    for index, kind in enumerate(["COVID", "Lung_Opacity", "Normal"]):
        # Two drawings of the same seed, without noise so that the files stay small.
        grey, lungs = (
            np.where(tiny_files.chest(np.random.default_rng(8 + index), side)[1], 0.25, 0.65)
            for side in (299, 256)
        )
        mask = tiny_files.to_bytes((lungs < 0.5).astype(float))
        tiny_files.write_png(
            root / kind / "images" / f"{kind}-{index + 1}.png", tiny_files.to_bytes(grey)
        )
        tiny_files.write_png(
            root / kind / "masks" / f"{kind}-{index + 1}.png", np.repeat(mask[..., None], 3, 2)
        )


# In the order of the classes: the boxes that are brighter than lung.
_CLASS_BOXES: tuple[list[tuple[int, int, int, int]], ...] = (
    [],
    [(38, 20, 14, 16)],
    [(10, 34, 10, 14), (44, 34, 10, 14)],
)


def make_covidx(root: pathlib.Path) -> None:
    """6 training images (two of one patient) and 3 test images, with the lists of version 9A."""
    rng = np.random.default_rng(9)
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for number in range(9):
        kind, split = number % 3, "test" if number > 5 else "train"
        stem = f"{split}-{number}"
        grey, lungs = tiny_files.chest(rng)
        tiny_files.write_png(
            root / split / f"{stem}.png",
            tiny_files.to_bytes(tiny_files.with_boxes(grey, _CLASS_BOXES[kind])),
        )
        tiny_files.write_png(
            root / "lung_masks" / f"{stem}.png", tiny_files.to_bytes(lungs.astype(float))
        )
        patient = 2 if number == 5 else number
        name = ("normal", "pneumonia", "COVID-19")[kind]
        lines[split].append(f"{patient} {stem}.png {name} {('rsna', 'cohen')[kind == 2]}\n")
    for split, of_split in lines.items():
        (root / f"{split}_COVIDx9A.txt").write_text("".join(of_split), encoding="utf-8")


def make_kermany(root: pathlib.Path) -> None:
    """9 images; "person1" is in train/ and in test/, as on Kaggle."""
    names = ("train/NORMAL/IM-0115-0001", "train/NORMAL/NORMAL2-IM-0383-0001")
    names += ("train/NORMAL/IM-0383-0001-0002", "train/PNEUMONIA/person1_bacteria_1")
    names += ("train/PNEUMONIA/person2_virus_3", "test/NORMAL/IM-0001-0001")
    names += ("test/PNEUMONIA/person1_virus_6", "val/NORMAL/NORMAL2-IM-1427-0001")
    names += ("val/PNEUMONIA/person1946_bacteria_4874",)
    rng = np.random.default_rng(10)
    for name in names:
        grey, _ = tiny_files.chest(rng)
        boxes = _CLASS_BOXES["PNEUMONIA" in name]
        tiny_files.write_jpeg(
            root / f"{name}.jpeg", tiny_files.to_bytes(tiny_files.with_boxes(grey, boxes))
        )


def make_classes(root: pathlib.Path) -> None:
    """7 images of three classes, with names of the NIH and of the COVID-19 collection."""
    names = {"NORMAL": ("00000001_000", "00000002_000"), "covid": ("a-day0", "a-day4", "b")}
    names["pneumonia"] = ("00000002_001", "00000003_000")
    rng = np.random.default_rng(11)
    for boxes, kind in zip(_CLASS_BOXES, ("NORMAL", "pneumonia", "covid")):
        for name in names[kind]:
            grey, _ = tiny_files.chest(rng)
            tiny_files.write_jpeg(
                root / kind / f"{name}.jpg", tiny_files.to_bytes(tiny_files.with_boxes(grey, boxes))
            )


def main(root: pathlib.Path) -> None:
    """Writes all of them below a folder."""
    # Some ages are wrong on purpose, as in both challenges: "62" instead of "062Y".
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    make_rsna(root / "rsna")
    make_siim(root / "siim")
    make_nih(root / "nih")
    make_medmnist(root / "medmnist")
    make_lungs(root / "lungs")
    make_montgomery(root / "montgomery")
    make_shenzhen(root / "shenzhen")
    make_covid_radiography(root / "covid_radiography")
    make_covidx(root / "covidx")
    make_kermany(root / "kermany")
    make_classes(root / "classes")
    label_tables.make_csv(root / "csv")
    label_tables.make_chexpert(root / "chexpert")
    label_tables.make_mimic_cxr(root / "mimic_cxr")
    label_tables.make_padchest(root / "padchest")
    label_tables.make_vindr_cxr(root / "vindr_cxr")


if __name__ == "__main__":
    main(pathlib.Path(__file__).resolve().parent)
