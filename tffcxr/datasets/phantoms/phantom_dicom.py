"""Phantom radiographs as DICOM files: 8 or 12 bits, both polarities, plainly marked synthetic.

The way an image is stored is drawn from its seed alone, so that nothing in the file but the pixels
depends on the findings. Written with DICOM PS3.3's CR image attributes that the challenges' files
carry, Explicit VR Little Endian, uncompressed.
"""

from __future__ import annotations

import pathlib

import numpy as np
from pydicom import dataset, uid

from tffcxr.datasets.phantoms.chest import radiograph as radiograph

# Sub-tree of pydicom's own root; the rest of each UID is a hash of the phantom's seed.
UID_ROOT = "1.2.826.0.1.3680043.8.498."
_IMPLEMENTATION = UID_ROOT + "7"


def make_uids(seed: int, acquisition: int) -> tuple[str, str, str]:
    """UIDs of study, series and instance, functions of the arguments."""
    key = ["tffcxr phantom", str(seed), str(acquisition)]
    study, series, instance = (
        str(uid.generate_uid(UID_ROOT, entropy_srcs=[*key, level]))
        for level in ("study", "series", "instance")
    )
    return study, series, instance


def write(
    path: pathlib.Path,
    phantom: radiograph.Phantom,
    patient: str,
    uids: tuple[str, str, str],
    rng: np.random.Generator,
) -> None:
    """Writes one image.

    Args:
      path: the new file.
      phantom: the image.
      patient: PatientID and PatientName.
      uids: of study, series and instance.
      rng: chooses how the pixels are stored.
    """
    file = dataset.Dataset()
    file.file_meta = meta(uid.ComputedRadiographyImageStorage, uids[2])
    file.SOPClassUID = uid.ComputedRadiographyImageStorage
    file.SOPInstanceUID = uids[2]
    file.StudyDate, file.StudyTime = "20000101", "000000"
    file.AccessionNumber = file.ReferringPhysicianName = file.StudyID = ""
    file.Modality = "CR"
    file.Manufacturer = "tffcxr phantom"
    file.SeriesDescription = f"view: {phantom.view}"
    file.PatientName = file.PatientID = patient
    file.PatientBirthDate = ""
    file.PatientSex = phantom.sex
    file.PatientAge = f"{phantom.age:03d}Y"
    file.BodyPartExamined = "CHEST"
    file.SoftwareVersions = f"tffcxr phantom {radiograph.VERSION}"
    file.ViewPosition = phantom.view
    file.StudyInstanceUID, file.SeriesInstanceUID = uids[:2]
    file.SeriesNumber = file.InstanceNumber = "1"
    file.PatientOrientation = ""
    file.ImageComments = "Synthetic phantom radiograph, not a patient"
    file.PixelSpacing = [round(phantom.spacing, 4)] * 2
    _set_pixels(file, phantom, rng)
    save(file, path)


def save(file: dataset.Dataset, path: pathlib.Path) -> None:
    """Writes a data set that has its `file_meta`, in Explicit VR Little Endian."""
    file.save_as(path, enforce_file_format=True)


def meta(sop_class: str, instance: str) -> dataset.FileMetaDataset:
    """The file meta information of one image."""
    made = dataset.FileMetaDataset()
    made.MediaStorageSOPClassUID = sop_class
    made.MediaStorageSOPInstanceUID = instance
    made.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.ImplementationClassUID = _IMPLEMENTATION
    made.ImplementationVersionName = "TFFCXR_PHANTOM"
    return made


def _set_pixels(
    file: dataset.Dataset, phantom: radiograph.Phantom, rng: np.random.Generator
) -> None:
    """Stores the pixels as 8 bits, or as 12 bits that need their window."""
    twelve_bits = rng.random() < 0.4
    inverted = rng.random() < 0.15
    offset, gain = int(rng.integers(100, 700)), rng.uniform(0.55, 0.8)
    if twelve_bits:
        highest = 4095
        stored = np.rint(offset + phantom.pixels * gain).astype(np.uint16)
        centre = offset + gain * 2047.5
        # C.11.2.1.2.1 of PS3.3: the window spans centre - 0.5 -+ (width - 1) / 2.
        file.WindowCenter = round((highest - centre if inverted else centre) + 0.5, 2)
        file.WindowWidth = round(gain * 4095 + 1, 2)
    else:
        highest = 255
        stored = phantom.image
    if inverted:
        stored = (highest - stored).astype(stored.dtype)
    file.SamplesPerPixel = 1
    file.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    file.Rows, file.Columns = stored.shape
    file.BitsAllocated = 16 if twelve_bits else 8
    file.BitsStored = 12 if twelve_bits else 8
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = 0
    file.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
