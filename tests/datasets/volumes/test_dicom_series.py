"""A folder of DICOM slices becomes one volume with its place, or is refused."""

import pathlib
import shutil

import numpy as np
import pydicom
import pydicom.data
import pytest
import SimpleITK

from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.phantoms import phantom_dicom, phantom_series
from tffcxr.datasets.volumes import dicom_series, volume
from tffcxr.datasets.volumes.volume import Volume

# Rows run to the left and columns to the back, as in an axial CT of DICOM.
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -3.0, 0, 40], [0, 0, 5.0, -20], [0, 0, 0, 1]])
REAL = pathlib.Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests"


@pytest.fixture
def original():
    array = np.random.default_rng(0).integers(-1000, 1500, (4, 6, 5)).astype(np.float32)
    return Volume(array, AFFINE)


@pytest.fixture
def folder(tmp_path, original):
    phantom_series.write_ct(tmp_path / "ct", original, "p1", 1)
    return tmp_path / "ct"


def _change(path, **elements):
    file = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(file, keyword, value)
    phantom_dicom.save(file, path)


def test_round_trip(folder, original):
    found = dicom_series.read(folder)
    np.testing.assert_array_equal(found.volume.array, original.array)
    np.testing.assert_allclose(found.volume.affine, AFFINE)
    assert found.modality == "CT"
    assert [str(header.InstanceNumber) for header in found.headers] == list("12345")


def test_order_is_that_of_positions_not_of_names_or_numbers(folder, original):
    names = sorted(folder.iterdir())
    for number, path in enumerate(names):
        _change(path, InstanceNumber=str(9 - number))
        path.rename(folder / f"z{9 - number}")
    (folder / "LICENSE").write_text("not DICOM")
    found = dicom_series.read(folder)
    np.testing.assert_array_equal(found.volume.array, original.array)
    np.testing.assert_allclose(found.volume.affine, AFFINE)


def test_spacing_is_that_of_positions_not_of_thickness(folder):
    for path in folder.iterdir():
        _change(path, SliceThickness="1.0", SpacingBetweenSlices="1.0")
    np.testing.assert_allclose(dicom_series.read(folder).volume.grid.spacing, [2, 3, 5])


def test_sagittal_slices(tmp_path):
    affine = np.array([[0, 0, 4.0, -10], [-2.0, 0, 0, 20], [0, -3.0, 0, 30], [0, 0, 0, 1]])
    array = np.random.default_rng(0).integers(0, 100, (4, 6, 5)).astype(np.float32)
    phantom_series.write_ct(tmp_path / "s", Volume(array, affine), "p1", 1)
    found = volume.canonical(dicom_series.read(tmp_path / "s").volume)
    expected = volume.canonical(Volume(array, affine))
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_allclose(found.affine, expected.affine)


def test_an_oblique_series_lies_where_simpleitk_reads_it(tmp_path):
    directions = np.array([[0.8, 0.6 * 0.8, 0.36], [-0.6, 0.64, 0.48], [0, -0.6, 0.8]])
    affine = np.eye(4)
    affine[:3, :3] = directions * [1.5, 2.0, 4.0]
    affine[:3, 3] = [30.0, -20.0, 10.0]
    array = np.random.default_rng(0).integers(0, 100, (4, 6, 5)).astype(np.float32)
    phantom_series.write_ct(tmp_path / "s", Volume(array, affine), "p1", 1)
    found = dicom_series.read(tmp_path / "s").volume
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "s"))
    theirs = SimpleITK.ReadImage(names)
    np.testing.assert_array_equal(found.array, SimpleITK.GetArrayFromImage(theirs).T)
    for index in ((0, 0, 0), (3, 5, 4)):
        left, back, head = theirs.TransformIndexToPhysicalPoint(index)
        place = found.affine @ [*index, 1]
        np.testing.assert_allclose(place[:3], [-left, -back, head], atol=1e-4)


def test_every_slice_has_its_own_slope(tmp_path):
    array = np.zeros((4, 4, 3), np.float32)
    array[1, 1] = [10.0, 1000.0, 20000.0]
    phantom_series.write_pet(tmp_path / "p", Volume(array, AFFINE), "p1", 1, 70.0, 3e8, 60.0)
    found = dicom_series.read(tmp_path / "p")
    np.testing.assert_allclose(found.volume.array, array, rtol=1e-4)
    assert len({float(header.RescaleSlope) for header in found.headers}) == 3


def _real(name):
    if not (REAL / name).is_dir():
        pytest.skip("pydicom's test files are not installed")
    return REAL / name


class TestRealSeries:
    def test_a_ct(self):
        found = dicom_series.read(_real("98892001/CT5N"))
        assert found.volume.array.shape == (16, 16, 5)
        np.testing.assert_allclose(found.volume.grid.spacing, [0.488281, 0.488281, 2.5], rtol=1e-6)
        assert found.volume.grid.directions == "LPS"
        # The first pixel of the lowest slice, DICOM's (-72.2, -143, -1.2375), is to the right and
        # in front: DICOM's x and y point the other way.
        np.testing.assert_allclose(found.volume.affine[:3, 3], [72.199997, 143.0, -1.2375])
        lowest = pydicom.dcmread(_real("98892001/CT5N") / "3353")
        expected = lowest.pixel_array * lowest.RescaleSlope + lowest.RescaleIntercept
        np.testing.assert_array_equal(found.volume.array[:, :, 0], expected.T)

    def test_a_ct_with_missing_slices(self):
        with pytest.raises(ImageError, match=r"1.25 mm apart, found 202.50 mm .* are missing"):
            dicom_series.read(_real("77654033/CT2"))

    def test_projections_that_turn_around_the_patient(self):
        with pytest.raises(ImageError, match="expected an orientation of"):
            dicom_series.read(_real("98892003/MR700"))

    def test_localisers_of_several_series(self):
        with pytest.raises(ImageError, match="files of one series, found 3"):
            dicom_series.read(_real("98892003/MR1"))


class TestRefused:
    def test_missing_slice(self, folder):
        (folder / "0003.dcm").unlink()
        with pytest.raises(ImageError, match=r"5.00 mm apart, found 10.00 mm .* are missing"):
            dicom_series.read(folder)

    def test_doubled_slice(self, folder):
        shutil.copy(folder / "0002.dcm", folder / "copy.dcm")
        with pytest.raises(ImageError, match="one slice at each position"):
            dicom_series.read(folder)

    def test_two_series(self, folder):
        _change(folder / "0002.dcm", SeriesInstanceUID="1.2.3")
        with pytest.raises(ImageError, match="files of one series, found 2"):
            dicom_series.read(folder)

    def test_one_slice(self, folder):
        for path in sorted(folder.iterdir())[1:]:
            path.unlink()
        with pytest.raises(ImageError, match="two or more slices, found 1"):
            dicom_series.read(folder)

    def test_no_folder(self, tmp_path):
        with pytest.raises(ImageError, match="two or more slices, found 0"):
            dicom_series.read(tmp_path / "nothing")

    def test_another_spacing(self, folder):
        _change(folder / "0002.dcm", PixelSpacing=["3", "2.5"])
        with pytest.raises(ImageError, match="0002.dcm: expected a pixel spacing of"):
            dicom_series.read(folder)

    def test_another_size(self, folder):
        _change(folder / "0002.dcm", Rows=4, Columns=6)
        with pytest.raises(ImageError, match="0002.dcm: expected a size of"):
            dicom_series.read(folder)

    def test_a_slice_beside_the_stack(self, folder):
        file = pydicom.dcmread(folder / "0003.dcm")
        moved = [float(file.ImagePositionPatient[0]) + 9, *file.ImagePositionPatient[1:]]
        _change(folder / "0003.dcm", ImagePositionPatient=moved)
        with pytest.raises(ImageError, match="0003.dcm: expected a slice in line"):
            dicom_series.read(folder)

    @pytest.mark.parametrize("missing", ["ImagePositionPatient", "PixelSpacing"])
    def test_no_place(self, folder, missing):
        _change(folder / "0001.dcm", **{missing: None})
        with pytest.raises(ImageError, match=f"0001.dcm: expected a slice with {missing}"):
            dicom_series.read(folder)

    def test_truncated(self, folder):
        path = folder / "0004.dcm"
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ImageError, match="0004.dcm: expected"):
            dicom_series.read(folder)

    @pytest.mark.parametrize("length", [0, 100, 131])
    @pytest.mark.parametrize("name", ["0001", "0003", "0005"])
    def test_an_emptied_slice_is_not_passed_over(self, folder, name, length):
        path = folder / f"{name}.dcm"
        path.write_bytes(path.read_bytes()[:length])
        found = "an empty file" if length == 0 else ".*truncated|another or a damaged one"
        with pytest.raises(ImageError, match=f"{name}.dcm: expected a DICOM file, found ({found})"):
            dicom_series.read(folder)

    def test_an_empty_file_without_ending(self, folder):
        for path in sorted(folder.iterdir()):
            path.rename(path.with_suffix(""))
        (folder / "0005").write_bytes(b"")
        with pytest.raises(ImageError, match="0005: expected a DICOM file, found an empty file"):
            dicom_series.read(folder)

    @pytest.mark.parametrize("name", ["0005.dcm", "more.DCM"])
    def test_another_format_of_the_name_of_a_slice(self, folder, name):
        (folder / name).write_text("no slice")
        with pytest.raises(ImageError, match=f"{name}: expected a DICOM file, found another"):
            dicom_series.read(folder)

    def test_a_file_cut_anywhere_is_called_truncated(self, folder):
        path = folder / "0005.dcm"
        data = path.read_bytes()
        for other in sorted(folder.iterdir())[1:-1]:
            other.unlink()  # One slice beside it will do, and two are read faster than five.
        for length in range(132, len(data)):
            path.write_bytes(data[:length])
            with pytest.raises(ImageError, match="0005.dcm: expected .*truncated") as found:
                dicom_series.read(folder)
            assert "\n" not in str(found.value)

    @pytest.mark.parametrize("slope", ["1e300", "-1e300", "1e308", "inf", "nan"])
    @pytest.mark.filterwarnings("error::RuntimeWarning")
    def test_values_beyond_any_number(self, folder, slope):
        _change(folder / "0003.dcm", RescaleSlope=slope)
        with pytest.raises(ImageError, match="ct/0003.dcm: expected a number as Rescale Slope"):
            dicom_series.read(folder)

    @pytest.mark.filterwarnings("error::RuntimeWarning")
    @pytest.mark.parametrize(
        ("element", "value", "expected"),
        [
            ("PixelSpacing", ["1e-320", "1"], "Pixel Spacing from 0.001 to 100 mm"),
            ("PixelSpacing", ["0.01", "1"], "Pixel Spacing of pixels at most 10 times"),
            ("PixelSpacing", ["inf", "1"], "a number as Pixel Spacing"),
            ("ImagePositionPatient", ["nan", "0", "0"], "a number as Image Position"),
            ("ImagePositionPatient", ["1e9", "0", "0"], "a position of at most 100000 mm"),
            ("ImagePositionPatient", ["1", "0"], "3 numbers as Image Position"),
            ("ImageOrientationPatient", ["inf"] * 6, "a number as Image Orientation"),
        ],
    )
    @pytest.mark.filterwarnings("error::RuntimeWarning")
    def test_a_place_that_is_none(self, folder, element, value, expected):
        for path in folder.iterdir():
            _change(path, **{element: value})
        with pytest.raises(ImageError, match=f"ct/....\\.dcm: expected {expected}.*, found"):
            dicom_series.read(folder)

    def test_slices_too_far_apart(self, folder):
        for number, path in enumerate(sorted(folder.iterdir())):
            _change(path, ImagePositionPatient=["0", "0", str(2000 * number)])
        with pytest.raises(
            ImageError, match="ct: expected slices at most 100 mm apart, found 2000"
        ):
            dicom_series.read(folder)


class TestUnits:
    """Stored numbers are Hounsfield units or Bq/ml only where the header says how."""

    @pytest.mark.parametrize("missing", ["RescaleSlope", "RescaleIntercept"])
    @pytest.mark.parametrize("modality", ["CT", "PT"])
    def test_no_rescale(self, folder, modality, missing):
        for path in folder.iterdir():
            _change(path, Modality=modality)
        _change(folder / "0002.dcm", **{missing: None})
        with pytest.raises(
            ImageError, match=f"0002.dcm: expected .* of modality {modality}, found no {missing}$"
        ):
            dicom_series.read(folder)

    def test_neither(self, folder):
        file = pydicom.dcmread(folder / "0001.dcm")
        del file.RescaleSlope, file.RescaleIntercept
        phantom_dicom.save(file, folder / "0001.dcm")
        with pytest.raises(ImageError, match="found no RescaleSlope and no RescaleIntercept"):
            dicom_series.read(folder)

    def test_mri_has_no_unit(self, folder):
        for path in folder.iterdir():
            _change(path, Modality="MR", RescaleSlope=None, RescaleIntercept=None)
        assert dicom_series.read(folder).modality == "MR"

    def test_a_lookup_table_will_do(self, folder, original):
        for path in folder.iterdir():
            file = pydicom.dcmread(path)
            table = pydicom.dataset.Dataset()
            table.LUTDescriptor, table.LUTData = [2, 0, 16], bytes([7, 0, 7, 0])
            file["ModalityLUTSequence"] = pydicom.DataElement("ModalityLUTSequence", "SQ", [table])
            del file.RescaleSlope, file.RescaleIntercept
            phantom_dicom.save(file, path)
        assert (dicom_series.read(folder).volume.array == 7).all()
