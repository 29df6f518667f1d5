"""What all DICOM objects of a prediction share: the patient, the study, the maker and the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import importlib.metadata
import pathlib
from typing import Any
import warnings

import highdicom
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset

from tffcxr import files
from tffcxr.errors import InputError
from tffcxr.prediction import dicom_codes

MAKER = "tffcxr"
UTF8 = "ISO_IR 192"
PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# Of these, what an object must have, if only without a value (type 2).
NEEDED = frozenset(PATIENT_AND_STUDY) - {"IssuerOfPatientID", "StudyDescription"}


@dataclasses.dataclass(frozen=True)
class Maker:
    """The model, as objects name it.

    Attributes:
      model: its recipe and network.
      digest: of its file, which tells models apart.
    """

    model: str
    digest: str

    @property
    def version(self) -> str:
        """Of this program."""
        try:
            return importlib.metadata.version("tffcxr")
        except importlib.metadata.PackageNotFoundError:
            return "run from source"


def new_series(number: int, description: str) -> dict[str, Any]:
    """Arguments of highdicom's objects: a new series with a new first instance."""
    return {
        "series_instance_uid": highdicom.UID(),
        "series_number": number,
        "sop_instance_uid": highdicom.UID(),
        "instance_number": 1,
        "series_description": dicom_codes.shortened(description, 64),
        "specific_character_set": UTF8,
        "transfer_syntax_uid": uid.ExplicitVRLittleEndian,
    }


def equipment(maker: Maker) -> dict[str, str]:
    """Arguments of highdicom's objects: what made them."""
    return {
        "manufacturer": MAKER,
        "manufacturer_model_name": dicom_codes.shortened(maker.model, 64),
        "software_versions": maker.version,
        "device_serial_number": maker.digest,
    }


def private_scheme() -> Dataset:
    """What 99TFFCXR is, for the objects that use it."""
    return highdicom.coding_schemes.CodingSchemeIdentificationItem(
        dicom_codes.SCHEME, name="Codes of tffcxr", responsible_organization=MAKER
    )


def join_study(made: Dataset, image: Dataset) -> None:
    """Copies the patient and the study of an image to an object, as they stand there."""
    for keyword in NEEDED:
        setattr(made, keyword, None)
    copy(made, image, *PATIENT_AND_STUDY)


def copy(made: Dataset, image: Dataset, *keywords: str) -> None:
    """Copies those of some elements that an image has."""
    with quiet():
        for keyword in keywords:
            if keyword in image:
                setattr(made, keyword, image.get(keyword))


def write(path: pathlib.Path, made: Dataset) -> None:
    """Writes an object.

    Raises:
      InputError: the file cannot be written.
    """
    try:
        with quiet():
            files.write_atomically(
                path, lambda file: pydicom.dcmwrite(file, made, enforce_file_format=True)
            )
    except OSError as error:
        raise InputError(f"--dicom: cannot write {path}: {error.strerror}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's warnings of values against the rules, which quote what is the patient's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        yield


def reference(image: Dataset) -> Mapping[str, str]:
    """The UIDs by which content refers to an image."""
    return {
        "referenced_sop_class_uid": image.SOPClassUID,
        "referenced_sop_instance_uid": image.SOPInstanceUID,
    }
