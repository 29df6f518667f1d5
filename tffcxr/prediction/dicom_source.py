"""The images that DICOM objects are made of: the headers of a radiograph, or of a volume's slices.

Every object joins the study of its image, as a new series. highdicom gets a header without a
patient, since it logs names that it finds odd; the patient is copied afterwards, as it stands in
the image.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib
import re

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from tffcxr.datasets.imaging import dicom_elements
from tffcxr.datasets.sources import dicom_header
from tffcxr.datasets.volumes import dicom_series
from tffcxr.datasets.volumes.volume import Volume
from tffcxr.errors import InputError, one_line
from tffcxr.prediction import dicom_common, image_files

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
_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_THICKNESS = ("SliceThickness", "SpacingBetweenSlices")
# What objects can refer to. Of radiographs, without a position in a patient's coordinates.
_RADIOGRAPHS = (
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.SecondaryCaptureImageStorage,
    uid.XRayRadiofluoroscopicImageStorage,
)
_SLICES = (uid.CTImageStorage, uid.PositronEmissionTomographyImageStorage)
# Parts with leading zeros are against the rules, but archives have such UIDs.
_A_UID = re.compile(r"[0-9.]{1,64}")
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclasses.dataclass(frozen=True)
class Source:
    """The image that objects are made of.

    Attributes:
      headers: patient, study and image elements, texts decoded: of a radiograph one, of a volume
        one per slice, in the order of its mask's last axis.
      remarks: what the objects' reader must know of it.
    """

    headers: tuple[Dataset, ...]
    remarks: tuple[str, ...] = ()

    @property
    def header(self) -> Dataset:
        """The header of the radiograph, or of the first slice."""
        return self.headers[0]

    @property
    def without_patient(self) -> list[Dataset]:
        """New headers for highdicom, of the images and the study's UID alone."""
        found = []
        for header in self.headers:
            made = Dataset()
            for keyword in dicom_common.NEEDED:
                setattr(made, keyword, None)
            made.Modality = "OT"
            dicom_common.copy(made, header, "StudyInstanceUID", *_IMAGE, *_PLACE, *_THICKNESS)
            found.append(made)
        return found


def read_radiograph(path: str) -> Source:
    """Reads what objects need of a DICOM file's header.

    A file without the UID of its study or series, such as one of a public data set, gets them
    derived from its own UID: the same ones in every call. Its objects are then a study of their
    own, which the remarks say.

    Raises:
      InputError: the file is not DICOM, or nothing can refer to it.
    """
    header = _read(path, ())
    _check(path, header, _RADIOGRAPHS, "a radiograph (CR, DX, RF or Secondary Capture)")
    missing = _complete([header], header.SOPInstanceUID)
    return Source((header,), _remarks("image", missing, "SOPInstanceUID"))


def read_series(folder: str, mask: Volume) -> Source:
    """Reads what objects need of the headers of a series, which was read as a volume before.

    A study without a UID gets one that is derived from the series'; see `read_radiograph`.

    Args:
      folder: of the DICOM files.
      mask: on the grid of the series, which says the order of the slices.

    Raises:
      InputError: there is no DICOM series, or nothing can refer to it.
    """
    if not pathlib.Path(folder).is_dir():
        raise InputError(f"--dicom: {folder}: expected the folder of a DICOM series, found a file")
    headers: dict[int, Dataset] = {}
    to_index = np.linalg.inv(dicom_series.TO_RAS @ mask.affine)
    for path in filter(image_files.is_dicom, map(pathlib.Path, dicom_series.files(folder))):
        header = _read(str(path), _PLACE)
        _check(str(path), header, _SLICES, "a slice of CT or PET")
        if "FrameOfReferenceUID" not in header:
            raise InputError(f"--dicom: {path}: expected a FrameOfReferenceUID, found none")
        position = np.array([*map(float, header.ImagePositionPatient), 1.0])
        headers[round(float((to_index @ position)[2]))] = header
    ordered = tuple(headers[place] for place in sorted(headers))
    # Of the mask's voxels; what the slices say of it is as little trusted as in `dicom_series`.
    apart = float(f"{np.linalg.norm(mask.affine[:3, 2]):.8g}")
    for header in ordered:
        header.SliceThickness = header.SpacingBetweenSlices = apart
    instances = {header.SOPInstanceUID for header in ordered}
    slices = mask.array.shape[2]
    if sorted(headers) != list(range(slices)) or len(instances) < slices:
        raise InputError(
            f"--dicom: {folder}: expected {slices} slices with a SOPInstanceUID of their own, "
            f"found {len(instances)}"
        )
    missing = _complete(ordered, ordered[0].SeriesInstanceUID)
    return Source(ordered, _remarks("series", missing, "SeriesInstanceUID"))


def _read(path: str, others: Sequence[str]) -> Dataset:
    keywords = (*dicom_common.PATIENT_AND_STUDY, *_IMAGE, *others)
    parsed = dicom_header.parse(path, (*keywords, "SpecificCharacterSet"))
    if parsed is None:
        raise InputError(f"--dicom: {path}: expected a DICOM file, found another one")
    header = Dataset()
    try:
        with dicom_common.quiet():
            parsed.decode()
            for keyword in keywords:
                if parsed.get(keyword) not in (None, ""):
                    setattr(header, keyword, parsed.get(keyword))
    except dicom_elements.PARSING_ERRORS as error:
        raise InputError(
            f"--dicom: {path}: expected readable elements of the patient and the study, found: "
            f"{one_line(error):.200}"
        ) from error
    return header


def _check(path: str, header: Dataset, classes: Sequence[str], what: str) -> None:
    """Raises InputError unless objects can refer to the image."""
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
    if header.SOPClassUID not in classes:
        raise InputError(
            f"--dicom: {path}: expected {what}, found {uid.UID(header.SOPClassUID).name}"
        )


def _complete(headers: Sequence[Dataset], origin: str) -> list[str]:
    """Derives the UIDs that images lack from another one, and returns their keywords."""
    missing = [keyword for keyword in _UIDS if keyword not in headers[0]]
    for keyword in missing:
        derived = uid.generate_uid(entropy_srcs=[origin, keyword])
        for header in headers:
            setattr(header, keyword, derived)
    return missing


def _remarks(what: str, missing: Sequence[str], origin: str) -> tuple[str, ...]:
    if not missing:
        return ()
    return (
        f"The {what} has no {' and no '.join(missing)}: derived from its {origin}, so that "
        "no archive knows them.",
    )
