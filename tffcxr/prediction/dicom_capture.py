"""Secondary Capture images (DICOM PS3.3, A.8) of where a model looks."""

from __future__ import annotations

import highdicom
import numpy as np
from pydicom.dataset import Dataset

from tffcxr.prediction import dicom_codes, dicom_common
from tffcxr.prediction.dicom_common import Maker
from tffcxr.prediction.dicom_source import Source

_SERIES = 9001
_COPIED = (
    "BodyPartExamined",
    "BurnedInAnnotation",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)


def capture(
    source: Source, maker: Maker, pictures: dict[str, np.ndarray]
) -> dict[str, highdicom.sc.SCImage]:
    """Makes one series of pictures.

    Args:
      source: the image that they show.
      maker: the model.
      pictures: uint8 [H, W, 3] by the name of the finding or class, in order.

    Returns:
      The objects by these names.
    """
    series = dicom_common.new_series(_SERIES, f"{dicom_common.MAKER} Grad-CAM, for research only")
    made = {}
    for number, (name, picture) in enumerate(pictures.items(), 1):
        image = highdicom.sc.SCImage(
            pixel_array=picture,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            study_instance_uid=source.header.StudyInstanceUID,
            patient_orientation=("L", "F"),  # Replaced below.
            **dicom_common.equipment(maker),
            **{**series, "sop_instance_uid": highdicom.UID(), "instance_number": number},
        )
        image.PatientOrientation = source.header.get("PatientOrientation")
        image.DerivationDescription = (
            "Grad-CAM over the image: where the model looks for "
            f"{dicom_codes.of(name).meaning}. For research only."
        )
        image.ImageComments = dicom_codes.shortened(name, 1024)
        image.SourceImageSequence = [_reference(source)]
        if "BodyPartExamined" not in source.header:
            image.Laterality = None  # Unknown; of a chest there would be none.
        dicom_common.copy(image, source.header, *_COPIED)
        dicom_common.join_study(image, source.header)
        made[name] = image
    return made


def _reference(source: Source) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.header.SOPClassUID
    item.ReferencedSOPInstanceUID = source.header.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [
        highdicom.sr.CodedConcept.from_code(dicom_codes.SOURCE_IMAGE)
    ]
    return item
