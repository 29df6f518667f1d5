"""Phantom volumes are read by the loaders, look like what they stand for, and follow the seed."""

import filecmp
import pathlib

import numpy as np
import pytest

from tffcxr.clients.shards import volume_slices
from tffcxr.clients.shards.volume_slices import SliceSpec
from tffcxr.datasets.phantoms import phantom_volumes
from tffcxr.datasets.volumes import case_loaders, cases, volume
from tffcxr.errors import InputError


@pytest.fixture(scope="module")
def petct(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "petct"
    phantom_volumes.write_petct(root, 3, 7)
    return root


@pytest.fixture(scope="module")
def mri(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms")
    phantom_volumes.write_brats(root / "brats", 4, 7)
    phantom_volumes.write_breast_mri(root / "breast_mri", 4, 7)
    return root


def _on(grid, found, is_mask=False):
    return volume.resample(found, grid, 0.0, is_mask).array


class TestPetCt:
    def test_hounsfield_units_and_uptake_of_the_kidneys(self, petct):
        for ct, pet in zip(
            case_loaders.load_cases("ct", petct), case_loaders.load_cases("pet", petct)
        ):
            hounsfield = cases.read(ct.channels[0])
            kidneys = cases.read_region(ct.mask)
            inside = hounsfield.array[kidneys.array > 0]
            assert 20 < np.median(inside) < 45
            uptake = _on(kidneys.grid, cases.read(pet.channels[0]))
            body = hounsfield.array > -200
            assert uptake[kidneys.array > 0].mean() > 2.0
            assert 0.2 < np.median(uptake[body]) < 2.0
            assert uptake[~body].mean() < 0.3
            # Air around, bone in the middle, and nothing beyond what a CT holds.
            assert hounsfield.array[0, 0, 0] < -900
            assert 200 < hounsfield.array.max() < 1500

    def test_two_kidneys_beside_the_spine_liver_on_the_right(self, petct):
        (case, *_) = case_loaders.load_cases("ct", petct)
        kidneys = cases.read_region(case.mask)
        places = np.argwhere(kidneys.array > 0) @ kidneys.affine[:3, :3].T + kidneys.affine[:3, 3]
        right = places[places[:, 0] > 0]
        left = places[places[:, 0] < 0]
        for kidney in (right, left):
            # 100 to 250 ml, between 40 and 100 mm from the midline, behind the middle.
            millilitres = len(kidney) * kidneys.grid.spacing.prod() / 1000.0
            assert 80 < millilitres < 260
            assert 35 < abs(kidney[:, 0].mean()) < 100
            assert kidney[:, 1].mean() < -15
        assert right[:, 2].mean() < left[:, 2].mean()
        hounsfield = cases.read(case.channels[0])
        liver = volume.resample(hounsfield, _point(80.0, 30.0, 70.0), 0.0).array.item()
        assert 20 < liver < 100

    def test_pet_has_a_grid_of_its_own(self, petct):
        (ct,), (pet,) = (case_loaders.load_cases(name, petct)[0].channels for name in ("ct", "pet"))
        assert cases.read(ct).array.shape == (64, 64, 12)
        assert cases.read(pet).array.shape == (51, 51, 10)


def _point(x, y, z):
    affine = np.diag([20.0, 20.0, 20.0, 1.0])
    affine[:3, 3] = [x, y, z]
    return volume.Grid((1, 1, 1), affine)


@pytest.mark.parametrize("loader", ["brats", "breast_mri"])
def test_lesions_enhance(mri, loader):
    for case in case_loaders.load_cases(loader, mri / loader):
        pre, post, t2 = (cases.read(channel).array for channel in case.channels)
        region = cases.read_region(case.mask).array > 0
        assert 5 < region.sum() < 0.1 * region.size
        body = post > 0.2 * np.median(post[post > 0])
        brighter = (post / post[body].mean() - pre / pre[body].mean())[region]
        assert brighter.mean() > 0.15
        assert t2[region].mean() > t2[body].mean()


@pytest.mark.parametrize("loader", ["brats", "breast_mri"])
def test_strata_take_turns(mri, loader):
    found = [case.stratum for case in case_loaders.load_cases(loader, mri / loader)]
    assert sorted(found) == sorted(case_loaders.strata(loader) * 2)


def test_a_brain_is_cut_out_and_a_breast_is_not(mri):
    for loader, zero in (("brats", True), ("breast_mri", False)):
        (case, *_) = case_loaders.load_cases(loader, mri / loader)
        array = cases.read(case.channels[0]).array
        assert ((array == 0).mean() > 0.3) == zero


@pytest.mark.parametrize(
    ("loader", "field"), [("ct", 400.0), ("pet", 400.0), ("brats", 200.0), ("breast_mri", 200.0)]
)
def test_slices_show_the_region(petct, mri, tmp_path, loader, field):
    root = petct if loader in ("ct", "pet") else mri / loader
    found = case_loaders.load_cases(loader, root)
    table = volume_slices.load_records(
        found, "s", SliceSpec(64, field), tmp_path, workers=1, progress=False
    )
    assert table["patient"].nunique() == len(found)
    assert len(table) == 12 * len(found)
    shown = [mask.to_array().any() for mask in table["mask"]]
    assert 0.1 < np.mean(shown) < 0.9


def _same(one: pathlib.Path, other: pathlib.Path) -> bool:
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    match, mismatch, errors = filecmp.cmpfiles(one, other, files, shallow=False)
    return bool(match) and not errors and not mismatch


def test_the_seed_decides_everything(petct, tmp_path):
    phantom_volumes.write_petct(tmp_path / "again", 3, 7)
    phantom_volumes.write_petct(tmp_path / "other", 3, 8)
    assert _same(petct, tmp_path / "again")
    assert not _same(petct, tmp_path / "other")
    for name in ("phantom_001", "phantom_003"):
        one, again, other = (
            cases.read_region(root / name / "kidneys.nii.gz").array
            for root in (petct, tmp_path / "again", tmp_path / "other")
        )
        np.testing.assert_array_equal(one, again)
        assert (one != other).any()


def test_a_folder_of_other_phantoms_is_refused(petct):
    phantom_volumes.write_petct(petct, 3, 7)  # The same: reused.
    with pytest.raises(InputError, match="patients"):
        phantom_volumes.write_petct(petct, 4, 7)
