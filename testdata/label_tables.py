"""Tiny data sets with labels of reports, readers or a hospital: unknown and uncertain ones."""

from __future__ import annotations

import gzip
import pathlib

import numpy as np

from testdata import tiny_files


def make_csv(root: pathlib.Path) -> None:
    """6 images of 4 patients, one lateral, and a table as a German Excel exports it."""
    rng = np.random.default_rng(12)
    rows = ["Dateiname;Patient ID;Alter;Geschlecht;View;Pleural effusion;Opacity;Befunder"]
    about = ["0001;62,5;w;PA;1;0", "0001;62,5;w;LL;;1", "0002;41;m;AP;-1;0", "3;7;m;PA;0;1"]
    about += ["3;7;m;PA;0;0", "0004;;;;1;"]
    for number, text in enumerate(about):
        grey, _ = tiny_files.chest(rng, 32)
        boxes = [(5, 9, 8, 10)] if text.endswith("1") else []
        tiny_files.write_png(
            root / "images" / f"IM{number}.png",
            tiny_files.to_bytes(tiny_files.with_boxes(grey, boxes)),
        )
        rows.append(f"images\\IM{number}.png;{text};Dr. Müller")
    (root / "table.csv").write_bytes(("\r\n".join(rows) + "\r\n").encode("latin-1"))


def make_chexpert(root: pathlib.Path) -> None:
    """7 images of 5 patients with all kinds of labels, two lateral, one of them for validation."""
    labels = ["No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity"]
    labels += ["Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis"]
    labels += ["Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices"]
    header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *labels]
    images = [
        ("train/patient00001/study1/view1_frontal", "Female", 68, "AP", {0: 1, 13: 1}),
        ("train/patient00002/study1/view1_frontal", "Male", 87, "PA", {3: 1, 5: -1, 10: 0}),
        ("train/patient00002/study1/view2_lateral", "Male", 87, "", {3: 1, 5: -1, 10: 0}),
        ("train/patient00002/study2/view1_frontal", "Male", 88, "AP", {10: 1, 5: 0}),
        ("train/patient00003/study1/view1_frontal", "Unknown", 0, "AP", {7: -1, 12: 1}),
        ("valid/patient64541/study1/view1_frontal", "Male", 73, "AP", dict.fromkeys(range(14), 0)),
        ("valid/patient64542/study1/view1_lateral", "Female", 70, "", {10: 1}),
    ]
    rng = np.random.default_rng(13)
    rows: dict[str, list[list[object]]] = {"train": [], "valid": []}
    for name, sex, age, view, known in images:
        grey, _ = tiny_files.chest(rng, 32)
        boxes = [(5, 20, 10, 8)] if known.get(10) == 1 else []
        tiny_files.write_jpeg(
            root / f"{name}.jpg", tiny_files.to_bytes(tiny_files.with_boxes(grey, boxes))
        )
        kind = "Lateral" if name.endswith("lateral") else "Frontal"
        written = [f"{known[number]:.1f}" if number in known else "" for number in range(14)]
        path = f"CheXpert-v1.0-small/{name}.jpg"
        rows[name[:5]].append([path, sex, age, kind, view, *written])
    for split, of_split in rows.items():
        tiny_files.write_csv(root / f"{split}.csv", header, of_split)


def make_mimic_cxr(root: pathlib.Path) -> None:
    """6 images of 4 subjects: one lateral, one of unknown view, one of a study without labels."""
    labels = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema"]
    labels += ["Enlarged Cardiomediastinum", "Fracture", "Lung Lesion", "Lung Opacity"]
    labels += ["No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax"]
    labels += ["Support Devices"]
    images = [
        ("a", 10000032, 50414267, "PA", "postero-anterior", "train"),
        ("b", 10000032, 50414267, "LATERAL", "lateral", "train"),
        ("c", 10000764, 57375967, "", "antero-posterior", "validate"),
        ("d", 10000898, 50771383, "AP", "antero-posterior", "test"),
        ("e", 10000935, 50578979, "", "", "train"),
        ("f", 10000935, 51178377, "AP", "", "train"),
    ]
    known = {50414267: {8: 1}, 57375967: {2: -1, 9: 1}, 50771383: {12: 0}, 50578979: {0: 1}}
    rng = np.random.default_rng(14)
    metadata, splits = [], []
    for name, subject, study, view, meaning, split in images:
        image = f"{name * 8}-{name * 8}-{name * 8}-{name * 8}-{name * 8}"
        folder = root / "files" / f"p{subject // 10**6}" / f"p{subject}" / f"s{study}"
        tiny_files.write_jpeg(
            folder / f"{image}.jpg", tiny_files.to_bytes(tiny_files.chest(rng, 32)[0])
        )
        metadata.append(f"{image},{subject},{study},{view},32,32,{meaning}")
        splits.append(f"{image},{study},{subject},{split}")
    rows = [",".join(["subject_id,study_id", *labels])]
    for study, values in known.items():
        subject = next(image[1] for image in images if image[2] == study)
        written = [f"{values[number]:.1f}" if number in values else "" for number in range(14)]
        rows.append(",".join([f"{subject},{study}", *written]))
    header = "dicom_id,subject_id,study_id,ViewPosition,Rows,Columns,ViewCodeSequence_CodeMeaning"
    tables = {"metadata": [header, *metadata], "chexpert": rows}
    tables["split"] = ["dicom_id,study_id,subject_id,split", *splits]
    for name, lines in tables.items():
        content = ("\n".join(lines) + "\n").encode()
        path = root / f"mimic-cxr-2.0.0-{name}.csv.gz"
        path.write_bytes(gzip.compress(content, mtime=0))


def make_padchest(root: pathlib.Path) -> None:
    """8 images of 16 bits of 7 patients; in the last one, low values should be white."""
    header = ["", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth"]
    header += ["PatientSex_DICOM", "Projection", "PhotometricInterpretation_DICOM", "Labels"]
    images = [
        ("p1", "1931.0", "F", "PA", "2", "['normal']"),
        ("p2", "1950.0", "M", "AP_horizontal", "2", "['laminar atelectasis', ' pleural effusion']"),
        ("p3", "", "M", "L", "2", "['pneumonia', 'unchanged']"),
        ("p3", "", "M", "PA", "2", "['pneumonia', 'unchanged']"),
        ("p4", "1999.0", "O", "PA", "2", "['scoliosis', '']"),
        ("p5", "1940.0", "F", "PA", "2", "['exclude']"),
        ("p6", "1940.0", "F", "PA", "2", "nan"),
        ("p7", "1940.0", "F", "PA", "1", "['normal']"),
    ]
    rng = np.random.default_rng(15)
    rows: list[list[object]] = []
    for number, (patient, birth, sex, view, kind, labels) in enumerate(images):
        name = f"2168403_{number:02d}.png"
        values = np.rint(np.clip(tiny_files.chest(rng, 32)[0], 0, 1) * 4095).astype(np.uint16)
        tiny_files.write_png(
            root / str(number % 2) / name, 4095 - values if kind == "1" else values
        )
        row: list[object] = [number, name, number % 2, 20140915, f"s{number}", patient, birth]
        rows.append([*row, sex, view, f"MONOCHROME{kind}", labels])
    tiny_files.write_csv(
        root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", header, rows
    )


def make_vindr_cxr(root: pathlib.Path) -> None:
    """3 training images with three readers each, and 2 test images."""
    names = ["Aortic enlargement", "Atelectasis", "Nodule/Mass", "Pleural effusion"]
    rng = np.random.default_rng(16)
    # Of each image, the readers that saw each of the findings.
    votes = {"aa": (3, 0, 1, 2), "bb": (0, 0, 0, 0), "cc": (1, 3, 0, 0)}
    train, test = [], []
    for number, (image, seen) in enumerate(votes.items()):
        path = root / "train" / f"{image}.dicom"
        pixels = tiny_files.to_bytes(tiny_files.chest(rng, 32)[0])
        tiny_files.write_dicom(
            path,
            pixels,
            f"{tiny_files.UID_ROOT}.6.{number}",
            "",
            PatientAge="061Y",
            PatientSex="MFO"[number],
        )
        for reader in range(3):
            found = [int(reader < count) for count in seen]
            train.append([image, f"R{reader}", *found, 0, int(not any(found))])
    for number, image in enumerate(("dd", "ee")):
        path = root / "test" / f"{image}.dicom"
        tiny_files.write_dicom(
            path,
            tiny_files.to_bytes(tiny_files.chest(rng, 32)[0]),
            f"{tiny_files.UID_ROOT}.7.{number}",
            "",
        )
        test.append([image, number, 0, 0, 0, 0, int(not number)])
    header = ["image_id", "rad_id", *names, "Other diseases", "No finding"]
    tiny_files.write_csv(root / "annotations" / "image_labels_train.csv", header, train)
    header = ["image_id", *names, "Other disease", "No finding"]
    tiny_files.write_csv(root / "annotations" / "image_labels_test.csv", header, test)
