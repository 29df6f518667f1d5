"""NIfTI files become volumes in millimetres, or are refused by name."""

import gzip
import pathlib

import nibabel
import numpy as np
import pytest

from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.volumes import nifti, volume

REAL = pathlib.Path(nibabel.__file__).parent / "tests" / "data"
AFFINE = np.array([[-2.0, 0, 0, 8], [0, 2.5, 0, -9], [0, 0, 3.0, 7], [0, 0, 0, 1]])
METRES = np.diag([0.001, 0.001, 0.001, 1.0]) @ AFFINE


def _save(path, array, affine=AFFINE, **header):
    image = nibabel.Nifti1Image(array, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def test_round_trip(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    nifti.write(tmp_path / "a.nii.gz", volume.Volume(array, AFFINE), np.int16)
    found = nifti.read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_allclose(found.affine, AFFINE)
    assert nibabel.load(tmp_path / "a.nii.gz").get_data_dtype() == np.int16


def test_a_real_file_has_the_values_and_the_place_that_nibabel_reads():
    found = nifti.read(REAL / "reoriented_anat_moved.nii")
    assert found.array.shape == (21, 26, 22)
    np.testing.assert_allclose(found.grid.spacing, [4, 4, 4], rtol=1e-6)
    np.testing.assert_allclose(found.affine[:3, 3], [-35.298, -47.978, -27.599], atol=1e-3)
    assert found.grid.directions == "RAS"
    assert found.array.max() > found.array.mean() > 0


def test_a_real_file_of_another_orientation_is_the_same_brain(tmp_path):
    """The canonical copy of a real file, saved and read, lies where the file lay."""
    original = nifti.read(REAL / "anatomical.nii")
    nifti.write(tmp_path / "a.nii", volume.canonical(original), np.int16)
    again = volume.resample(nifti.read(tmp_path / "a.nii"), original.grid, 0.0)
    np.testing.assert_allclose(again.array, original.array, atol=0.01)


def test_a_volume_with_a_fourth_axis_of_one(tmp_path):
    path = _save(tmp_path / "a.nii", np.ones((2, 3, 4, 1), np.int16), sform_code=1)
    assert nifti.read(path).array.shape == (2, 3, 4)


def test_metres_become_millimetres(tmp_path):
    path = _save(tmp_path / "a.nii", np.ones((2, 3, 4), np.int16), METRES, xyzt_units=1)
    np.testing.assert_allclose(nifti.read(path).grid.spacing, [2, 2.5, 3])


def test_a_real_series_of_volumes_is_refused():
    with pytest.raises(ImageError, match=r"example4d.nii.gz: expected one volume .* 24, 2"):
        nifti.read(REAL / "example4d.nii.gz")


def test_without_orientation(tmp_path):
    image = nibabel.Nifti1Image(np.ones((2, 2, 2), np.int16), None)
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(ImageError, match="neither sform nor qform"):
        nifti.read(tmp_path / "a.nii")


def test_not_finite(tmp_path):
    array = np.ones((2, 2, 2), np.float32)
    array[0, 0, 0] = np.nan
    with pytest.raises(ImageError, match="a.nii: expected finite voxels, found 1"):
        nifti.read(_save(tmp_path / "a.nii", array))


@pytest.mark.parametrize("content", [b"", b"no volume", b"\x1f\x8b damaged"])
def test_damaged(tmp_path, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="a.nii.gz: expected a NIfTI file"):
        nifti.read(path)


def test_truncated(tmp_path):
    path = _save(tmp_path / "a.nii", np.ones((8, 8, 8), np.int16))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match="a.nii: expected a NIfTI file"):
        nifti.read(path)


def test_nothing_and_another_format(tmp_path):
    with pytest.raises(ImageError, match="found nothing"):
        nifti.read(tmp_path / "a.nii")
    with pytest.raises(ImageError, match="found Minc1Image"):
        nifti.read(REAL / "minc1_1_scale.mnc")


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), "RGB"),
        (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]), "RGBA"),
        (np.dtype(np.complex64), "complex64"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_voxels_that_are_no_real_numbers(tmp_path, dtype, found):
    path = _save(tmp_path / "a.nii", np.zeros((2, 3, 4), dtype))
    with pytest.raises(
        ImageError, match=f"a.nii: expected voxels of integers or real numbers, found {found}$"
    ):
        nifti.read(path)


@pytest.mark.parametrize("suffix", nifti.SUFFIXES)
@pytest.mark.parametrize(
    ("offset", "damage", "found"),
    [
        (123, b"\x07", "the unknown code 7"),  # Units of length and time.
        (
            42,
            b"\xff\x7f" * 3,
            r"shape .32767, 32767, 32767.",
        ),  # 32767 voxels along each axis: 70 TB.
        (42, b"\xff\xff" * 3, ""),  # -1 voxels.
        (70, b"\x99\x09", "data code 2457 not recognized"),  # The type of the voxels.
        (40, b"\x63\x00", ""),  # The number of axes.
    ],
)
def test_a_damaged_header(tmp_path, capfd, suffix, offset, damage, found):
    original = _save(tmp_path / "whole.nii", np.ones((4, 4, 4), np.int16)).read_bytes()
    damaged = original[:offset] + damage + original[offset + len(damage) :]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(damaged) if suffix.endswith("gz") else damaged)
    with pytest.raises(ImageError, match=f"a{suffix}: expected .*found:? {found}") as error:
        nifti.read(path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings("error")
def test_values_beyond_any_number(tmp_path):
    path = _save(tmp_path / "a.nii", np.full((2, 2, 2), 1e300))
    with pytest.raises(ImageError, match="a.nii: expected finite voxels, found 8"):
        nifti.read(path)


def test_find(tmp_path):
    assert nifti.find(tmp_path, "a") is None
    (tmp_path / "a.nii").touch()
    assert nifti.find(tmp_path, "a") == tmp_path / "a.nii"
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(ValueError, match="one file a"):
        nifti.find(tmp_path, "a")


@pytest.mark.parametrize("offset", [3e7, 3e38, np.inf, np.nan])
def test_a_header_that_would_fill_the_memory(tmp_path, offset):
    original = _save(tmp_path / "whole.nii", np.ones((4, 4, 4), np.int16)).read_bytes()
    damaged = original[:108] + np.float32(offset).tobytes() + original[112:]
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(damaged))
    with pytest.raises(ImageError, match="a.nii.gz: expected voxels after a header of at most"):
        nifti.read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("size", [1e-30, 1e-4, 1e4, 1e30])
def test_voxels_of_sizes_that_cannot_be(tmp_path, size):
    affine = np.diag([1.0, 1.0, size, 1.0])
    path = _save(tmp_path / "a.nii", np.ones((4, 4, 4), np.int16), affine)
    with pytest.raises(ImageError, match="a.nii: expected (voxels of 0.001 to 100 mm|three axes)"):
        nifti.read(path)
