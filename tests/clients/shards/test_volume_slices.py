"""Slices of volumes: where a voxel ends up, the records that name them, and what is refused."""

import warnings

import numpy as np
import pandas as pd
import pydicom
import pytest

from tests.datasets import volume_files
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards import preparation, volume_slices
from tffcxr.clients.shards.preparation import ShardSpec
from tffcxr.clients.shards.volume_slices import SliceSpec
from tffcxr.datasets import splits
from tffcxr.datasets.imaging import images
from tffcxr.datasets.volumes import case_loaders, nifti
from tffcxr.datasets.volumes.volume import Volume
from tffcxr.errors import InputError

SPEC = SliceSpec(8, volume_files.FIELD_OF_VIEW)


@pytest.fixture
def brats(tmp_path):
    for number, name in enumerate("abc"):
        volume_files.write_mri(tmp_path / "data", name, ("t1", "t1ce", "t2"), number)
    return tmp_path / "data"


def _load(root, cache, loader="brats", spec=SPEC):
    found = case_loaders.load_cases(loader, root)
    return volume_slices.load_records(found, "north", spec, cache, workers=1, progress=False)


def test_a_voxel_is_where_a_radiologist_looks_for_it(tmp_path):
    volume_files.write_petct(tmp_path, "a")
    (case,) = case_loaders.load_cases("ct", tmp_path)
    pictures, masks = volume_slices.make_slices(case, SPEC)
    assert pictures.shape == masks.shape == (6, 8, 8, 1)
    # The volume's rows run to the left and its columns to the back, like the picture's; so voxel
    # (i, j, k) is in row j and column i of slice k.
    np.testing.assert_array_equal(masks[..., 0], volume_files.region().transpose(2, 1, 0))
    # Window 40 / 400: 40 HU is the middle, 200 HU is (200 + 160) / 400 of the way.
    assert set(np.unique(pictures[masks == 0])) == {128}
    assert set(np.unique(pictures[masks == 1])) == {230}


def test_pet_and_ct_of_a_patient_lie_on_one_grid(tmp_path):
    volume_files.write_petct(tmp_path, "a")
    ct, ct_mask = volume_slices.make_slices(case_loaders.load_cases("ct", tmp_path)[0], SPEC)
    pet, pet_mask = volume_slices.make_slices(case_loaders.load_cases("pet", tmp_path)[0], SPEC)
    np.testing.assert_array_equal(ct_mask, pet_mask)
    assert (pet[pet_mask == 1] > 150).all()  # SUV 5 of 7.
    assert (pet[pet_mask == 0] < 50).all()  # SUV 1.


def test_a_mask_on_another_grid_moves_to_the_same_place(tmp_path):
    """The mask is stored turned and flipped; the slices do not change."""
    volume_files.write_petct(tmp_path, "a")
    (case,) = case_loaders.load_cases("ct", tmp_path)
    expected = volume_slices.make_slices(case, SPEC)
    flipped = volume_files.AFFINE @ np.array(
        [[0, -1, 0, 7], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]
    )
    array = volume_files.region()[::-1].transpose(2, 0, 1)  # Axes: k, 7 - i, j.
    nifti.write(case.mask, Volume(array, flipped), np.uint8)
    for found, wanted in zip(volume_slices.make_slices(case, SPEC), expected):
        np.testing.assert_array_equal(found, wanted)


def test_records(brats, tmp_path):
    table = _load(brats, tmp_path / "cache")
    assert len(table) == 3 * 6
    assert table["patient"].tolist() == ["a"] * 6 + ["b"] * 6 + ["c"] * 6
    assert (table["site"] == "north").all()
    image = images.read_image(table["image"][8])  # The third slice of b.
    assert image.shape == (8, 8, 3)
    mask = table["mask"][8].to_array()
    np.testing.assert_array_equal(mask, volume_files.region()[:, :, 2].T)
    # Enhanced by contrast agent, in the second channel.
    assert image[mask, 1].min() > image[~mask, 1].max()
    assert image[mask, 0].mean() < image[~mask, 0].max()
    assert not table["mask"][6].to_array().any()


def test_age_sex_and_scanner_of_dicom_headers(tmp_path):
    volume_files.write_petct(tmp_path / "data", "a")
    (tmp_path / "data" / "a" / "CT" / "0000_notes.txt").write_text("no DICOM file")
    path = tmp_path / "data" / "a" / "CT" / "0001.dcm"
    made = pydicom.dcmread(path)
    made.PatientSex, made.PatientAge, made.Manufacturer = "F", "041Y", "Acme"
    made.save_as(path)
    table = _load(tmp_path / "data", tmp_path / "cache", "ct")
    assert set(table["sex"]) == {"F"}
    assert set(table["age"]) == {41.0}
    assert set(table["scanner"]) == {"Acme"}
    volume_files.write_mri(tmp_path / "mri", "b", ("t1", "t1ce", "t2"))
    assert set(_load(tmp_path / "mri", tmp_path / "cache")["sex"]) == {None}


def test_no_path_of_the_cache_names_a_patient(brats, tmp_path):
    for path in (tmp_path / "cache").rglob("*"):
        assert not path.name.startswith(("a", "b", "c"))
    table = _load(brats, tmp_path / "cache")
    split = splits.split_patients(table, {"train": 0.7, "test": 0.3}, 0, None)
    assert (split.groupby("patient")["split"].nunique() == 1).all()


def test_slices_are_made_once_and_again_when_a_file_changes(brats, tmp_path):
    first = _load(brats, tmp_path / "cache")["image"]
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert len(made) == 6
    assert _load(brats, tmp_path / "cache")["image"].tolist() == first.tolist()
    assert {path: path.stat().st_mtime_ns for path in made} == made
    nifti.write(
        brats / "b" / "b_t2.nii.gz",
        Volume(np.random.default_rng(9).normal(50, 5, (8, 8, 6)), volume_files.AFFINE),
        np.int32,
    )
    again = _load(brats, tmp_path / "cache")["image"]
    changed = (again != first).groupby(np.arange(18) // 6).all()
    assert changed.tolist() == [False, True, False]
    wider = _load(brats, tmp_path / "cache", spec=SliceSpec(8, 64.0))["image"]
    assert not set(wider) & set(again)


def test_a_case_without_its_mask_file_in_the_cache_is_never_taken_for_whole(brats, tmp_path):
    _load(brats, tmp_path / "cache")
    for path in (tmp_path / "cache" / "slices").glob("*.npy"):
        if not path.name.endswith("_mask.npy"):
            path.unlink()  # A run was killed between the mask and the images.
    assert len(_load(brats, tmp_path / "cache")) == 18


def test_slices_become_shards_and_batches(brats, tmp_path):
    table = _load(brats, tmp_path / "cache").assign(split="train")
    spec = ShardSpec(8, (), with_mask=True, channels=3)
    store = preparation.prepare({"north": table}, spec, tmp_path / "cache", progress=False)
    assert not store.rejected("north")
    data = ClientData(store, 4, seed=0)
    seen = 0
    for batch in data.evaluation_dataset("north", "train"):
        assert batch["images"].shape[1:] == (8, 8, 3)
        for picture, mask, row in zip(batch["images"], batch["masks"], batch["rows"].numpy()):
            expected = images.read_image(table["image"][row])
            np.testing.assert_allclose(picture.numpy() * 255.0, expected, atol=1e-4)
            np.testing.assert_array_equal(mask.numpy()[..., 0] == 1, table["mask"][row].to_array())
            seen += 1
    assert seen == 18


def test_images_of_another_number_of_channels_are_rejected(brats, tmp_path):
    table = _load(brats, tmp_path / "cache").assign(split="train")
    with pytest.raises(InputError, match="expected 1 channels, found 3"):
        preparation.prepare(
            {"north": table}, ShardSpec(8, (), with_mask=True), tmp_path / "cache", progress=False
        )


def test_a_region_beyond_the_slices(brats, tmp_path):
    with pytest.raises(InputError, match="a_seg.nii.gz: expected the region within slices of 8 mm"):
        _load(brats, tmp_path / "cache", spec=SliceSpec(8, 8.0))


def _mark(path, array):
    nifti.write(path, Volume(array, volume_files.AFFINE), np.uint8)


def test_a_region_between_the_pixels_is_not_nothing(brats, tmp_path):
    """One voxel of 4 mm lies beside the nearest ones of pixels of 32 / 3 mm."""
    lesion = np.zeros(volume_files.SHAPE, np.float32)
    lesion[0, 0, 2] = 1.0
    _mark(brats / "b" / "b_seg.nii.gz", lesion)
    message = (
        r"b_seg.nii.gz: expected the region in at least one pixel of 3x3 over 32 mm, found it too "
        r"small \(1 voxels\): use a larger --image_size or a smaller --field_of_view"
    )
    with pytest.raises(InputError, match=message):
        _load(brats, tmp_path / "cache", spec=SliceSpec(3, 32.0))
    table = _load(brats, tmp_path / "cache")  # With pixels of 4 mm it is one pixel.
    assert sum(mask.to_array().sum() for mask in table["mask"][6:12]) == 1


def test_a_mask_without_region_is_said_once_per_case_and_run(brats, tmp_path):
    for name in "bc":
        _mark(brats / name / f"{name}_seg.nii.gz", np.zeros(volume_files.SHAPE, np.float32))
    for _ in ("made", "found in the cache"):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            table = _load(brats, tmp_path / "cache")
        messages = [str(one.message) for one in said]
        assert messages == [f"{brats / n / n}_seg.nii.gz has nothing marked" for n in "bc"]
    assert len(table) == 18


def test_an_image_that_lies_elsewhere(brats, tmp_path):
    away = volume_files.AFFINE.copy()
    away[0, 3] += 500.0
    nifti.write(brats / "b" / "b_t2.nii.gz", Volume(volume_files.region() + 1, away), np.int16)
    with pytest.raises(InputError, match="expected the region within .*b_t2.nii.gz, found 0%"):
        _load(brats, tmp_path / "cache")


def test_a_damaged_file_is_named(brats, tmp_path):
    (brats / "c" / "c_t1.nii.gz").write_bytes(b"damaged")
    with pytest.raises(InputError, match="c_t1.nii.gz: expected a NIfTI file"):
        _load(brats, tmp_path / "cache")


def test_an_empty_image(brats, tmp_path):
    nothing = Volume(np.zeros(volume_files.SHAPE, np.float32), volume_files.AFFINE)
    nifti.write(brats / "c" / "c_t1.nii.gz", nothing, np.int16)
    with pytest.raises(InputError, match="c_t1.nii.gz: expected a volume of several values"):
        _load(brats, tmp_path / "cache")


def test_workers_give_the_same(tmp_path):
    for number in range(9):
        volume_files.write_mri(tmp_path / "data", f"p{number}", ("t1", "t1ce", "t2"), number)
    found = case_loaders.load_cases("brats", tmp_path / "data")
    alone, together = (
        volume_slices.load_records(found, "n", SPEC, tmp_path / str(n), workers=n, progress=False)
        for n in (1, 2)
    )
    assert isinstance(together, pd.DataFrame)
    for one, two in zip(alone["image"], together["image"]):
        np.testing.assert_array_equal(images.read_image(one), images.read_image(two))


@pytest.mark.parametrize(("size", "field"), [(0, 10.0), (8, -1.0)])
def test_no_slices(size, field):
    with pytest.raises(InputError, match="above 0"):
        SliceSpec(size, field)
