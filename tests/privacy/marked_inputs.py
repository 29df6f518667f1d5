"""Radiographs and volumes with marked names, ids, dates and paths, wherever these may stand."""

from __future__ import annotations

from collections.abc import Sequence
import datetime
import pathlib

import numpy as np
from PIL import Image
import pydicom

from tests.datasets import dicom_files
from tests.privacy import written_forms
from tffcxr.datasets.phantoms import phantom_volumes
from tffcxr.datasets.phantoms.chest import radiograph

_NAME, _PHYSICIAN, _INSTITUTION = "Quintrell^Ottoline", "Brackenbury^Ulfric", "Wexcombe Infirmary"
_ID, _ACCESSION, _STUDY = "00ZQ7319{:03d}", "ACQ881726{:03d}", "1.2.826.0.1.3680043.77.31415.{}"
_BORN, _STUDIED = datetime.date(1931, 7, 23), datetime.date(2019, 11, 28)
_FOLDER, _FILE = "haemstead ward", "vortigern_{:03d}"
# Of radiographs, in pixels; 32 is the least that is drawn.
SIZE = 64
_FINDINGS = ("Infiltration", "Effusion", "Tuberculosis")


def identifiers(root: pathlib.Path) -> list[written_forms.Identifier]:
    """What must stand in no file that is written of the inputs in a folder.

    Of what is numbered, it is what all have in common.
    """
    return [
        written_forms.name("patient's name", _NAME),
        written_forms.name("physician", _PHYSICIAN),
        written_forms.name("institution", _INSTITUTION.split()[0]),
        written_forms.code("patient id", _ID.partition("{")[0]),
        written_forms.code("accession number", _ACCESSION.partition("{")[0]),
        written_forms.code("study", _STUDY.partition(".{")[0]),
        written_forms.date("birth date", _BORN),
        written_forms.date("study date", _STUDIED),
        written_forms.code("file name", _FILE.partition("_")[0]),
        written_forms.name("folder name", _FOLDER.split()[0]),
        written_forms.path("path", root),
    ]


def write_table(
    root: pathlib.Path,
    patients: int,
    seed: int,
    classes: Sequence[str],
    with_damaged_file: bool = False,
) -> str:
    """Writes DICOM files of radiographs, masks of their lungs, and a table with one row per image.

    Each patient has one radiograph; classes follow one another, and so do the findings' labels.

    Args:
      root: a folder, in which one of a marked name is made.
      patients: how many.
      seed: of the radiographs.
      classes: for the column `class`.
      with_damaged_file: whether the first patient has another file, which is no image.

    Returns:
      The folder as `--site` names it: `csv:PATH`.
    """
    folder = root / _FOLDER
    (folder / "lungs").mkdir(parents=True)
    lines = ["File name;Patient ID;Patient name;Date of birth;Study date;Age;Sex;View;Physician;"
             f"{';'.join(_FINDINGS)};class;lungs"]  # fmt: skip
    for number in range(patients):
        which = number % len(classes)
        drawn = radiograph.draw(1000 * seed + number, SIZE, pneumonia=0.9 if which else None)
        file = _FILE.format(number)
        made = dicom_files.dataset(
            drawn.pixels.astype(np.uint16), 12, Modality="DX", BodyPartExamined="CHEST",
            ViewPosition=drawn.view, SOPInstanceUID=f"{_STUDY.format(number)}.9",
        )  # fmt: skip
        _mark(made, number)
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.save_as(folder / f"{file}.dcm", enforce_file_format=True)
        lungs = Image.fromarray(255 * drawn.lungs.astype(np.uint8))
        lungs.save(folder / "lungs" / f"{file}.png")
        labels = [str(int(which > 0))] * len(_FINDINGS)
        lines.append(
            f"{file}.dcm;{_ID.format(number)};{_NAME};{_BORN};{_STUDIED:%d.%m.%Y};{drawn.age};"
            f"{drawn.sex};{drawn.view};{_PHYSICIAN};{';'.join(labels)};{classes[which]};"
            f"lungs/{file}.png"
        )
    if with_damaged_file:
        file, damaged = _FILE.format(0), _FILE.format(999)
        (folder / f"{damaged}.dcm").write_bytes(b"no image")
        lines.append(lines[1].replace(f"{file}.dcm", f"{damaged}.dcm"))
    (folder / "table.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return f"csv:{folder}"


def write_petct(root: pathlib.Path, patients: int, seed: int) -> pathlib.Path:
    """Writes patients with CT and PET in folders of marked names; returns the folder of all."""
    folder = root / _FOLDER
    phantom_volumes.write_petct(folder, patients, seed, size=SIZE, workers=1)
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    for number, patient in enumerate(found):
        for path in patient.rglob("*.dcm"):
            made = pydicom.dcmread(path)
            _mark(made, number)
            made.save_as(path)
        patient.rename(folder / f"{_NAME.replace('^', '_')}_{_ID.format(number)}")
    return folder


def _mark(made: pydicom.FileDataset, number: int) -> None:
    """Writes what tells who a patient is into a header."""
    made.PatientName, made.PatientID = _NAME, _ID.format(number)
    made.OtherPatientIDs = _ID.format(number)
    made.PatientBirthDate, made.StudyDate = f"{_BORN:%Y%m%d}", f"{_STUDIED:%Y%m%d}"
    made.AccessionNumber = made.StudyID = _ACCESSION.format(number)
    made.ReferringPhysicianName = made.OperatorsName = _PHYSICIAN
    made.InstitutionName = made.InstitutionAddress = made.StationName = _INSTITUTION.split()[0]
    made.StudyInstanceUID = _STUDY.format(number)
    made.StudyDescription = made.ImageComments = f"{_NAME} {_STUDIED:%d.%m.%Y}"
