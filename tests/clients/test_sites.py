"""Who holds what: patients that several sites have are dealt out to one each."""

import pathlib

import numpy as np
import pandas as pd
import pytest

from tffcxr.clients import finding_sites, sites
from tffcxr.clients.sites import Division, Site
from tffcxr.datasets.load_options import LoadOptions
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
            "scanner": None,
            "mask": None,
            "lungs": None,
            finding: [float(number % 2) for number in range(len(patients))],
        }
    )


@pytest.fixture(name="load")
def _load(monkeypatch):
    ids = {"rsna": [f"{n:08d}" for n in range(PATIENTS)], "medmnist": map(str, range(PATIENTS))}
    ids["nih"] = ids["rsna"]

    def load_records(loader, root, site, options):
        del root, site
        return _table("Pneumonia", list(ids[loader]))

    monkeypatch.setattr(sites.loaders, "load_records", load_records)
    return lambda *pairs: finding_sites.load_clients(
        [Site(name, loader, pathlib.Path(loader), "Pneumonia") for name, loader in pairs],
        seed=0,
        division=Division(),
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
        lambda loader, root, site, options: _table(
            {"a": "Edema", "b": "Mass"}[site], [f"{site}{n}" for n in range(PATIENTS)]
        ),
    )
    clients = finding_sites.load_clients(
        [
            Site("a", "nih", pathlib.Path("a"), "Edema"),
            Site("b", "nih", pathlib.Path("b"), "Mass"),
        ],
        seed=0,
        division=Division(),
    )
    assert clients.findings == ("Edema", "Mass")
    assert clients.records["a"]["Mass"].isna().all()
    assert clients.records["a"]["Edema"].notna().all()


def test_a_site_names_findings_or_none_also_if_its_path_has_colons(tmp_path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    for finding in ("", "Lung Opacity", "Mass+Pleural Thickening"):
        site = Site.parse(f"north=rsna:{folder}" + f":{finding}" * bool(finding))
        assert (site.name, site.path, site.finding) == ("north", folder, finding)
    away = Site.parse("north=rsna:/none")
    assert (away.path, away.finding) == (pathlib.Path("/none"), "")
    with pytest.raises(InputError, match="expected NAME=LOADER:PATH or NAME=LOADER:PATH:FINDING"):
        Site.parse("north=rsna:/none:")


class TestSharedTask:
    """Sites that all train for the same."""

    FRACTIONS = {"train": 0.8, "test": 0.2}

    def _load(
        self,
        *names,
        clients_per_site=3,
        stratify="Pneumonia",
        partition="iid",
        seed=0,
        own_test=False,
    ):
        return sites.load_shared_task(
            [Site(name, "nih", pathlib.Path(name)) for name in names],
            lambda table, site: table.assign(
                image=site.name + "/" + table["image"], patient=site.name + table["patient"]
            ),
            fractions=self.FRACTIONS,
            seed=seed,
            stratify=stratify,
            division=Division(partition, clients_per_site),
            own_test=own_test,
        )

    @pytest.mark.parametrize("own_test", [True, False])
    def test_the_sources_own_test_images_stay_so_if_that_is_asked_for(self, monkeypatch, own_test):
        table = _table("Pneumonia", [f"{number:02}" for number in range(PATIENTS)])
        table["split"] = ["test" if number < 30 else "train" for number in range(PATIENTS)]
        monkeypatch.setattr(
            sites.loaders, "load_records", lambda loader, root, site, options: table.copy()
        )
        records = self._load("a", own_test=own_test).records
        found = pd.concat(records.values())
        tests = set(found["patient"][found["split"] == "test"])
        if own_test:
            assert tests == {f"a{number:02}" for number in range(30)}
            assert set(found["split"]) == {"train", "test"}
        else:
            assert len(tests) == 0.2 * PATIENTS
        assert len(found) == PATIENTS

    def test_every_image_is_at_one_client_and_in_one_split(self, load):
        del load  # Its table stands for the files.
        loaded = self._load("a", "b")
        records, site_of = loaded.records, loaded.site_of
        assert loaded.source_of == {"a": "nih", "b": "nih"}
        assert not loaded.findings
        assert sorted(records) == [f"{site}-client_0{n}" for site in "ab" for n in range(3)]
        assert {site_of[client] for client in records} == {"a", "b"}
        images = [image for table in records.values() for image in table["image"]]
        assert len(images) == len(set(images)) == 2 * PATIENTS
        for site in "ab":
            of_site = [table for client, table in records.items() if site_of[client] == site]
            test = sum(int((table["split"] == "test").sum()) for table in of_site)
            assert test == 0.2 * PATIENTS

    def test_the_test_images_do_not_depend_on_the_number_of_clients(self, load):
        del load

        def tests(clients):
            records = self._load("a", clients_per_site=clients).records
            return {
                image
                for table in records.values()
                for image in table["image"][table["split"] == "test"]
            }

        assert tests(1) == tests(2) == tests(3)

    def test_fewer_test_patients_than_clients(self, load):
        del load
        records = self._load("a", clients_per_site=15, partition="iid").records
        of_client = [int((table["split"] == "test").sum()) for table in records.values()]
        assert sorted(of_client) == [0] * 3 + [1] * 12  # A fifth of 60 patients.

    def test_more_clients_than_patients_to_train(self, load):
        del load
        with pytest.raises(InputError, match="site a, train images: .*--clients_per_site"):
            self._load("a", clients_per_site=50)

    @pytest.mark.parametrize(
        ("folders", "found"), [("ss", "found s for a and b"), ("st", "60 in common for a and b")]
    )
    def test_the_same_patients_twice_are_refused(self, load, folders, found):
        del load
        with pytest.raises(InputError, match=f"its own for each site.*{found}"):
            sites.load_shared_task(
                [Site(name, "nih", pathlib.Path(path)) for name, path in zip("ab", folders)],
                lambda table, site: table,
                fractions=self.FRACTIONS,
                seed=0,
                stratify=None,
                division=Division(),
            )

    def test_sites_of_one_table_keep_their_own_patients(self, tmp_path):
        lines = [f"{site}{n},{site}{n},{site},{n % 2}" for site in "ab" for n in range(20)]
        table = tmp_path / "t.csv"
        table.write_text("\n".join(["File,Patient,Site,Mass", *lines]))
        for site in "ab":
            for n in range(20):
                (tmp_path / f"{site}{n}.png").touch()
        found = sites.load_shared_task(
            [Site(name, "csv", table) for name in "ab"],
            lambda table, site: table,
            fractions=self.FRACTIONS,
            seed=0,
            stratify=None,
            division=Division(),
        )
        for name in "ab":
            assert len(found.records[name]) == 20
            assert found.records[name]["patient"].str.startswith(name).all()


@pytest.mark.parametrize(("uncertain", "present"), [("ignore", 8), ("positive", 12)])
def test_a_sites_options_reach_its_loader(tmp_path, uncertain, present):
    labels = ["1", "0", "-1", "0", "1"] * 4
    lines = [f"{n},{n},{label}" for n, label in enumerate(labels)]
    (tmp_path / "t.csv").write_text("\n".join(["File,Patient,Mass", *lines]))
    for n in range(20):
        (tmp_path / f"{n}.png").touch()
    site = Site("a", "csv", tmp_path, "Mass", LoadOptions(uncertain=uncertain))
    (table,) = finding_sites.load_clients([site], seed=0, division=Division()).records.values()
    assert (table["Mass"] == 1).sum() == present
