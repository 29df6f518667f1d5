"""Objects that highdicom reads back are in the patient's study and say what the model says."""

from __future__ import annotations

import json
import pathlib

import highdicom
import numpy as np
from PIL import Image
import pydicom
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ComputedRadiographyImageStorage
import pytest

from tests.datasets import dicom_files
from tests.models.files import exported_models
from tffcxr.datasets.findings import NIH
from tffcxr.models.files import export, metadata
from tffcxr.prediction import answers, dicom_codes, overlays, predictor, reading, session
from tffcxr.prediction.dicom_objects import DicomObjects

STUDY = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Yamada^Tarou=山田^太郎",
    "PatientID": "0042",
    "PatientSex": "F",
    "PatientBirthDate": "19500102",
    "StudyInstanceUID": "1.2.3.4",
    "SeriesInstanceUID": "1.2.3.4.5",
    "StudyDate": "20200304",
    "StudyID": "S7",
    "AccessionNumber": "A9",
    "Modality": "CR",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "SOPClassUID": ComputedRadiographyImageStorage,
}
NOTICE = "Only for this test."


def _image(path: pathlib.Path, shape=(24, 20), **others):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    made = dicom_files.dataset(pixels)
    for keyword, value in {**STUDY, **others}.items():
        setattr(made, keyword, value)
        if value is None:
            delattr(made, keyword)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    path.write_bytes(dicom_files.to_bytes(made))
    return path


def _written(tmp_path, exported, *paths, folder="made"):
    """Runs the model on files; returns what wrote the objects and what was predicted."""
    model = tmp_path / "m.keras"
    model.write_bytes(b"a model")
    about = exported.metadata
    explainer = None if about.marks_pixels else overlays.Explainer(exported)
    writer = DicomObjects(tmp_path / folder, model, about, explainer, [NOTICE])
    how = reading.Reading(predictor.expected_of(exported), "pad", keep_pictures=True)
    images = reading.read_all([str(path) for path in paths], how)
    found = list(predictor.Predictor(exported, 4).predict(images))
    for number, one in enumerate(found, 1):
        writer.write(number, one)
    return writer, found


def _objects(folder):
    return {path.name: pydicom.dcmread(path) for path in sorted(folder.iterdir())}


def _library(report):
    """The groups of images of a report's image library."""
    (library,) = report.content[0].ContentSequence.find(dicom_codes.IMAGE_LIBRARY)
    return [group.ContentSequence for group in library.ContentSequence]


def _shown(items, meaning):
    """The instances that items of a name refer to."""
    return [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in items
        if item.ConceptNameCodeSequence[0].CodeMeaning == meaning
    ]


def _texts(content):
    """The texts of all items below one."""
    below = [text for item in content.get("ContentSequence", ()) for text in _texts(item)]
    return [content.TextValue, *below] if "TextValue" in content else below


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """The objects of a model that calls Lung Opacity and has no operating point for the other."""
    folder = tmp_path_factory.mktemp("findings")
    exported = exported_models.exported(metadata.FINDINGS, operating_points={"Lung Opacity": 0.0})
    path = _image(folder / "a.dcm", PresentationIntentType="FOR PROCESSING")
    return folder / "made", exported, _written(folder, exported, path)


def test_every_object_is_a_new_series_in_the_study_of_the_patient(findings):
    folder, _, (writer, _) = findings
    made = _objects(folder)
    assert list(made) == [
        "0001_a_heat_lung-opacity.dcm",
        "0001_a_heat_pneumothorax.dcm",
        "0001_a_report.dcm",
    ]
    for content in made.values():
        for keyword in ("PatientID", "PatientSex", "PatientBirthDate", "StudyInstanceUID"):
            assert content[keyword].value == STUDY[keyword]
        for keyword in ("StudyDate", "StudyID", "AccessionNumber"):
            assert content[keyword].value == STUDY[keyword]
        assert str(content.PatientName) == STUDY["PatientName"]
        assert (content.StudyTime, content.ReferringPhysicianName) == ("", "")
        assert content.SeriesDescription.endswith("for research only")
    assert len({content.SOPInstanceUID for content in made.values()} | {"1.2.3"}) == 4
    # The pictures are of one series.
    assert len({content.SeriesInstanceUID for content in made.values()} | {"1.2.3.4.5"}) == 3
    assert writer.failures == []
    assert writer.remarks == [f"3 DICOM objects of 1 files in {folder}."]


def test_the_report_has_probabilities_points_and_calls(findings):
    folder, _, (_, (predicted,)) = findings
    report = highdicom.sr.srread(folder / "0001_a_report.dcm")
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    opacity, other = report.content.get_image_measurement_groups()
    first, second = predicted.answer.rows
    probability, point = opacity.get_measurements()
    assert opacity.finding_type == dicom_codes.of("Lung Opacity")
    assert probability.name == dicom_codes.PROBABILITY
    assert probability.unit == dicom_codes.NO_UNITS
    assert probability.value == pytest.approx(first.number, abs=1e-7)
    assert (point.name, point.value) == (dicom_codes.OPERATING_POINT, 0.0)
    (call,) = opacity.get_qualitative_evaluations()
    assert (call.name, call.value) == (dicom_codes.CALL, dicom_codes.PRESENT)
    (alone,) = other.get_measurements()
    assert alone.value == pytest.approx(second.number, abs=1e-7)
    assert other.get_qualitative_evaluations()[0].value == dicom_codes.NO_CALL
    (image,) = opacity.source_images
    assert image.referenced_sop_instance_uid == "1.2.3"
    assert image.referenced_sop_class_uid == ComputedRadiographyImageStorage
    texts = _texts(report)
    assert NOTICE in texts
    assert any(text.startswith("Warning: raw pixels for processing") for text in texts)


def test_the_algorithm_is_named_with_the_model_that_was_used(findings):
    folder, _, _ = findings
    made = pydicom.dcmread(folder / "0001_a_report.dcm")
    # sha256 of b"a model", its first 16 digits.
    assert made.DeviceSerialNumber == "97ff8a35544dcf40"
    assert made.ManufacturerModelName == "tiny standard"
    texts = _texts(made)
    assert texts.count("tffcxr: tiny standard") == 2  # Of each group.
    assert texts.count("model 97ff8a35544dcf40") == 2


def test_pictures_are_those_of_the_heat_maps(findings, tmp_path):
    folder, exported, (_, (predicted,)) = findings
    overlays.HeatMaps(tmp_path, overlays.Explainer(exported)).write(1, predicted)
    for name in ("lung-opacity", "pneumothorax"):
        capture = pydicom.dcmread(folder / f"0001_a_heat_{name}.dcm")
        with Image.open(tmp_path / f"0001_a_{name}.png") as image:
            np.testing.assert_array_equal(capture.pixel_array, np.asarray(image.convert("RGB")))
        (source,) = capture.SourceImageSequence
        assert source.ReferencedSOPInstanceUID == "1.2.3"


def test_the_report_refers_to_the_image_and_to_the_pictures(findings):
    folder, _, _ = findings
    made = _objects(folder)
    report = highdicom.sr.srread(folder / "0001_a_report.dcm")
    pictures = [made[f"0001_a_heat_{name}.dcm"] for name in ("lung-opacity", "pneumothorax")]
    evidence = [
        ("1.2.3.4", one.SeriesInstanceUID, one.SOPInstanceUID, one.SOPClassUID) for one in pictures
    ]
    image = ("1.2.3.4", "1.2.3.4.5", "1.2.3", ComputedRadiographyImageStorage)
    assert sorted(report.get_evidence(current_procedure_only=True)) == sorted([image, *evidence])
    assert [_shown(content, "Source") for content in _library(report)] == [["1.2.3"]]
    for group, picture in zip(report.content.get_image_measurement_groups(), pictures):
        assert _shown(group[0].ContentSequence, "Visual explanation") == [picture.SOPInstanceUID]


def test_heat_is_computed_once_for_pictures_and_objects(tmp_path, monkeypatch, capsys):
    why = {"calibration": "none", "calibration_remark": "expected 10, found 2"}
    exported = exported_models.exported(
        metadata.FINDINGS,
        calibration={"Lung Opacity": why, "Pneumothorax": {"calibration": "platt"}},
    )
    model = tmp_path / "m.keras"
    export.save(model, exported)
    _image(tmp_path / "a.dcm")
    counted: list[int] = []
    compute = overlays.gradcam.grad_cam

    def counting(*given, **others):
        counted.append(1)
        return compute(*given, **others)

    monkeypatch.setattr(overlays.gradcam, "grad_cam", counting)
    wanted = session.Wanted(
        heatmaps=tmp_path / "heat", dicom=tmp_path / "made", json=tmp_path / "a.json"
    )
    assert session.predict(model, [], [str(tmp_path / "a.dcm")], wanted) == []
    assert len(counted) == len(list((tmp_path / "heat").iterdir())) == 2
    assert len(list((tmp_path / "made").iterdir())) == 3
    # Terminal, JSON and report say which scores are no probabilities, and why.
    remark = answers.not_calibrated(exported.metadata)
    assert remark.endswith("no probabilities: Lung Opacity (expected 10, found 2).")
    printed = capsys.readouterr().out.splitlines()
    assert remark in printed and printed[0].split()[:3] == ["file", "finding", "score"]
    written = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert remark in written["notice"] and set(written["files"][0]["answers"][0]) >= {"probability"}
    assert written["model"]["calibration"]["Lung Opacity"] == why
    assert remark in _texts(pydicom.dcmread(tmp_path / "made" / "0001_a_report.dcm"))


def test_scores_are_probabilities_if_all_are_calibrated_or_they_are_of_pixels():
    how = dict.fromkeys(exported_models.FINDINGS, {"calibration": "temperature"})
    assert answers.not_calibrated(exported_models.about(metadata.FINDINGS, calibration=how)) == ""
    assert answers.not_calibrated(exported_models.about(metadata.MASKS)) == ""
    # Of models that say nothing: they are of versions that did not calibrate.
    assert answers.not_calibrated(exported_models.about(metadata.CLASSES)).endswith(
        ": Normal, Pneumonia, COVID-19."
    )


@pytest.mark.parametrize("part", ["CHEST", None])
def test_a_picture_has_an_unknown_side_only_of_an_unknown_part_of_the_body(tmp_path, part):
    exported = exported_models.exported(metadata.FINDINGS)
    _written(tmp_path, exported, _image(tmp_path / "a.dcm", BodyPartExamined=part))
    capture = pydicom.dcmread(tmp_path / "made" / "0001_a_heat_pneumothorax.dcm")
    assert capture.get("BodyPartExamined") == part
    assert ("Laterality" in capture) == (part is None)


def test_what_is_not_called_is_absent_and_has_no_picture(tmp_path):
    points = dict.fromkeys(exported_models.FINDINGS, 1.0)
    exported = exported_models.exported(metadata.FINDINGS, operating_points=points)
    _written(tmp_path, exported, _image(tmp_path / "a.dcm"))
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["0001_a_report.dcm"]
    report = highdicom.sr.srread(tmp_path / "made" / "0001_a_report.dcm")
    for group in report.content.get_image_measurement_groups():
        assert group.get_qualitative_evaluations()[0].value == dicom_codes.ABSENT


def test_one_class_is_the_most_probable(tmp_path):
    exported = exported_models.exported(metadata.CLASSES, seed=1)
    _, (predicted,) = _written(tmp_path, exported, _image(tmp_path / "a.dcm"))
    report = highdicom.sr.srread(tmp_path / "made" / "0001_a_report.dcm")
    groups = report.content.get_image_measurement_groups()
    ranks = [group.get_qualitative_evaluations()[0].value for group in groups]
    expected = [
        dicom_codes.MOST_PROBABLE if row.is_called else dicom_codes.LESS_PROBABLE
        for row in predicted.answer.rows
    ]
    assert ranks == expected and ranks.count(dicom_codes.MOST_PROBABLE) == 1


@pytest.mark.parametrize(
    "others",
    [
        {},
        # Rows twice as far apart as columns: the image is resampled, the mask is not.
        {"PixelSpacing": [0.4, 0.2]},
        {"FrameOfReferenceUID": "1.2.3.9"},
    ],
)
def test_a_segmentation_has_the_rows_and_columns_of_the_image(tmp_path, others):
    exported = exported_models.exported(metadata.MASKS, seed=1, threshold=0.5)
    _, (predicted,) = _written(tmp_path, exported, _image(tmp_path / "a.dcm", **others))
    made = highdicom.seg.segread(tmp_path / "made" / "0001_a_segmentation_lungs.dcm")
    assert predicted.mask is not None and 0 < predicted.mask.mean() < 1
    pixels = made.get_pixels_by_source_instance(["1.2.3"])  # [1, H, W, 1]
    np.testing.assert_array_equal(pixels[0, :, :, 0], predicted.mask)
    assert made.SegmentationType == "BINARY"
    assert made.get("FrameOfReferenceUID") == others.get("FrameOfReferenceUID")
    assert str(made.PatientName) == STUDY["PatientName"]
    assert made.StudyInstanceUID == STUDY["StudyInstanceUID"]
    segment = made.get_segment_description(1)
    assert segment.segmented_property_type == dicom_codes.LUNG
    assert segment.segmented_property_category == dicom_codes.ANATOMY
    report = highdicom.sr.srread(tmp_path / "made" / "0001_a_report.dcm")
    assert (made.SOPInstanceUID, made.SOPClassUID) in [one[2:] for one in report.get_evidence()]
    (group,) = report.content.get_planar_roi_measurement_groups()
    marked = group.referenced_segmentation_frame
    assert marked.referenced_sop_instance_uid == made.SOPInstanceUID
    assert (marked.referenced_segment_numbers, marked.referenced_frame_numbers) == (None, [1])
    (share,) = group.get_measurements()
    assert share.name == dicom_codes.SHARE
    assert share.value == pytest.approx(predicted.answer.rows[0].number, abs=1e-7)


def test_a_mask_in_which_nothing_is_marked_is_a_segmentation(tmp_path):
    exported = exported_models.exported(metadata.MASKS, threshold=1 - 1e-9)
    _written(tmp_path, exported, _image(tmp_path / "a.dcm"))
    made = highdicom.seg.segread(tmp_path / "made" / "0001_a_segmentation_lungs.dcm")
    assert made.pixel_array.shape == (24, 20) and not made.pixel_array.any()


def test_values_against_the_rules_are_copied_and_not_shown(tmp_path, recwarn, caplog):
    odd = {"PatientSex": "Female", "PatientName": "no caret", "StudyDate": "2020.03.04"}
    with pytest.warns(UserWarning):  # From the test's own making of the file.
        path = _image(tmp_path / "a.dcm", SpecificCharacterSet="ISO_IR 100", **odd)
    recwarn.clear()
    _written(tmp_path, exported_models.exported(metadata.MASKS), path)
    assert not [str(one.message) for one in recwarn if "Invalid value" in str(one.message)]
    assert "caret" not in caplog.text
    for made in _objects(tmp_path / "made").values():
        assert (made.PatientSex, str(made.PatientName)) == ("Female", "no caret")


def test_an_image_without_a_study_gets_one_that_is_the_same_every_time(tmp_path):
    path = _image(tmp_path / "a.dcm", StudyInstanceUID=None, SeriesInstanceUID=None)
    exported = exported_models.exported(metadata.MASKS, seed=1)
    studies, instances = set(), set()
    for folder in ("one", "two"):
        writer, _ = _written(tmp_path, exported, path, folder=folder)
        assert "1 of these files have no UID of a study or a series" in writer.remarks[1]
        made = _objects(tmp_path / folder)
        (*_, text) = _texts(made["0001_a_report.dcm"])
        assert text.startswith("The image has no StudyInstanceUID and no SeriesInstanceUID")
        studies |= {content.StudyInstanceUID for content in made.values()}
        instances |= {content.SOPInstanceUID for content in made.values()}
    assert len(studies) == 1 and len(instances) == 4


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # Of the test's own file.
def test_what_has_no_objects_is_said_in_a_line_and_predicted(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    paths = (
        tmp_path / "a.png",
        _image(tmp_path / "b.dcm", SOPInstanceUID=None),
        _image(tmp_path / "c.dcm", SOPClassUID=pydicom.uid.CTImageStorage),
        _image(tmp_path / "d.dcm", StudyInstanceUID="1.2.x"),
    )
    writer, found = _written(tmp_path, exported_models.exported(metadata.MASKS), *paths)
    assert [one.answer.status for one in found] == ["ok"] * 4
    assert writer.failures == [
        f"--dicom: {paths[0]}: expected a DICOM file, found another one",
        f"--dicom: {paths[1]}: expected a SOPInstanceUID, by which objects refer to the image, "
        "found none",
        f"--dicom: {paths[2]}: expected a radiograph (CR, DX, RF or Secondary Capture), found CT "
        "Image Storage",
        f"--dicom: {paths[3]}: expected a UID as StudyInstanceUID, found 1.2.x",
    ]
    assert not list((tmp_path / "made").iterdir())


# What DICOM's tables lack: value to name in SNOMED CT, without "(disorder)" or "(procedure)".
_OF_SNOMED = {
    "46621007": "Atelectasis",
    "840539006": "Disease caused by SARS-CoV-2",
    "8186001": "Cardiomegaly",
    "95436008": "Lung consolidation",
    "87433001": "Pulmonary emphysema",
    "233604007": "Pneumonia",
    "56717001": "Tuberculosis",
    "399208008": "Plain chest X-ray",
    "82918005": "Positron emission tomography",
    "260753009": "Source",
}


def test_standard_codes_mean_what_dicom_and_snomed_say():
    named = [code for code in vars(dicom_codes).values() if isinstance(code, Code)]
    findings = {
        name: dicom_codes.of(name)
        for name in (*NIH, "Lung Opacity", "Lungs", "COVID-19", "Tuberculosis")
    }
    tables = {"DCM": codes.DCM, "SCT": codes.SCT, "UCUM": codes.UCUM}
    known = {
        (scheme, code.value, code.meaning.casefold())
        for scheme, table in tables.items()
        for code in table.concepts.values()
    }
    standard = [code for code in (*named, *findings.values()) if code.scheme_designator in tables]
    assert len(standard) > 25
    for code in standard:
        listed = (code.scheme_designator, code.value, code.meaning.casefold()) in known
        assert listed or _OF_SNOMED[code.value] == code.meaning
    # Of these findings, no code says what the data sets mean.
    private = {name for name, code in findings.items() if code not in standard}
    assert private == {"Hernia", "Pleural Thickening"}


def test_codes_are_short_and_differ():
    names = ("Röntgen sign", "Rntgen sign", "Atelectasis of the left lobe", "R ntgen sign",
             "Atelectasis of the right lobe", "Hernia", "x" * 80)  # fmt: skip
    codes = [dicom_codes.of(name) for name in names]
    assert len({code.value for code in codes}) == len(names)
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 for code in codes)
    assert {code.scheme_designator for code in codes} == {dicom_codes.SCHEME}
    assert dicom_codes.of("Pneumothorax").value == "36118008"
