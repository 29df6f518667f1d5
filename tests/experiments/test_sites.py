"""Who holds what: patients that several sites have are dealt out to one each."""

import pathlib

import numpy as np
import pandas as pd
import pytest

from experiments import sites
from experiments.sites import Site
from tffcxr.errors import InputError

PATIENTS = 60


def _table(finding, patients):
    return pd.DataFrame(
        {
            "image": [f"{patient}.png" for patient in patients],
            "patient": list(patients),
            "site": "x",
            "view": None,
            "age": np.nan,
            "sex": None,
            "mask": None,
            "lungs": None,
            finding: [float(number % 2) for number in range(len(patients))],
        }
    )


@pytest.fixture(name="load")
def _load(monkeypatch):
    ids = {"rsna": [f"{n:08d}" for n in range(PATIENTS)], "medmnist": map(str, range(PATIENTS))}
    ids["nih"] = ids["rsna"]

    def load_records(loader, root, site):
        del root, site
        return _table("Pneumonia", list(ids[loader]))

    monkeypatch.setattr(sites.loaders, "load_records", load_records)
    return lambda *pairs: sites.load_clients(
        [Site(name, loader, pathlib.Path(loader), "Pneumonia") for name, loader in pairs], seed=0
    )


@pytest.mark.parametrize("loaders", [("nih", "nih"), ("rsna", "nih")])
def test_sites_with_the_nihs_patients_share_none(load, loaders):
    clients = load(*zip("ab", loaders)).records
    ours, theirs = (set(clients[name]["patient"]) for name in "ab")
    assert ours and theirs
    assert ours.isdisjoint(theirs)
    assert len(ours | theirs) == PATIENTS


def test_names_must_differ_in_more_than_punctuation(load):
    with pytest.raises(InputError, match="differ in letters or digits"):
        load(("a_b", "nih"), ("A-b", "nih"))


def test_a_finding_that_another_site_labels_is_unknown_and_not_absent(monkeypatch):
    monkeypatch.setattr(
        sites.loaders,
        "load_records",
        lambda loader, root, site: _table(
            {"a": "Edema", "b": "Mass"}[site], [f"{site}{n}" for n in range(PATIENTS)]
        ),
    )
    clients = sites.load_clients(
        [
            Site("a", "nih", pathlib.Path("a"), "Edema"),
            Site("b", "nih", pathlib.Path("b"), "Mass"),
        ],
        seed=0,
    )
    assert clients.findings == ("Edema", "Mass")
    assert clients.records["a"]["Mass"].isna().all()
    assert clients.records["a"]["Edema"].notna().all()
