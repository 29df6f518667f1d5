"""What all DICOM objects of a prediction share: the patient, the study, the maker and the file.

Every object joins the study of the image that it was made of, as a new series. highdicom gets a
header without a patient, since it logs names that it finds odd; the patient is copied afterwards,
as it stands in the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import importlib.metadata
import pathlib
import re
from typing import Any
import warnings

import highdicom
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset

from tffcxr import files
from tffcxr.datasets.imaging import dicom_elements
from tffcxr.datasets.sources import dicom_header
from tffcxr.errors import InputError, one_line
from tffcxr.prediction import dicom_codes

MAKER = "tffcxr"
UTF8 = "ISO_IR 192"
_PATIENT_AND_STUDY = (
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
_NEEDED = frozenset(_PATIENT_AND_STUDY) - {"IssuerOfPatientID", "StudyDescription"}
_IMAGE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "Modality",
    "Rows",
    "Columns",
    "PatientOrientation",
    "BodyPartExamined",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "BurnedInAnnotation",
)
# What objects can refer to without a position in a patient's coordinates.
_RADIOGRAPHS = (
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.SecondaryCaptureImageStorage,
    uid.XRayRadiofluoroscopicImageStorage,
)
# Parts with leading zeros are against the rules, but archives have such UIDs.
_A_UID = re.compile(r"[0-9.]{1,64}")
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclasses.dataclass(frozen=True)
class Source:
    """The image that objects are made of.

    Attributes:
      header: its patient, study and image elements, texts decoded.
      remarks: what the objects' reader must know of it.
    """

    header: Dataset
    remarks: tuple[str, ...] = ()

    @property
    def without_patient(self) -> Dataset:
        """A new header for highdicom, of the image and the study's UID alone."""
        made = Dataset()
        for keyword in _NEEDED:
            setattr(made, keyword, None)
        made.Modality = "OT"
        copy(made, self, "StudyInstanceUID", *_IMAGE)
        return made


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


def read_source(path: str) -> Source:
    """Reads what objects need of a DICOM file's header.

    A file without the UID of its study or series, such as one of a public data set, gets them
    derived from its own UID: the same ones in every call. Its objects are then a study of their
    own, which the remarks say.

    Raises:
      InputError: the file is not DICOM, or nothing can refer to it.
    """
    parsed = dicom_header.parse(path, (*_PATIENT_AND_STUDY, *_IMAGE, "SpecificCharacterSet"))
    if parsed is None:
        raise InputError(f"--dicom: {path}: expected a DICOM file, found another one")
    header = Dataset()
    try:
        with _quiet():
            parsed.decode()
            for keyword in (*_PATIENT_AND_STUDY, *_IMAGE):
                if parsed.get(keyword) not in (None, ""):
                    setattr(header, keyword, parsed.get(keyword))
    except dicom_elements.PARSING_ERRORS as error:
        raise InputError(
            f"--dicom: {path}: expected readable elements of the patient and the study, found: "
            f"{one_line(error):.200}"
        ) from error
    return Source(header, _complete(path, header))


def _complete(path: str, header: Dataset) -> tuple[str, ...]:
    for keyword in _UIDS:
        found = header.get(keyword)
        if found is not None and not _A_UID.fullmatch(str(found)):
            raise InputError(f"--dicom: {path}: expected a UID as {keyword}, found {found!s:.70}")
    for keyword in _UIDS[:2]:
        if keyword not in header:
            raise InputError(
                f"--dicom: {path}: expected a {keyword}, by which objects refer to the image, "
                "found none"
            )
    if header.SOPClassUID not in _RADIOGRAPHS:
        raise InputError(
            f"--dicom: {path}: expected a radiograph (CR, DX, RF or Secondary Capture), found "
            f"{uid.UID(header.SOPClassUID).name}"
        )
    missing = [keyword for keyword in _UIDS if keyword not in header]
    for keyword in missing:
        setattr(header, keyword, uid.generate_uid(entropy_srcs=[header.SOPInstanceUID, keyword]))
    if not missing:
        return ()
    return (
        f"The image has no {' and no '.join(missing)}: derived from its SOPInstanceUID, so that "
        "no archive knows them.",
    )


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


def join_study(made: Dataset, source: Source) -> None:
    """Copies the patient and the study of an image to an object, as they stand there."""
    for keyword in _NEEDED:
        setattr(made, keyword, None)
    copy(made, source, *_PATIENT_AND_STUDY)


def copy(made: Dataset, source: Source, *keywords: str) -> None:
    """Copies those of some elements that an image has."""
    with _quiet():
        for keyword in keywords:
            if keyword in source.header:
                setattr(made, keyword, source.header.get(keyword))


def write(path: pathlib.Path, made: Dataset) -> None:
    """Writes an object.

    Raises:
      InputError: the file cannot be written.
    """
    try:
        with _quiet():
            files.write_atomically(
                path, lambda file: pydicom.dcmwrite(file, made, enforce_file_format=True)
            )
    except OSError as error:
        raise InputError(f"--dicom: cannot write {path}: {error.strerror}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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
