"""Writes the tiny datasets beside this file, each in its source's own layout.

    PYTHONPATH=. python testdata/make_testdata.py

The pictures are drawn: two dark lungs in a grey chest, a bright disc for an opacity, a black rim
for a pneumothorax. They belong to nobody. Nothing here is random but a seeded noise, so the same
versions of the encoders write the same bytes.
"""

from __future__ import annotations

import csv
import pathlib

import numpy as np
import PIL.Image
from pydicom import uid
import pydicom.config
from pydicom.dataset import FileDataset, FileMetaDataset
import pydicom.encaps
import simplejpeg

from tffcxr.datasets.imaging import annotations as areas

SIDE = 64
_ROOT = "1.2.826.0.1.3680043.10.9999"  # Below pydicom's own root; no real study has it.


def chest(rng: np.random.Generator, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Draws a chest; returns its grey values, float [side, side] in 0..1, and its lungs, bool."""
    y, x = np.mgrid[:side, :side] / side
    shift = rng.uniform(-0.03, 0.03, 2)
    lungs = np.zeros((side, side), bool)
    for centre in (0.30, 0.70):
        lungs |= ((x - centre - shift[0]) / 0.15) ** 2 + ((y - 0.5 - shift[1]) / 0.34) ** 2 < 1
    grey = np.where(lungs, 0.25, 0.65) + 0.05 * np.cos(2 * np.pi * y * 9)
    return grey + rng.normal(0, 0.02, grey.shape), lungs


def with_boxes(grey: np.ndarray, boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Brightens an ellipse in each box (x, y, width, height)."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] + 0.5
    for left, top, width, height in boxes:
        inside = ((x - left - width / 2) / (width / 2)) ** 2
        inside += ((y - top - height / 2) / (height / 2)) ** 2
        grey = grey + 0.45 * np.clip(1 - inside, 0, 1)
    return grey


def to_bytes(grey: np.ndarray) -> np.ndarray:
    """Returns uint8 [H, W]."""
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)


def write_dicom(
    path: pathlib.Path, pixels: np.ndarray, instance: str, patient: str, **elements: object
) -> None:
    """Writes an 8-bit secondary capture in JPEG Baseline, as both challenges have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = uid.UID(instance)
    meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = uid.UID(instance)
    dataset.Modality = "CR"
    dataset.PatientName = dataset.PatientID = patient
    dataset.BodyPartExamined = "CHEST"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelSpacing = [2.5, 2.5]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionMethod = "ISO_10918_1"
    jpeg = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels[:, :, np.newaxis]), 90, "GRAY", colorsubsampling="Gray"
    )
    dataset.PixelData = pydicom.encaps.encapsulate([jpeg])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)


def write_csv(path: pathlib.Path, header: list[str], rows: list[list[object]]) -> None:
    """Writes a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_png(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes a grey PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path, optimize=True)


def write_jpeg(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes a grey JPEG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    jpeg = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels[:, :, np.newaxis]), 90, "GRAY", colorsubsampling="Gray"
    )
    path.write_bytes(jpeg)


def make_rsna(root: pathlib.Path) -> None:
    """12 patients, 6 with "Lung Opacity" (one with two boxes), 3 normal, 3 neither."""
    rng = np.random.default_rng(1)
    labels: list[list[object]] = []
    classes: list[list[object]] = []
    boxes = [[(12, 20, 16, 20)], [(38, 30, 14, 18)], [(12, 18, 15, 14), (38, 34, 14, 14)]]
    boxes += [[(40, 16, 12, 22)], [(14, 34, 14, 16)], [(37, 24, 16, 16)]]
    for index in range(12):
        patient = f"{index:08x}-0000-4000-8000-{index:012x}"
        grey, lungs = chest(rng)
        found = boxes[index // 2] if index % 2 else []
        kind = (
            "Lung Opacity" if found else ("Normal", "No Lung Opacity / Not Normal")[index % 4 // 2]
        )
        write_dicom(
            root / "stage_2_train_images" / f"{patient}.dcm",
            to_bytes(with_boxes(grey, found)),
            f"{_ROOT}.1.{index + 1}",
            patient,
            PatientSex="FM"[index % 3 % 2],
            PatientAge=str(30 + 4 * index),
            ViewPosition=("PA", "AP")[index % 2],
        )
        fields = [[f"{number:.1f}" for number in box] for box in found] or [[""] * 4]
        labels += [[patient, *box, int(bool(found))] for box in fields]
        classes += [[patient, kind] for _ in fields]
        write_png(root / "lung_masks" / f"{patient}.png", to_bytes(lungs.astype(float)))
    header = ["patientId", "x", "y", "width", "height", "Target"]
    write_csv(root / "stage_2_train_labels.csv", header, labels)
    write_csv(root / "stage_2_detailed_class_info.csv", ["patientId", "class"], classes)


def make_siim(root: pathlib.Path) -> None:
    """12 images of 10 patients, 5 with "Pneumothorax" (one in two regions), nested folders."""
    rng = np.random.default_rng(2)
    rows: list[list[object]] = []
    for index in range(12):
        patient = f"siim-{min(index, 9):02d}"  # The last three images are of one patient.
        image = f"{_ROOT}.2.{index + 1}"
        grey, lungs = chest(rng)
        y, x = np.mgrid[:SIDE, :SIDE] / SIDE
        outer = lungs & ((x < 0.22) | (x > 0.78)) & (y < 0.6)
        regions = [outer & (x < 0.5)] if index % 2 == 0 else []
        if index == 4:
            regions.append(outer & (x > 0.5))
        regions = regions if index < 10 else []
        for region in regions:
            grey = np.where(region, 0.02, grey)
        write_dicom(
            root
            / "dicom-images-train"
            / f"{_ROOT}.3.{index}"
            / f"{_ROOT}.4.{index}"
            / f"{image}.dcm",
            to_bytes(grey),
            image,
            patient,
            PatientSex="MF"[index % 2],
            PatientAge=("062Y", "018M", "45")[index % 3],
            ViewPosition=("PA", "AP")[index % 2],
        )
        codes = [areas.encode_runs(region) for region in regions] or ["-1"]
        rows += [[image, code] for code in codes]
        write_png(root / "lung_masks" / f"{image}.png", to_bytes(lungs.astype(float)))
    write_csv(root / "train-rle.csv", ["ImageId", " EncodedPixels"], rows)


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
        grey, _ = chest(rng)
        grey = with_boxes(grey, [(14, 18, 16, 28)] if "Infiltration" in label else [])
        grey = with_boxes(grey, [(34, 44, 24, 14)] if "Effusion" in label else [])
        write_png(root / f"images_{1 + index // 6:03d}" / "images" / name, to_bytes(grey))
        row: list[object] = [name, label, follow_up, patient, 30 + 5 * patient, "MF"[patient % 2]]
        rows.append([*row, ("PA", "AP")[index % 2], SIDE, SIDE, 0.143, 0.143, ""])
    # The original's header has unquoted commas in brackets and one at its end, too.
    header = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age"]
    header += ["Patient Gender", "View Position", "OriginalImage[Width", "Height]"]
    header += ["OriginalImagePixelSpacing[x", "y]", ""]
    write_csv(root / "Data_Entry_2017.csv", header, rows)


def make_medmnist(root: pathlib.Path) -> None:
    """12 training, 6 validation and 6 test images of 28 pixels, two of three with pneumonia."""
    rng = np.random.default_rng(4)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", 12), ("val", 6), ("test", 6)):
        labels = (np.arange(count) % 3 > 0).astype(np.uint8)
        boxes = [[(6, 8, 7, 10)] if label else [] for label in labels]
        drawn = [to_bytes(with_boxes(chest(rng, 28)[0], box)) for box in boxes]
        arrays[f"{split}_images"] = np.stack(drawn)
        arrays[f"{split}_labels"] = labels[:, np.newaxis]
    root.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(root / "pneumoniamnist.npz", **arrays)


def make_lungs(root: pathlib.Path) -> None:
    """6 images of 5 patients in PNG and JPEG, one wider than high; masks of 0 and 255."""
    rng = np.random.default_rng(5)
    for index, name in enumerate(["a-day0", "a-day4-PA", "b", "c-PA", "fig-7", "e.original"]):
        grey, lungs = chest(rng)
        pixels, mask = to_bytes(grey), to_bytes(lungs.astype(float))
        if index == 2:
            pixels, mask = pixels[6:-6], mask[6:-6]
        write_png(root / "masks" / f"{name}.png", mask)
        if index % 2:
            write_png(root / "images" / f"{name}.png", pixels)
        else:
            write_jpeg(root / "images" / f"{name}.jpg", pixels)


def make_montgomery(root: pathlib.Path) -> None:
    """4 images of 12 bits in 16, two with tuberculosis, a mask for each lung."""
    rng = np.random.default_rng(6)
    for index in range(4):
        name = f"MCUCXR_{index + 1:04d}_{index // 2}.png"
        grey, lungs = chest(rng)
        on_the_left = lungs & (np.arange(SIDE) < SIDE // 2)  # Of the image: the right lung.
        write_png(root / "CXR_png" / name, np.rint(np.clip(grey, 0, 1) * 4095).astype(np.uint16))
        for folder, region in (("rightMask", on_the_left), ("leftMask", lungs & ~on_the_left)):
            write_png(root / "ManualMask" / folder / name, to_bytes(region.astype(float)))


def make_shenzhen(root: pathlib.Path) -> None:
    """5 colour images, as the original has them, of which the third has no mask."""
    rng = np.random.default_rng(7)
    for index in range(5):
        name = f"CHNCXR_{index + 1:04d}_{index % 2}"
        grey, lungs = chest(rng)
        write_png(root / "CXR_png" / f"{name}.png", np.repeat(to_bytes(grey)[..., None], 3, 2))
        if index != 2:
            write_png(root / "mask" / f"{name}_mask.png", to_bytes(lungs.astype(float)))


def make_covid_radiography(root: pathlib.Path) -> None:
    """1 image of 299 pixels in each class, with a colour mask of 256 pixels as the original has.

    The class "Viral Pneumonia" is left out: Bazel takes no file with a space in its name.
    """
    for index, kind in enumerate(["COVID", "Lung_Opacity", "Normal"]):
        # Two drawings of the same seed, without noise so that the files stay small.
        grey, lungs = (
            np.where(chest(np.random.default_rng(8 + index), side)[1], 0.25, 0.65)
            for side in (299, 256)
        )
        mask = to_bytes((lungs < 0.5).astype(float))
        write_png(root / kind / "images" / f"{kind}-{index + 1}.png", to_bytes(grey))
        write_png(
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
        grey, lungs = chest(rng)
        write_png(root / split / f"{stem}.png", to_bytes(with_boxes(grey, _CLASS_BOXES[kind])))
        write_png(root / "lung_masks" / f"{stem}.png", to_bytes(lungs.astype(float)))
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
        grey, _ = chest(rng)
        boxes = _CLASS_BOXES["PNEUMONIA" in name]
        write_jpeg(root / f"{name}.jpeg", to_bytes(with_boxes(grey, boxes)))


def make_classes(root: pathlib.Path) -> None:
    """7 images of three classes, with names of the NIH and of the COVID-19 collection."""
    names = {"NORMAL": ("00000001_000", "00000002_000"), "covid": ("a-day0", "a-day4", "b")}
    names["pneumonia"] = ("00000002_001", "00000003_000")
    rng = np.random.default_rng(11)
    for boxes, kind in zip(_CLASS_BOXES, ("NORMAL", "pneumonia", "covid")):
        for name in names[kind]:
            grey, _ = chest(rng)
            write_jpeg(root / kind / f"{name}.jpg", to_bytes(with_boxes(grey, boxes)))


def make_csv(root: pathlib.Path) -> None:
    """6 images of 4 patients, one lateral, and a table as a German Excel exports it."""
    rng = np.random.default_rng(12)
    rows = ["Dateiname;Patient ID;Alter;Geschlecht;View;Pleural effusion;Opacity;Befunder"]
    about = ["0001;62,5;w;PA;1;0", "0001;62,5;w;LL;;1", "0002;41;m;AP;-1;0", "3;7;m;PA;0;1"]
    about += ["3;7;m;PA;0;0", "0004;;;;1;"]
    for number, text in enumerate(about):
        grey, _ = chest(rng, 32)
        boxes = [(5, 9, 8, 10)] if text.endswith("1") else []
        write_png(root / "images" / f"IM{number}.png", to_bytes(with_boxes(grey, boxes)))
        rows.append(f"images\\IM{number}.png;{text};Dr. Müller")
    (root / "table.csv").write_bytes(("\r\n".join(rows) + "\r\n").encode("latin-1"))


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
    make_csv(root / "csv")


if __name__ == "__main__":
    main(pathlib.Path(__file__).resolve().parent)
