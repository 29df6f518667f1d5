"""Folders of volumes become cases, and each kind of image is read in its own units."""

import numpy as np
import pydicom
import pytest

from tests.datasets import volume_files
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.phantoms import phantom_dicom
from tffcxr.datasets.volumes import case_loaders, cases, nifti
from tffcxr.datasets.volumes.cases import Channel, GreyScale
from tffcxr.datasets.volumes.volume import Volume
from tffcxr.errors import InputError

BRATS = ("t1", "t1ce", "t2", "flair")


def _names(case):
    return [channel.path.name for channel in case.channels]


class TestBrats:
    def test_cases_in_the_order_of_their_names(self, tmp_path):
        volume_files.write_mri(tmp_path / "HGG", "Brats_b", BRATS)
        volume_files.write_mri(tmp_path / "LGG", "Brats_a", BRATS)
        (tmp_path / "survival_data.csv").touch()
        first, second = case_loaders.load_cases("brats", tmp_path)
        assert (first.patient, second.patient) == ("Brats_a", "Brats_b")
        assert _names(first) == [f"Brats_a_{name}.nii.gz" for name in ("t1", "t1ce", "t2")]
        assert first.mask.name == "Brats_a_seg.nii.gz"
        assert {channel.kind for channel in first.channels} == {"mri"}

    def test_grades(self, tmp_path):
        for folder, name in (("HGG", "a"), ("LGG/more", "b"), (".", "c"), (".", "d")):
            volume_files.write_mri(tmp_path / folder, name, BRATS)
        (tmp_path / "name_mapping.csv").write_text(
            "Grade,BraTS_2019_subject_ID,BraTS_2020_subject_ID\nLGG,c,new\nHGG,NA,\n"
        )
        found = case_loaders.load_cases("brats", tmp_path)
        assert {case.patient: case.stratum for case in found} == {
            "a": "HGG",
            "b": "LGG",
            "c": "LGG",
            "d": "",
        }
        (tmp_path / "name_mapping.csv").write_text("Grade,subject_ID\nIV,c\n")
        with pytest.raises(InputError, match="a Grade of HGG or LGG"):
            case_loaders.load_cases("brats", tmp_path)

    def test_a_case_without_mask_is_left_out(self, tmp_path, caplog):
        volume_files.write_mri(tmp_path, "a", BRATS)
        volume_files.write_mri(tmp_path, "b", BRATS)
        (tmp_path / "b" / "b_seg.nii.gz").unlink()
        assert [case.patient for case in case_loaders.load_cases("brats", tmp_path)] == ["a"]
        assert "1 cases have no mask and are left out, such as b" in caplog.text

    def test_a_missing_image(self, tmp_path):
        volume_files.write_mri(tmp_path, "a", ("t1", "t1ce"))
        with pytest.raises(InputError, match=r"expected a_t2.nii.gz in .*, found none"):
            case_loaders.load_cases("brats", tmp_path)

    def test_two_cases_of_one_name(self, tmp_path):
        volume_files.write_mri(tmp_path / "HGG", "a", BRATS)
        volume_files.write_mri(tmp_path / "LGG", "a", BRATS)
        with pytest.raises(InputError, match="one case a, found"):
            case_loaders.load_cases("brats", tmp_path)

    def test_nothing(self, tmp_path):
        with pytest.raises(InputError, match=r"<case>/<case>_seg.nii.gz in .*, found 0"):
            case_loaders.load_cases("brats", tmp_path)
        with pytest.raises(InputError, match=r"brats: expected a dataset at .*nowhere"):
            case_loaders.load_cases("brats", tmp_path / "nowhere")
        with pytest.raises(InputError, match="a loader among .* found 'brat'"):
            case_loaders.load_cases("brat", tmp_path)


def test_breast(tmp_path):
    volume_files.write_mri(tmp_path / "benign", "B1", ("pre", "post", "t2"))
    (case,) = case_loaders.load_cases("breast_mri", tmp_path)
    assert _names(case) == ["B1_pre.nii.gz", "B1_post.nii.gz", "B1_t2.nii.gz"]
    assert case.stratum == "benign"
    assert [case_loaders.strata(name) for name in ("breast_mri", "ct")] == [
        ("benign", "malignant"),
        (),
    ]


class TestPetCt:
    def test_either_modality(self, tmp_path):
        for name in "ba":
            volume_files.write_petct(tmp_path, name)
        for loader, folder in (("ct", "CT"), ("pet", "PET")):
            found = case_loaders.load_cases(loader, tmp_path)
            assert [case.patient for case in found] == ["a", "b"]
            assert found[0].channels == (Channel(tmp_path / "a" / folder, loader),)

    def test_a_patient_without_the_series_or_the_mask(self, tmp_path, caplog):
        for name in "abc":
            volume_files.write_petct(tmp_path, name)
        (tmp_path / "b" / "kidneys.nii.gz").unlink()
        (tmp_path / "c" / "PET").rename(tmp_path / "c" / "other")
        assert [case.patient for case in case_loaders.load_cases("pet", tmp_path)] == ["a"]
        assert "1 patients have no mask" in caplog.text
        assert [case.patient for case in case_loaders.load_cases("ct", tmp_path)] == ["a", "c"]

    def test_nothing(self, tmp_path):
        with pytest.raises(InputError, match=r"ct: expected <patient>/CT and .* found 0"):
            case_loaders.load_cases("ct", tmp_path)


class TestRead:
    def test_hounsfield_units(self, tmp_path):
        volume_files.write_petct(tmp_path, "a")
        found = cases.read(Channel(tmp_path / "a" / "CT", "ct"))
        np.testing.assert_array_equal(found.array, 40 + 160 * volume_files.region())

    def test_suv(self, tmp_path):
        volume_files.write_petct(tmp_path, "a")
        found = cases.read(Channel(tmp_path / "a" / "PET", "pet"))
        np.testing.assert_allclose(found.array, 1 + 4 * volume_files.region(), rtol=1e-3)

    @pytest.mark.filterwarnings("error::RuntimeWarning")
    def test_an_uptake_beyond_any_number(self, tmp_path):
        volume_files.write_petct(tmp_path, "a")
        for path in (tmp_path / "a" / "PET").iterdir():
            file = pydicom.dcmread(path)
            file.RescaleSlope = "1e34"
            phantom_dicom.save(file, path)
        with pytest.raises(ImageError, match="expected a number as Rescale Slope.* found .1e34"):
            cases.read(Channel(tmp_path / "a" / "PET", "pet"))

    @pytest.mark.parametrize(
        ("keyword", "value"), [("PatientWeight", "70000"), ("RescaleIntercept", None)]
    )
    def test_a_header_that_gives_no_suv(self, tmp_path, keyword, value):
        volume_files.write_petct(tmp_path, "a")
        for path in (tmp_path / "a" / "PET").iterdir():
            file = pydicom.dcmread(path)
            setattr(file, keyword, value)
            phantom_dicom.save(file, path)
        with pytest.raises(ImageError, match=f"a/PET.*: expected .*{keyword}"):
            cases.read(Channel(tmp_path / "a" / "PET", "pet"))

    def test_the_wrong_modality(self, tmp_path):
        volume_files.write_petct(tmp_path, "a")
        with pytest.raises(InputError, match="PET: expected a series of modality CT, found PT"):
            cases.read(Channel(tmp_path / "a" / "PET", "ct"))

    def test_a_mask_of_labels(self, tmp_path):
        labels = Volume(4 * volume_files.region(), volume_files.AFFINE)
        nifti.write(tmp_path / "m.nii", labels, np.uint8)
        found = cases.read_region(tmp_path / "m.nii")
        np.testing.assert_array_equal(found.array, volume_files.region())

    def test_probabilities_are_no_mask(self, tmp_path):
        values = Volume(0.5 * volume_files.region(), volume_files.AFFINE)
        nifti.write(tmp_path / "m.nii", values, np.float32)
        with pytest.raises(
            InputError, match="m.nii: expected a mask of whole numbers .* found 0.5"
        ):
            cases.read_region(tmp_path / "m.nii")


def test_grey_scale():
    scale = GreyScale(ct_centre=0.0, ct_width=200.0, suv_maximum=5.0)
    reference = np.array([0.0, 1.0, 3.0])  # Mean 2, standard deviation 1 without the 0.
    assert scale.apply("ct", np.array([-100.0, 0.0, 100.0]), reference).tolist() == [0, 128, 255]
    assert scale.apply("pet", np.array([0.0, 1.0, 9.0]), reference).tolist() == [0, 51, 255]
    # -3 standard deviations are black and 5 are white: 2 is 3 / 8 of the way.
    assert scale.apply("mri", np.array([-1.0, 2.0, 7.0]), reference).tolist() == [0, 96, 255]


@pytest.mark.parametrize("wrong", [{"ct_width": 0.0}, {"suv_maximum": float("nan")}])
def test_no_grey_scale(wrong):
    with pytest.raises(InputError, match="above 0"):
        GreyScale(**wrong)
