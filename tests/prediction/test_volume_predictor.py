"""What is marked in a volume lies where it is, whatever the file. Models mark what is bright."""

import dataclasses

import highdicom
import numpy as np
import pydicom
import pytest
import tensorflow as tf

from tests.datasets import volume_files as volumes
from tests.models.files import exported_models
from tffcxr.clients.shards.volume_slices import SliceSpec
from tffcxr.datasets.imaging import likeness
from tffcxr.datasets.imaging.likeness import Likeness, Part
from tffcxr.datasets.volumes import dicom_series, nifti
from tffcxr.datasets.volumes.volume import Volume
from tffcxr.errors import InputError
from tffcxr.models.files import export
from tffcxr.prediction import dicom_codes, session, volume_files, volume_predictor

SIZE = 8  # Pixels of 4 mm, as in the volumes.
MILLILITRES = 2 * 3 * 2 * 4 * 4 * 5 / 1000


def _model(channels, channel, least, slices):
    """Marks pixels of which one channel is above a grey."""
    images = tf.keras.Input((SIZE, SIZE, channels))
    layer = tf.keras.layers.Conv2D(1, 1)
    logits = layer(images)
    kernel = np.zeros((1, 1, channels, 1))
    kernel[0, 0, channel] = 100.0
    layer.set_weights([kernel, np.array([-100.0 * least])])
    about = exported_models.about("volumes", image_size=SIZE, channels=channels, slices=slices)
    keras = export.with_probabilities(tf.keras.Model(images, logits), "sigmoid")
    return export.Exported(keras, about)


def _slices(**loaders):
    spec = SliceSpec(SIZE, volumes.FIELD_OF_VIEW)
    described = {"brats": dict.fromkeys(("T1", "T1ce", "T2"), "mri")}
    return {
        node: {"loader": loader, **spec.describe(described.get(loader, {loader: loader}))}
        for node, loader in loaders.items()
    }


@pytest.fixture(name="kidneys", scope="module")
def _kidneys():
    return _model(1, 0, 0.6, _slices(p="pet", c="ct"))


def _marked(array, affine):
    """Where voxels above 0 are, in mm and in order."""
    places = np.argwhere(array) @ affine[:3, :3].T + affine[:3, 3]
    return places[np.lexsort(places.T)]


def _predict(model, path, node=None):
    return volume_predictor.VolumePredictor(model, 4, node).predict(path)


@pytest.mark.parametrize("series", ["CT", "PET"])
def test_a_dicom_series_is_marked_on_its_own_grid(kidneys, tmp_path, series):
    volumes.write_petct(tmp_path, "a")
    (folder,) = volume_files.find([str(tmp_path / "a" / series)])
    answer, mask = _predict(kidneys, folder)
    assert answer.status == "ok" and mask is not None
    (row,) = answer.rows
    assert row.number == pytest.approx(MILLILITRES)
    assert row.others == (pytest.approx(12 / 384),)
    np.testing.assert_allclose(mask.affine, dicom_series.read(folder).volume.affine)
    np.testing.assert_array_equal(mask.array, volumes.region())
    assert not answer.warnings or "no air" in answer.warnings[0]


@pytest.mark.parametrize("series", ["CT", "PET"])
def test_the_objects_of_a_series_have_its_mask_voxel_for_voxel(kidneys, tmp_path, series):
    volumes.write_petct(tmp_path, "a", slices=(0, 2))
    expected = volumes.region(0, 2)
    model = tmp_path / "m.keras"
    export.save(model, kidneys)
    folder = tmp_path / "a" / series
    wanted = session.Wanted(dicom=tmp_path / "made")
    assert session.predict(model, [], [str(folder)], wanted) == []
    made = highdicom.seg.segread(
        tmp_path / "made" / f"0001_{series}_segmentation_brain-lesions.dcm"
    )
    slices = [pydicom.dcmread(file) for file in folder.iterdir()]
    first = slices[0]
    for keyword in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID"):
        assert made[keyword].value == first[keyword].value
    # By the place in the patient, and by the instances of the series.
    volume = made.get_volume(segment_numbers=[1], combine_segments=True)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    np.testing.assert_allclose(_marked(volume.array, to_ras), _marked(expected, volumes.AFFINE))
    for one in slices:
        frame = made.get_pixels_by_source_instance([one.SOPInstanceUID])[0, :, :, 0]
        number = round(one.ImagePositionPatient[2] / 5)
        np.testing.assert_array_equal(frame.T, expected[:, :, number])
    report = highdicom.sr.srread(tmp_path / "made" / f"0001_{series}_report.dcm")
    instances = {one.SOPInstanceUID for one in slices}
    assert {one[2] for one in report.get_evidence()} == {made.SOPInstanceUID, *instances}
    (group,) = report.content.get_volumetric_roi_measurement_groups()
    assert group.referenced_segment.referenced_sop_instance_uid == made.SOPInstanceUID
    size, share = group.get_measurements()
    assert (size.name, size.unit) == (dicom_codes.VOLUME, dicom_codes.CUBIC_CENTIMETRES)
    assert size.value == pytest.approx(MILLILITRES)
    assert share.value == pytest.approx(12 / 384)


def test_a_volume_without_objects_is_said_in_a_line_and_predicted(kidneys, tmp_path, capsys):
    volumes.write_petct(tmp_path, "a")
    model, path = tmp_path / "m.keras", tmp_path / "a.nii.gz"
    export.save(model, kidneys)
    nifti.write(path, Volume(np.full(volumes.SHAPE, -1000.0), volumes.AFFINE), np.int16)
    file = next((tmp_path / "a" / "CT").iterdir())
    one = pydicom.dcmread(file)
    del one.FrameOfReferenceUID
    one.save_as(file)
    wanted = session.Wanted(dicom=tmp_path / "made", node="c")
    failures = session.predict(model, [], [str(path), str(tmp_path / "a" / "CT")], wanted)
    assert failures == [
        f"--dicom: {path}: expected the folder of a DICOM series, found a file",
        f"--dicom: {file}: expected a FrameOfReferenceUID, found none",
    ]
    assert "a.nii.gz" in capsys.readouterr().out
    assert not list((tmp_path / "made").iterdir())


@pytest.mark.parametrize("flip", [False, True])
def test_a_nifti_file_is_marked_in_its_own_geometry(kidneys, tmp_path, flip):
    values, affine = 40 + 160 * volumes.region(), volumes.AFFINE.copy()
    values[0, 0] = -1000
    expected = volumes.region()
    if flip:  # The same place in the patient, with the axes in another order.
        values, expected = (array.transpose(2, 0, 1)[::-1] for array in (values, expected))
        turn = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, 5], [0, 0, 0, 1.0]])
        affine = affine @ turn
    path = tmp_path / "a.nii.gz"
    nifti.write(path, Volume(np.ascontiguousarray(values, np.float32), affine), np.int16)
    answer, mask = _predict(kidneys, path, "c")
    assert mask is not None and answer.warnings == ()
    volume_predictor.write_mask(tmp_path / "new", 7, answer, mask)
    written = nifti.read(tmp_path / "new" / "0007_a_brain-lesions.nii.gz")
    np.testing.assert_allclose(written.affine, nifti.read(path).affine)
    np.testing.assert_array_equal(written.array, expected)
    assert answer.rows[0].number == pytest.approx(MILLILITRES)


def test_a_case_of_mri_is_found_and_marked(tmp_path):
    volumes.write_mri(tmp_path / "HGG", "x", ("t1", "t1ce", "t2"))
    model = _model(3, 1, 0.6, _slices(brain="brats"))
    (case,) = volume_files.find([str(tmp_path)])
    assert case == tmp_path / "HGG" / "x"
    answer, mask = _predict(model, case)
    assert mask is not None and answer.rows[0].number == pytest.approx(MILLILITRES)
    np.testing.assert_array_equal(mask.array, volumes.region())


def test_what_lies_outside_of_the_slices_is_said(kidneys, tmp_path):
    wide = np.diag([8.0, 4.0, 5.0, 1.0])  # 64 mm across, of which 32 are looked at.
    nifti.write(tmp_path / "a.nii", Volume(np.full(volumes.SHAPE, -1000.0), wide), np.int16)
    answer, mask = _predict(kidneys, tmp_path / "a.nii", "c")
    assert mask is not None and not mask.array.any()
    assert answer.rows[0].remark == "nothing is marked"
    (warning,) = answer.warnings
    assert warning.startswith("50% of the volume lies outside of the model's 32 mm")


def test_a_volume_unlike_those_trained_on_has_a_warning(kidneys, tmp_path):
    vectors = likeness.describe(np.zeros((1, SIZE, SIZE), np.uint8))
    black = Likeness(
        50, {name: Part(one[0], np.eye(one.shape[1]), 0.1) for name, one in vectors.items()}
    )
    model = dataclasses.replace(kidneys, slice_likeness={"c": (black,)})
    for name, values in (("air", -1000.0), ("bone", 1000.0)):
        array = np.full(volumes.SHAPE, values)
        nifti.write(tmp_path / f"{name}.nii", Volume(array, volumes.AFFINE), np.int16)
    like, _ = _predict(model, tmp_path / "air.nii", "c")
    assert (like.distance, like.warnings) == (0, ())
    unlike, _ = _predict(model, tmp_path / "bone.nii", "c")
    assert unlike.distance > 1
    assert unlike.warnings[-1] == (
        f"ct unlike the training images (distance {unlike.distance:.1f}, limit 1); it looks as if "
        "its grey is inverted"
    )
    other, _ = _predict(model, tmp_path / "air.nii", "p")  # A node of too few images.
    assert np.isnan(other.distance)


@pytest.mark.parametrize(
    ("kind", "values", "warning"), [("c", (0, 400), "Hounsfield"), ("p", (0, 9000), "SUV")]
)
def test_values_in_other_units_are_marked(kidneys, tmp_path, kind, values, warning):
    array = np.full(volumes.SHAPE, values[0], np.float32)
    array[0] = values[1]
    nifti.write(tmp_path / "a.nii", Volume(array, volumes.AFFINE), np.int16)
    answer, _ = _predict(kidneys, tmp_path / "a.nii", kind)
    assert warning in answer.warnings[0]


def test_volumes_that_the_model_does_not_know_are_refused(kidneys, tmp_path):
    volumes.write_mri(tmp_path, "x", ("t1", "t1ce", "t2"))
    volumes.write_petct(tmp_path, "a")
    brain = _model(3, 1, 0.6, _slices(brain="brats"))
    (tmp_path / "b.nii").write_bytes(b"damaged")
    for model, path, node, status, message in (
        (kidneys, tmp_path / "x", None, "refused", "like those of p, c, found a case like those"),
        (kidneys, tmp_path / "x" / "x_t1.nii.gz", None, "refused", "expected --node=p or c with"),
        (kidneys, tmp_path / "none.nii", "c", "unreadable", "none.nii: expected a NIfTI file"),
        (kidneys, tmp_path / "b.nii", "c", "unreadable", "expected a NIfTI file, found"),
        (kidneys, tmp_path / "b.png", "c", "refused", "a NIfTI file or a folder, found nothing"),
        (brain, tmp_path / "a" / "CT", None, "refused", "a case of NIfTI files, found a series of"),
        (brain, tmp_path / "b.nii", None, "refused", "the folder of a case with several images"),
    ):
        answer, mask = _predict(model, path, node)
        assert (answer.status, mask) == (status, None)
        assert message in answer.error and str(path) in answer.error


def test_flags_and_models_that_do_not_fit_are_refused(kidneys, tmp_path):
    with pytest.raises(InputError, match="--node: expected p or c, found 'x'"):
        _predict(kidneys, tmp_path, "x")
    old = _model(1, 0, 0.6, {"a": {"orientation": "axial"}})
    with pytest.raises(InputError, match="one of an older version: run the study again"):
        _predict(old, tmp_path)
    with pytest.raises(InputError, match="expected DICOM series, NIfTI files or cases of MRI"):
        list(volume_files.find([str(tmp_path)]))
