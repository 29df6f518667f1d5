"""Nodes of volumes: the splits of patients, and what is refused."""

import pathlib
import shutil

import pandas as pd
import pytest

from tests.datasets import volume_files
from tffcxr.clients import volume_sites
from tffcxr.clients.shards.volume_slices import SliceSpec
from tffcxr.clients.sites import Site
from tffcxr.errors import InputError

SPEC = SliceSpec(8, volume_files.FIELD_OF_VIEW)
FRACTIONS = {"train": 0.6, "test": 0.4}


@pytest.fixture(scope="module")
def petct(tmp_path_factory):
    root = tmp_path_factory.mktemp("petct")
    for number in range(5):
        volume_files.write_petct(root, f"p{number}", number)
    return root


def _load(sites, cache, fractions=FRACTIONS):
    found = volume_sites.find_cases(sites)
    return volume_sites.load(sites, found, SPEC, cache, fractions, seed=3)


def test_a_patient_is_in_one_split_at_all_nodes_of_a_folder(petct, tmp_path):
    # One patient has no PET, so that the nodes do not have the same patients.
    (petct / "p2" / "PET").rename(tmp_path / "away")
    try:
        found = _load([Site("one", "pet", petct), Site("two", "ct", petct)], tmp_path)
    finally:
        (tmp_path / "away").rename(petct / "p2" / "PET")
    assert {name: table["patient"].nunique() for name, table in found.items()} == {
        "one": 4,
        "two": 5,
    }
    split_of = [table.groupby("patient")["split"].first() for table in found.values()]
    for table in found.values():
        assert (table.groupby("patient")["split"].nunique() == 1).all()
    assert (split_of[0] == split_of[1][split_of[0].index]).all()
    assert set(found["two"]["split"]) == {"train", "test"}
    assert (found["two"]["site"] == "two").all()


def test_a_patient_of_two_folders_is_in_one_split(petct, tmp_path, caplog):
    # p0 is in one folder alone: splits that know nothing of each other would differ.
    shutil.copytree(petct, tmp_path / "copy", ignore=shutil.ignore_patterns("p0"))
    sites = [Site("one", "pet", petct), Site("two", "ct", tmp_path / "copy")]
    found = _load(sites, tmp_path / "cache")
    one, two = (found[name].groupby("patient")["split"].first() for name in ("one", "two"))
    assert list(two.index) == ["p1", "p2", "p3", "p4"]
    assert (one[two.index] == two).all()
    assert "sites one and two: 4 patients have the same name, such as p1" in caplog.text


def test_sites_that_share_patients_through_another_are_one_group():
    patients = {"a": ["1"], "b": ["2"], "c": ["1", "2"], "d": ["3"]}
    tables = {name: pd.DataFrame({"patient": names}) for name, names in patients.items()}
    sites = [Site(name, "ct", pathlib.Path(name)) for name in patients]
    found = volume_sites.group_by_patients(sites, tables)
    assert found == {"a": "a", "b": "a", "c": "a", "d": "d"}
    # Equal names in unrelated folders are different patients.
    organs = [Site("a", "brats", pathlib.Path("a")), Site("c", "breast_mri", pathlib.Path("c"))]
    assert volume_sites.group_by_patients(organs, tables) == {"a": "a", "c": "c"}


def test_folders_are_split_by_themselves(petct, tmp_path):
    for number in range(4):
        volume_files.write_mri(tmp_path / "brats", f"p{number}", ("t1", "t1ce", "t2"), number)
    found = _load([Site("ct", "ct", petct), Site("brain", "brats", tmp_path / "brats")], tmp_path)
    assert found["brain"].groupby("split")["patient"].nunique().to_dict() == {"train": 2, "test": 2}


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        ([("a", "ct"), ("b", "ct")], "a loader or a folder of its own"),
        ([("a", "ct"), ("A", "pet")], "names that differ"),
    ],
)
def test_nodes_that_would_count_patients_twice(petct, tmp_path, sites, message):
    with pytest.raises(InputError, match=message):
        _load([Site(name, loader, pathlib.Path(petct)) for name, loader in sites], tmp_path)


def test_too_few_patients(petct, tmp_path):
    volume_files.write_petct(tmp_path / "one", "p0")
    with pytest.raises(InputError, match="site a: expected at least 2 patients"):
        _load([Site("a", "ct", tmp_path / "one")], tmp_path)


def test_a_node_without_a_patient_in_a_split(petct, tmp_path):
    # The PET of test patients is missing.
    whole = _load([Site("two", "ct", petct)], tmp_path)["two"]
    gone = sorted(set(whole["patient"][whole["split"] == "test"]))
    for name in gone:
        (petct / name / "PET").rename(tmp_path / name)
    try:
        with pytest.raises(InputError, match="site one: expected patients for .* none for test"):
            _load([Site("one", "pet", petct), Site("two", "ct", petct)], tmp_path)
    finally:
        for name in gone:
            (tmp_path / name).rename(petct / name / "PET")
