"""Reading by content, and fitting images and masks to a square alike."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import PIL.Image
import pytest

from tests import real_data
from tests.datasets import dicom_files
from tffcxr import options
from tffcxr.datasets import limits
from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError


def _write(path, data):
    path.write_bytes(data)
    return path


def test_content_decides_not_the_name(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.dcm")
    dicom = _write(tmp_path / "b.png", dicom_files.to_bytes(dicom_files.dataset(pixels)))
    for path in (tmp_path / "a.dcm", dicom, str(dicom)):
        found = images.read_image(path)
        assert found.shape == (3, 4, 1)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found[:, :, 0], pixels)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"patientId,x,y\n1,2,3\n", "a text file that starts with 'patientId,x,y 1,2,3'"),
        (b"", "an empty file"),
        (b"\x00\x01\x02\xff" * 50, "a file that starts with the bytes 00 01 02 ff"),
        (b"BM" + bytes(60), "a file that starts with the bytes 42 4d 00"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, data, found):
    path = _write(tmp_path / "x.dcm", data)
    with pytest.raises(images.ImageError) as error:
        images.read_image(path)
    assert str(error.value).startswith(f"{path}: expected a DICOM, PNG or JPEG file, found {found}")
    assert "\n" not in str(error.value)
    assert isinstance(error.value, InputError)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(images.ImageError, match="No such file"):
        images.read_image(tmp_path / "absent.dcm")
    with pytest.raises(images.ImageError, match="Is a directory"):
        images.read_image(tmp_path)


def test_damage_is_reported_with_the_path(tmp_path):
    data = dicom_files.to_bytes(dicom_files.dataset(np.zeros((8, 8), np.uint16)))
    path = _write(tmp_path / "cut.dcm", data[:-20])
    with pytest.raises(images.ImageError, match="cut.dcm: expected 128 bytes of pixel data"):
        images.read_image(path)


def test_a_slice_of_a_volume_has_its_channels(tmp_path):
    slices = np.arange(48, dtype=np.uint8).reshape(2, 3, 4, 2)
    np.save(tmp_path / "a.npy", slices)
    np.testing.assert_array_equal(images.read_image(f"{tmp_path}/a.npy#1"), slices[1])


@pytest.mark.parametrize(
    ("array", "index", "reason"),
    [
        (np.zeros((2, 3, 4, 1), np.uint8), "2", "index from 0 to 1, found '2'"),
        (np.zeros((2, 3, 4, 1), np.uint8), "-1", "index from 0 to 1, found '-1'"),
        (
            np.zeros((2, 3, 4), np.uint8),
            "0",
            r"slices uint8 \[N, H, W, C\], found uint8 \[2, 3, 4\]",
        ),
        (np.zeros((2, 3, 4, 1), np.float32), "0", "found float32"),
    ],
)
def test_what_is_no_slice_is_refused(tmp_path, array, index, reason):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(images.ImageError, match=f"a.npy#{index}: expected.*{reason}"):
        images.read_image(f"{tmp_path}/a.npy#{index}")


def test_a_damaged_file_of_slices_is_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"no slices")
    with pytest.raises(images.ImageError, match="a.npy#0: expected an intact .npy file"):
        images.read_image(f"{tmp_path}/a.npy#0")


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_every_channel_is_fitted_like_an_image_of_its_own(fit):
    image = np.random.default_rng(0).integers(0, 256, (20, 9, 3), dtype=np.uint8)
    found = images.fit_to_square(image, 12, fit)
    for channel in range(3):
        np.testing.assert_array_equal(
            found[..., channel], images.fit_to_square(image[..., channel], 12, fit)
        )


@pytest.mark.parametrize(("spacing", "shape"), [([0.2, 0.1], (8, 4)), ([0.1, 0.3], (4, 12))])
def test_pixels_that_are_not_square_are_made_square(tmp_path, spacing, shape):
    made = dicom_files.dataset(np.full((4, 4), 77, np.uint8), PixelSpacing=spacing)
    found = images.read_image(_write(tmp_path / "x.dcm", dicom_files.to_bytes(made)))
    assert found.shape == (*shape, 1)
    assert (found == 77).all()


def test_npz(tmp_path):
    arrays = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.savez_compressed(tmp_path / "a.npz", plain=arrays, channel=arrays[..., np.newaxis])
    for name in ("plain", "channel"):
        found = images.read_image(f"{tmp_path}/a.npz#{name}/1")
        np.testing.assert_array_equal(found[:, :, 0], arrays[1])


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("other/0", "an array named 'other', found grey, wide"),
        ("grey/2", "an index from 0 to 1 after grey/, found '2'"),
        ("grey/-1", "an index from 0 to 1"),
        ("wide/0", "found float64"),
    ],
)
def test_npz_places_that_are_not_there(tmp_path, place, reason):
    np.savez(tmp_path / "a.npz", grey=np.zeros((2, 3, 3), np.uint8), wide=np.zeros((2, 3, 3)))
    with pytest.raises(images.ImageError, match=reason):
        images.read_image(f"{tmp_path}/a.npz#{place}")


def test_npz_that_is_none(tmp_path):
    _write(tmp_path / "a.npz", b"PK\x03\x04 no")
    with pytest.raises(images.ImageError, match="intact .npz file"):
        images.read_image(f"{tmp_path}/a.npz#x/0")


def test_changed_npz_is_read_again(tmp_path):
    path = tmp_path / "a.npz"
    for value in (1, 2):
        np.savez(path, x=np.full((1, 2, 2), value, np.uint8))
        os.utime(path, ns=(value, value))
        assert images.read_image(f"{path}#x/0").max() == value


def test_shrinking_averages_areas():
    image = np.array([[0, 100, 8, 8], [100, 200, 8, 8]] * 2, np.uint8)  # [4, 4]
    assert images.fit_to_square(image, 2).tolist() == [[100, 8], [100, 8]]


def test_no_aliasing_when_one_axis_shrinks_and_the_other_grows():
    stripes = np.tile(np.array([0, 200], np.uint8), 50)[np.newaxis]  # [1, 100]
    found = images.fit_to_square(stripes, 10, "stretch")
    assert found.shape == (10, 10)
    assert (found == 100).all()


def test_pad_keeps_proportions_and_centres_on_black():
    found = images.fit_to_square(np.full((2, 4), 9, np.uint8), 4)
    assert found.tolist() == [[0] * 4, [9] * 4, [9] * 4, [0] * 4]


def test_stretch_fills_the_square():
    assert (images.fit_to_square(np.full((2, 4), 9, np.uint8), 4, "stretch") == 9).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("trailing", [(), (1,)])
@pytest.mark.parametrize("size", [1, 5, 40])
def test_type_and_rank_are_kept(dtype, trailing, size):
    found = images.fit_to_square(np.ones((7, 11, *trailing), dtype), size)
    assert found.shape == (size, size, *trailing)
    assert found.dtype == dtype
    assert found.max() == pytest.approx(1, abs=1e-6)


def test_mask_keeps_its_values_and_type():
    mask = np.zeros((9, 13), bool)
    mask[3:6, 4:9] = True
    found = images.fit_to_square(mask, 30, is_mask=True)
    assert found.dtype == bool
    labels = np.random.default_rng(0).integers(0, 3, (17, 10)).astype(np.int32)
    assert set(np.unique(images.fit_to_square(labels, 7, is_mask=True))) <= {0, 1, 2}


def test_identity():
    image = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
    np.testing.assert_array_equal(images.fit_to_square(image, 16), image)
    np.testing.assert_array_equal(images.fit_to_square(image, 16, is_mask=True), image)


@pytest.mark.parametrize("shape", [(100, 100), (90, 130), (200, 70), (20, 30)])
@pytest.mark.parametrize("fit", options.FITS)
def test_mask_lies_where_the_image_does(shape, fit):
    """The centre of mass of a bright disc is that of its mask, to a quarter of a pixel."""
    y, x = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, np.newaxis, np.newaxis]
    disc = (y - 0.4) ** 2 + (x - 0.65) ** 2 < 0.05
    image = images.fit_to_square((disc * 255).astype(np.uint8), 64, fit).astype(float)
    mask = images.fit_to_square(disc, 64, fit, is_mask=True).astype(float)
    rows, columns = np.mgrid[:64, :64]
    for axis in (rows, columns):
        centre = (image * axis).sum() / image.sum()
        assert centre == pytest.approx((mask * axis).sum() / mask.sum(), abs=0.25)


@pytest.mark.parametrize(
    ("array", "size", "fit", "reason"),
    [
        (np.zeros((4, 4)), 0, "pad", "size of at least 1, found 0"),
        (np.zeros((4, 4)), 4, "crop", "pad, stretch, found 'crop'"),
        (np.zeros((4, 4, 3, 1)), 4, "pad", r"shape \(4, 4, 3, 1\)"),
        (np.zeros((4, 4), bool), 4, "pad", "uint8 or float, found bool"),
        (np.zeros((0, 4)), 4, "pad", r"shape \(0, 4\)"),
    ],
)
def test_wrong_use_is_named(array, size, fit, reason):
    with pytest.raises(InputError, match=reason):
        images.fit_to_square(array, size, fit)


def test_real_radiographs_are_decoded_the_right_way_round():
    """The abdomen, at the lower edge, is whiter than the air above the shoulders."""
    abdomen, air = [], []
    paths = sorted((real_data.real_data("rsna") / "stage_2_train_images").glob("*.dcm"))[:10]
    for path in paths:
        found = images.read_image(path)
        assert found.shape == (1024, 1024, 1)
        assert found.max() > 200
        abdomen.append(found[-60:, 300:724].mean())
        air.append(np.percentile(found, 2))
    assert np.median(abdomen) > np.median(air) + 80


@pytest.mark.parametrize(
    ("shape", "size", "fit", "place"),
    [
        ((100, 50), 10, "pad", (0, 10, 2, 7)),
        ((50, 100), 10, "pad", (2, 7, 0, 10)),
        ((50, 100), 10, "stretch", (0, 10, 0, 10)),
        ((1, 1000), 10, "pad", (4, 5, 0, 10)),
    ],
)
def test_place_in_the_square_is_where_an_image_lands(shape, size, fit, place):
    rows, columns = images.place_in_square(shape, size, fit)
    assert (rows.start, rows.stop, columns.start, columns.stop) == place
    square = images.fit_to_square(np.ones(shape, bool), size, fit, is_mask=True)
    assert square[rows, columns].all()
    assert square.sum() == square[rows, columns].size


def _npz(path, shape, dtype="|u1"):
    """Writes an archive with the array `x` that says its shape and has hardly any data."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"shape": shape, "fortran_order": False, "descr": dtype}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(64))


@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((1 << 20, 1 << 12, 1 << 10), "|u1", r"uint8 .1048576, 4096, 1024."),
        ((1 << 12, 1 << 12, 1 << 12), "<f8", "float64"),
        ((-1, 4, 4), "|u1", ""),
        ((4, 4, 4), "|O", "object"),
        ((8, 4, 4), "|u1", ""),  # Cut.
    ],
)
def test_arrays_that_say_they_are_too_large_are_refused_before_they_are_read(
    tmp_path, shape, dtype, found
):
    _npz(tmp_path / "a.npz", shape, dtype)
    with pytest.raises(images.ImageError, match=f"a.npz#x/0: expected .*, found:? {found}"):
        images.read_image(f"{tmp_path}/a.npz#x/0")


def test_archives_damaged_anywhere_are_refused_or_read(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4), np.uint8)
    np.savez_compressed(tmp_path / "a.npz", x=pixels)
    whole = (tmp_path / "a.npz").read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x15
        path = tmp_path / f"{position}.npz"
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(images.read_image(f"{path}#x/1")[:, :, 0], pixels[1])
        except images.ImageError as error:
            assert "\n" not in str(error)


def test_a_file_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "MAXIMUM_BYTES", 1000)
    with pytest.raises(images.ImageError, match="expected a file of at most 1000 bytes"):
        images.read_image("/dev/zero")


def test_more_pixels_than_fit_after_resampling_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAXIMUM_PIXELS", 100)
    made = dicom_files.dataset(np.full((8, 8), 77, np.uint8), PixelSpacing=[0.2, 0.1])
    with pytest.raises(images.ImageError, match="x.dcm: expected an image of 1 to 100 pixels"):
        images.read_image(_write(tmp_path / "x.dcm", dicom_files.to_bytes(made)))
