"""A Segmentation object (DICOM PS3.3, A.51) of what a model marks, on the pixels of the image.

A radiograph is a projection: it has no position in a patient's coordinates, and often no frame of
reference. The object then has none, either; it lies on the image pixel by pixel, and refers to it.
The object of a volume has a frame for every slice, where the slice is in the patient.
"""

from __future__ import annotations

import highdicom
import numpy as np

from tffcxr.prediction import dicom_codes, dicom_common
from tffcxr.prediction.dicom_common import Maker
from tffcxr.prediction.dicom_source import Source

_SERIES = 9002


def segmentation(
    source: Source, maker: Maker, name: str, mask: np.ndarray
) -> highdicom.seg.Segmentation:
    """Makes a binary segmentation with a frame per image, also where nothing is marked.

    Args:
      source: the radiograph, or the slices of a volume.
      maker: the model.
      name: of the region.
      mask: bool [frames, rows, columns] of the images.
    """
    code = dicom_codes.of(name)
    is_organ = code in (dicom_codes.LUNG, dicom_codes.KIDNEY)
    category = dicom_codes.ANATOMY if is_organ else dicom_codes.ABNORMALITY
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=dicom_codes.shortened(name, 64),
        segmented_property_category=category,
        segmented_property_type=code,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=dicom_codes.shortened(maker.model, 64),
            family=dicom_codes.ALGORITHM_FAMILY,
            version=maker.version,
            source=dicom_common.MAKER,
            parameters={"model": maker.digest},
        ),
    )
    made = highdicom.seg.Segmentation(
        source_images=source.without_patient,
        pixel_array=mask.astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        content_label="SEGMENTATION",
        content_description=dicom_codes.shortened(f"{name}. For research only.", 64),
        omit_empty_frames=False,
        coding_schemes=[dicom_common.private_scheme()],
        **dicom_common.equipment(maker),
        **dicom_common.new_series(_SERIES, f"{name} by {dicom_common.MAKER}, for research only"),
    )
    if len(source.headers) == 1:
        made.PatientOrientation = source.header.get("PatientOrientation")
    dicom_common.join_study(made, source.header)
    return made
