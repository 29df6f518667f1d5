"""A Comprehensive SR of what a model says of an image, after DICOM PS3.16, TID 1500.

Measurement Report ─┬─ image library (TID 1600): the image, or the slices of the volume
                    ├─ a group (TID 1501) per finding or class: its probability, the operating
                    │  point, the call, the algorithm, the image and its Grad-CAM overlay; or
                    │  a group for a region, of an image (TID 1410) or a volume (TID 1411): its
                    │  share or its volume, and its Segmentation
                    └─ comments: the notice, warnings of the image, remarks

Its evidence is the image and every object made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any

import highdicom
from highdicom import sr
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from tffcxr.models.files import metadata
from tffcxr.prediction import dicom_codes, dicom_common
from tffcxr.prediction.answers import Answer, Row
from tffcxr.prediction.dicom_common import Maker
from tffcxr.prediction.dicom_source import Source

_SERIES = 9003
_Content = tuple[list[sr.Measurement], list[sr.QualitativeEvaluation]]


def report(
    source: Source,
    maker: Maker,
    kind: str,
    answer: Answer,
    comments: Sequence[str],
    made: Mapping[str, Dataset],
) -> sr.ComprehensiveSR:
    """Makes a preliminary, unverified report.

    Args:
      source: the image, or the slices of the volume.
      maker: the model.
      kind: of the model, one of `metadata.KINDS`.
      answer: what the model says of the image.
      comments: what the reader must know, after the warnings of the answer.
      made: by the name of a finding, class or region: the overlay or the Segmentation of it.
    """
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(
                observer_type=Code("121007", "DCM", "Device"),
                observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                    uid=uid.generate_uid(entropy_srcs=[dicom_common.MAKER, maker.digest]),
                    name=dicom_common.MAKER,
                    manufacturer_name=dicom_common.MAKER,
                    model_name=maker.model,
                    serial_number=maker.digest,
                ),
            )
        ),
        procedure_reported=_procedure(source, kind),
        imaging_measurements=[
            _group(source, maker, kind, row, made.get(row.name)) for row in answer.rows
        ],
        title=dicom_codes.REPORT,
    )
    content[0].ContentSequence.insert(-1, _library(source))  # Before the measurements.
    warnings = [f"Warning: {warning}" for warning in answer.warnings]
    for text in (*comments, *warnings, *source.remarks):
        content[0].ContentSequence.append(
            sr.TextContentItem(dicom_codes.COMMENT, text, sr.RelationshipTypeValues.CONTAINS)
        )
    written = sr.ComprehensiveSR(
        evidence=[*source.without_patient, *made.values()],
        content=content[0],
        is_complete=True,
        coding_schemes=[dicom_common.private_scheme()],
        **dicom_common.equipment(maker),
        **dicom_common.new_series(_SERIES, f"{dicom_common.MAKER} report, for research only"),
    )
    dicom_common.join_study(written, source.header)
    return written


def _library(source: Source) -> sr.ContainerContentItem:
    """The images without descriptors of them, which radiographs of archives often lack."""
    library, group = (
        sr.ContainerContentItem(name, relationship_type=sr.RelationshipTypeValues.CONTAINS)
        for name in (dicom_codes.IMAGE_LIBRARY, dicom_codes.IMAGE_LIBRARY_GROUP)
    )
    images = [_image(dicom_codes.SOURCE, header) for header in source.headers]
    group.ContentSequence = sr.ContentSequence(images)
    library.ContentSequence = sr.ContentSequence([group])
    return library


def _procedure(source: Source, kind: str) -> Code:
    if kind != metadata.VOLUMES:
        return dicom_codes.CHEST_RADIOGRAPHY
    is_pet = source.header.SOPClassUID == uid.PositronEmissionTomographyImageStorage
    return dicom_codes.PET if is_pet else dicom_codes.CT


def _group(
    source: Source, maker: Maker, kind: str, row: Row, made: Dataset | None
) -> (
    sr.MeasurementsAndQualitativeEvaluations
    | sr.PlanarROIMeasurementsAndQualitativeEvaluations
    | sr.VolumetricROIMeasurementsAndQualitativeEvaluations
):
    measured, judged = _OF_KINDS[kind](row)
    common: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(highdicom.UID(), row.name),
        "finding_type": dicom_codes.of(row.name),
        "algorithm_id": sr.AlgorithmIdentification(
            name=f"{dicom_common.MAKER}: {maker.model}",
            version=maker.version,
            parameters=[f"model {maker.digest}"],
        ),
        "measurements": measured,
        "qualitative_evaluations": judged,
    }
    reference = dicom_common.reference(source.header)
    if made is not None and kind == metadata.MASKS:
        marked = sr.ReferencedSegmentationFrame(
            made.SOPClassUID,
            made.SOPInstanceUID,
            frame_number=1,
            segment_number=1,
            source_image=sr.SourceImageForSegmentation(**reference),
        )
        # The frame says it; both are against PS3.3, table 10-3.
        del marked[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
        return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=marked, **common
        )
    if made is not None and kind == metadata.VOLUMES:
        series = sr.SourceSeriesForSegmentation(source.header.SeriesInstanceUID)
        segment = sr.ReferencedSegment(
            made.SOPClassUID, made.SOPInstanceUID, segment_number=1, source_series=series
        )
        return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=segment, **common
        )
    group = sr.MeasurementsAndQualitativeEvaluations(
        source_images=[sr.SourceImageForMeasurementGroup(**reference)], **common
    )
    if made is not None:
        group[0].ContentSequence.append(_image(dicom_codes.VISUAL_EXPLANATION, made))
    return group


def _of_finding(row: Row) -> _Content:
    measured = [_number(dicom_codes.PROBABILITY, row.number)]
    (point, _) = row.others
    if point is not None:
        measured.append(_number(dicom_codes.OPERATING_POINT, point))
    calls = {True: dicom_codes.PRESENT, False: dicom_codes.ABSENT, None: dicom_codes.NO_CALL}
    return measured, [sr.QualitativeEvaluation(dicom_codes.CALL, calls[row.is_called])]


def _of_class(row: Row) -> _Content:
    rank = dicom_codes.MOST_PROBABLE if row.is_called else dicom_codes.LESS_PROBABLE
    measured = [_number(dicom_codes.PROBABILITY, row.number)]
    return measured, [sr.QualitativeEvaluation(dicom_codes.RANK, rank)]


def _of_mask(row: Row) -> _Content:
    return [_number(dicom_codes.SHARE, row.number)], []


def _of_volume(row: Row) -> _Content:
    (share,) = row.others
    millilitres = _number(dicom_codes.VOLUME, row.number, dicom_codes.CUBIC_CENTIMETRES)
    return [millilitres, _number(dicom_codes.SHARE, share)], []


# By kind of model: the measurements and the evaluations of a row.
_OF_KINDS: Mapping[str, Callable[[Row], _Content]] = {
    metadata.FINDINGS: _of_finding,
    metadata.CLASSES: _of_class,
    metadata.MASKS: _of_mask,
    metadata.VOLUMES: _of_volume,
}


def _image(name: Code, image: Dataset) -> sr.ImageContentItem:
    return sr.ImageContentItem(
        name,
        **dicom_common.reference(image),
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )


def _number(name: Code, value: float, unit: Code = dicom_codes.NO_UNITS) -> sr.Measurement:
    """A measurement; 8 digits fit into a decimal string."""
    if not math.isfinite(value):
        raise ValueError(f"expected a number, found {value}")
    return sr.Measurement(name, float(f"{value:.8g}"), unit)
