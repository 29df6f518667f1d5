"""Sites with one finding, some or all: who has which images and labels, in which split."""

import itertools
import logging
import pathlib

import numpy as np
import pandas as pd
import pytest

from tffcxr.clients import finding_sites, sites
from tffcxr.clients.sites import Division, Site
from tffcxr.errors import InputError

NAMES = ("A", "B", "C")
SPLITS = {"train", "validation", "test"}


def _table(seed=0, patients=200, shares=(0.3, 0.2, 0.5)):
    """Patients with 1 to 3 images, each finding with its share of the images."""
    rng = np.random.default_rng(seed)
    rows = [
        {"image": f"{patient}/{image}.png", "patient": f"p{patient:03d}", "view": None}
        | {"site": "x", "age": np.nan, "sex": None, "scanner": None, "mask": None, "lungs": None}
        | {name: float(rng.random() < share) for name, share in zip(NAMES, shares)}
        for patient in range(patients)
        for image in range(rng.integers(1, 4))
    ]
    return pd.DataFrame(rows)


@pytest.fixture(name="load")
def _load(monkeypatch):
    """Loads sites, each (name, findings), from one folder or from those that are given."""

    def load(*pairs, table=None, seed=0, among=None, division=Division(), folder="same"):  # noqa: B008
        found = _table() if table is None else table
        monkeypatch.setattr(
            sites.loaders, "load_records", lambda loader, root, site, options: found.copy()
        )
        given = [Site(name, "nih", pathlib.Path(folder), finding) for name, finding in pairs]
        return finding_sites.load_clients(given, seed=seed, division=division, among=among)

    return load


def _splits_of_patients(records):
    """{patient: its splits at all clients}"""
    together = pd.concat(records.values())
    return together.groupby("patient")["split"].agg(set)


@pytest.mark.parametrize(
    ("finding", "expected"), [("B", ("B",)), ("C+A", ("C", "A")), ("", ("A", "B", "C"))]
)
def test_a_site_has_one_finding_some_or_all(load, finding, expected):
    table = _table()
    table.loc[table["patient"] < "p050", "B"] = np.nan
    clients = load(("a", finding), table=table)
    assert clients.findings_of == {"a": expected}
    assert clients.findings == expected
    found = clients.records["a"]
    assert set(found.columns) - set(table.columns) == {"split"}
    # Images without any known label of the site's findings are not there.
    known = table[list(expected)].notna().any(axis=1)
    assert sorted(found["image"]) == sorted(table["image"][known])
    assert set(found["split"]) == SPLITS


@pytest.mark.parametrize("seed", range(3))
def test_sites_of_one_folder_with_other_findings_have_all_its_images(load, seed):
    table = _table(seed)
    clients = load(("a", "A"), ("b", "B+C"), table=table, seed=seed)
    a, b = clients.records["a"], clients.records["b"]
    assert sorted(a["image"]) == sorted(b["image"]) == sorted(table["image"])
    assert (_splits_of_patients(clients.records).map(len) == 1).all()
    assert a[["B", "C"]].isna().all(axis=None) and b["A"].isna().all()
    for records, name in ((a, "A"), (b, "B"), (b, "C")):
        assert set(records["split"]) == SPLITS
        assert (records.groupby("split")[name].nunique() == 2).all()


@pytest.mark.parametrize(
    "findings",
    [
        ("A", "A", "A"), ("A", "A", "B"), ("A", "B", "C"), ("A", "B", "A+B"), ("A", "B+C", ""),
        ("A+B", "A+B", "C"), ("A+B", "B+C", "C+A"), ("", "", ""),
    ],
)  # fmt: skip
def test_no_label_counts_twice_and_no_patient_is_on_two_sides(load, findings):
    seed = len("".join(findings))
    table = _table(seed, patients=120)
    clients = load(*zip("abc", findings), table=table, seed=seed)
    records = clients.records
    assert (_splits_of_patients(records).map(len) == 1).all()
    for one, other in itertools.combinations("abc", 2):
        shared = set(clients.findings_of[one]) & set(clients.findings_of[other])
        common = set(records[one]["patient"]) & set(records[other]["patient"])
        assert not (shared and common)
    for name in clients.findings:
        known = pd.concat([found["image"][found[name].notna()] for found in records.values()])
        assert known.is_unique
    images = pd.concat([found["image"] for found in records.values()])
    assert set(images) == set(table["image"])


def test_sites_that_label_the_same_are_split_as_if_each_were_alone(load):
    """As where sites have one finding and patients of their own."""
    together = load(("a", "A"), ("b", "A")).records
    for name in "ab":
        table = together[name].drop(columns="split")
        alone = load((name, "A"), table=table.assign(B=np.nan, C=np.nan)).records[name]
        pd.testing.assert_series_equal(alone["split"], together[name]["split"])


def test_patients_of_rare_findings_are_divided_evenly(load):
    table = _table(patients=300, shares=(0.3, 0.04, 0.5))
    clients = load(("a", "A+B"), ("b", "A+B"), table=table)
    positives = [clients.records[name].groupby("patient")["B"].max().sum() for name in ("a", "b")]
    assert abs(positives[0] - positives[1]) <= 1
    assert sum(positives) == table.groupby("patient")["B"].max().sum() > 10


@pytest.mark.parametrize("positive", [0, 2, 3, 4])
def test_a_finding_without_both_classes_is_left_out_in_one_line(load, caplog, positive):
    table = _table()
    table["B"] = (table["patient"] < f"p{positive:03d}").astype(float)
    with caplog.at_level(logging.WARNING):
        clients = load(("a", ""), table=table)
    if positive < 3:
        assert clients.findings_of == {"a": ("A", "C")}
        assert "B" not in clients.records["a"]
        assert clients.left_out == {"a": {"B": (positive, 200 - positive)}}
        (line,) = caplog.messages
        assert f"left out B ({positive} patients with it, {200 - positive} without)" in line
    else:
        assert clients.findings_of == {"a": ("A", "B", "C")}
        assert clients.left_out == {} and not caplog.messages
        assert (clients.records["a"].groupby("split")["B"].nunique() == 2).all()


def test_what_is_left_out_at_one_site_is_still_a_finding_of_another(load, monkeypatch):
    del load
    tables = {"a": _table(0), "b": _table(1)}
    tables["a"]["B"] = 0.0
    tables["b"]["image"] = "b/" + tables["b"]["image"]
    monkeypatch.setattr(
        sites.loaders, "load_records", lambda loader, root, site, options: tables[site].copy()
    )
    clients = finding_sites.load_clients(
        [Site(name, "nih", pathlib.Path(name)) for name in "ab"], seed=0, division=Division()
    )
    assert clients.findings_of == {"a": ("A", "C"), "b": ("A", "B", "C")}
    assert clients.findings == ("A", "C", "B")
    assert clients.labelled_by("B") == ["b"]
    assert clients.records["a"]["B"].isna().all()
    assert clients.records["b"]["B"].notna().all()


def test_official_splits_stay(load):
    table = _table()
    table["split"] = np.where(table["patient"] < "p040", "test", "train")
    records = load(("a", "A"), ("b", "B+C"), table=table).records
    for found in records.values():
        assert set(found["patient"][found["split"] == "test"]) == {f"p{n:03d}" for n in range(40)}
        assert set(found["split"]) == SPLITS
    assert (_splits_of_patients(records).map(len) == 1).all()


def test_official_splits_that_lack_a_class(load):
    table = _table()
    table["split"] = np.where(table["patient"] < "p040", "test", "train")
    table.loc[table["split"] == "test", "B"] = 0.0
    assert load(("a", ""), table=table).findings_of == {"a": ("A", "C")}
    with pytest.raises(InputError, match="site a: expected test images with and without 'B'"):
        load(("a", "A+B"), table=table)


@pytest.mark.parametrize("partition", ["iid", "quantity", "dirichlet", "hybrid"])
@pytest.mark.parametrize("finding", ["A", ""])
def test_a_site_with_several_findings_is_divided_among_clients(load, partition, finding):
    division = Division(partition, 3, 0.5)
    clients = load(("a", finding), division=division)
    assert len(clients.records) == 3
    images = [image for table in clients.records.values() for image in table["image"]]
    assert sorted(images) == sorted(_table()["image"])
    owners = pd.concat(clients.records.values(), keys=clients.records).reset_index(level=0)
    assert (owners.groupby("patient")["level_0"].nunique() == 1).all()


def test_a_hospital_has_what_the_study_has_for_it(load):
    assert load(("a", ""), among=("C", "B")).findings_of == {"a": ("B", "C")}
    assert load(("a", "B"), among=("C", "B")).findings_of == {"a": ("B",)}
    with pytest.raises(InputError, match="the study has for this hospital, C, B, found 'A'"):
        load(("a", "A+B"), among=("C", "B"))
    with pytest.raises(InputError, match="site a: expected some of the findings D, found A, B, C"):
        load(("a", ""), among=("D",))


@pytest.mark.parametrize(
    ("finding", "positive", "message"),
    [
        (
            "B",
            0,
            "site a: expected images with and without 'B', found 0 with and 200 without in same",
        ),
        ("A+B", 0, "site a: expected images with and without 'B', found 0 with"),
        (
            "B",
            2,
            "site a: expected at least 3 patients with and 3 without 'B', found 2 with and 198",
        ),
        ("A+B", 2, "site a: expected at least 3 patients with and 3 without 'B', found 2 with"),
        ("A+D", 9, "expected a finding of site a .* found 'D'"),
        ("A+A", 9, "expected each finding of site a once, found 'A\\+A'"),
        ("A+", 9, "expected a finding of site a .* found ''"),
    ],
)
def test_a_named_finding_that_cannot_be_used_is_refused(load, finding, positive, message):
    table = _table().drop_duplicates("patient")
    table["B"] = (table["patient"] < f"p{positive:03d}").astype(float)
    with pytest.raises(InputError, match=message) as error:
        load(("a", finding), table=table)
    assert "\n" not in str(error.value)


def test_a_site_without_any_usable_finding(load):
    table = _table(patients=20)
    table[list(NAMES)] = 0.0
    with pytest.raises(InputError, match="site a: expected at least 3 patients .* found 0 with"):
        load(("a", ""), table=table)


@pytest.mark.parametrize(
    ("findings_of", "groups"),
    [
        ({"a": ("A",)}, 1),
        ({"a": ("A",), "b": ("A",)}, 1),
        ({"a": ("A",), "b": ("B",)}, 2),
        ({"a": ("A", "B"), "b": ("B", "C"), "c": ("C", "D"), "d": ("E",)}, 2),
        ({"a": ("A", "B", "C")}, 1),
    ],
)
def test_groups_of_sites_with_unrelated_findings(findings_of, groups):
    assert finding_sites.unrelated(findings_of) == groups
