"""Phantom CT and PET volumes as DICOM series, a file per slice, plainly marked synthetic.

DICOM PS3.3: CT image (A.3) and PET image (A.21), with the elements that geometry, Hounsfield units
and SUV need. Explicit VR Little Endian, uncompressed, 16 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import pathlib

import numpy as np
from pydicom import dataset, uid

from tffcxr.datasets.phantoms import phantom_dicom
from tffcxr.datasets.volumes.volume import Volume

# SOP class, and the number from which the UIDs of slices count.
_MODALITIES = {
    "CT": (uid.CTImageStorage, 1),
    "PT": (uid.PositronEmissionTomographyImageStorage, 10_001),
}
_DATE, _SERIES_TIME = "20000101", "120000"
HALF_LIFE = 6586.2  # Seconds, of fluorine-18.


def write_ct(folder: pathlib.Path, volume: Volume, patient: str, seed: int) -> None:
    """Writes a CT.

    Args:
      folder: new or empty; made if missing.
      volume: Hounsfield units of -1024 to 3071.
      patient: PatientID and PatientName.
      seed: of the UIDs.
    """
    stored = np.rint(volume.array + 1024.0)
    rescale = {"RescaleIntercept": -1024, "RescaleSlope": 1, "RescaleType": "HU"}
    _write(folder, stored, volume.affine, "CT", patient, seed, [rescale] * stored.shape[2])


def write_pet(
    folder: pathlib.Path,
    volume: Volume,
    patient: str,
    seed: int,
    weight: float,
    dose: float,
    minutes: float,
) -> None:
    """Writes a PET in Bq/ml, decay-corrected to its start, every slice with a slope of its own.

    Args:
      folder: new or empty; made if missing.
      volume: Bq/ml, 0 or more.
      patient: PatientID and PatientName.
      seed: of the UIDs.
      weight: of the patient, kg.
      dose: injected, Bq.
      minutes: from the injection to the scan, less than 12 hours.
    """
    peaks = volume.array.max(axis=(0, 1))  # [K]
    slopes = np.where(peaks > 0, peaks / 32767.0, 1.0)
    # As many digits as DICOM's decimal strings hold.
    slopes = np.array([float(f"{slope:.8e}") for slope in slopes])
    stored = np.clip(np.rint(volume.array / slopes), 0, 32767)
    drug = dataset.Dataset()
    drug.Radiopharmaceutical = "Phantom F-18"
    drug.RadionuclideTotalDose = f"{dose:.8e}"
    drug.RadionuclideHalfLife = HALF_LIFE
    start = 12 * 3600 - round(60 * minutes)
    drug.RadiopharmaceuticalStartTime = f"{start // 3600:02d}{start // 60 % 60:02d}{start % 60:02d}"
    common = {
        "Units": "BQML",
        "CorrectedImage": ["ATTN", "DECAY"],
        "DecayCorrection": "START",
        "PatientWeight": f"{weight:.2f}",
        "RadiopharmaceuticalInformationSequence": [drug],
        "RescaleIntercept": 0,
    }
    slices = [{**common, "RescaleSlope": f"{slope:.8e}"} for slope in slopes]
    _write(folder, stored, volume.affine, "PT", patient, seed, slices)


def _write(
    folder: pathlib.Path,
    stored: np.ndarray,
    affine: np.ndarray,
    modality: str,
    patient: str,
    seed: int,
    elements: Sequence[Mapping[str, object]],
) -> None:
    """Writes whole numbers [I, J, K] with one mapping of further elements per slice."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    row, column, _ = (lps[:3, :3] / spacing).T
    for number, further in enumerate(elements):
        file = _header(modality, patient, seed, number)
        file.ImagePositionPatient = _decimals(lps[:3, 3] + number * lps[:3, 2])
        file.ImageOrientationPatient = _decimals(np.concatenate([row, column]))
        file.PixelSpacing = _decimals(spacing[[1, 0]])
        file.SliceThickness = _decimals(spacing[[2]])[0]
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.Rows, file.Columns = stored.shape[1], stored.shape[0]
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, 0
        for keyword, value in further.items():
            setattr(file, keyword, value)
        file.PixelData = stored[:, :, number].T.astype("<u2").tobytes()
        phantom_dicom.save(file, folder / f"{number + 1:04d}.dcm")


def _header(modality: str, patient: str, seed: int, number: int) -> dataset.Dataset:
    """What a slice says of patient, study and series."""
    sop_class, first = _MODALITIES[modality]
    study, _, frame = phantom_dicom.make_uids(seed, 0)
    file = dataset.Dataset()
    file.SOPClassUID = sop_class
    file.SOPInstanceUID = phantom_dicom.make_uids(seed, first + number)[2]
    file.file_meta = phantom_dicom.meta(file.SOPClassUID, file.SOPInstanceUID)
    file.ImageType = ["ORIGINAL", "PRIMARY"]
    file.StudyInstanceUID = study
    file.SeriesInstanceUID = phantom_dicom.make_uids(seed, first)[1]
    file.FrameOfReferenceUID, file.PositionReferenceIndicator = frame, ""
    file.StudyDate = file.SeriesDate = file.AcquisitionDate = _DATE
    file.StudyTime = file.SeriesTime = file.AcquisitionTime = _SERIES_TIME
    file.Modality, file.Manufacturer = modality, "tffcxr phantom"
    file.PatientName = file.PatientID = patient
    file.PatientBirthDate = file.PatientSex = file.AccessionNumber = file.StudyID = ""
    file.ReferringPhysicianName = ""
    file.ImageComments = "Synthetic phantom, not a patient"
    file.SeriesNumber, file.InstanceNumber = "1", str(number + 1)
    return file


def _decimals(values: np.ndarray) -> list[str]:
    return [f"{value:.8g}" for value in values]
