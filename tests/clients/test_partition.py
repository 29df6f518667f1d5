"""Every partitioner deals whole patients, loses no row, and depends on the seed only."""

import numpy as np
import pandas as pd
import pytest

from tffcxr.clients import partition
from tffcxr.errors import InputError


def _records(patients: int = 60, positives: int = 20, site: str = "north") -> pd.DataFrame:
    """Patient i has 1 + i % 3 images and is positive if i < positives."""
    rows = [
        {
            "image": f"{site}/{patient:03d}_{image}.png",
            "patient": f"p{patient:03d}",
            "site": site,
            "Pneumonia": float(patient < positives),
            "Effusion": np.nan if patient % 5 == 0 else float(patient % 2),
        }
        for patient in range(patients)
        for image in range(1 + patient % 3)
    ]
    return pd.DataFrame(rows)


PARTITIONERS = {
    "iid": lambda records, seed: partition.iid(records, 5, seed),
    "quantity": lambda records, seed: partition.by_quantity(records, (5, 1, 3), seed),
    "dirichlet": lambda records, seed: partition.dirichlet(records, 5, 0.3, "Pneumonia", seed),
    "two findings": lambda records, seed: partition.dirichlet(
        records, 4, 0.3, ["Pneumonia", "Effusion"], seed
    ),
    "hybrid": lambda records, seed: partition.hybrid(records, 5, 0.1, "Pneumonia", seed),
}


@pytest.mark.parametrize("name", PARTITIONERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_union_is_the_input_and_patients_are_disjoint(name, seed):
    records = _records()
    tables = PARTITIONERS[name](records, seed)
    union = pd.concat(tables.values())
    assert sorted(union["image"]) == sorted(records["image"])
    assert sum(table["patient"].nunique() for table in tables.values()) == 60
    assert all(len(table) for table in tables.values())
    assert list(tables) == [f"client_{i:02d}" for i in range(len(tables))]
    merged = union.merge(records, on="image", suffixes=("", "_before"))
    pd.testing.assert_series_equal(merged["Effusion"], merged["Effusion_before"], check_names=False)


@pytest.mark.parametrize("name", PARTITIONERS)
def test_depends_on_the_seed_but_not_on_the_order_of_rows(name):
    records = _records()
    shuffled = records.sample(frac=1, random_state=3)
    tables, again = (PARTITIONERS[name](table, 7) for table in (records, shuffled))
    for client in tables:
        pd.testing.assert_frame_equal(tables[client], again[client])
    other = PARTITIONERS[name](records, 8)
    assert any(set(tables[c]["patient"]) != set(other[c]["patient"]) for c in tables)


def test_iid_clients_have_equal_numbers_of_patients():
    tables = partition.iid(_records(patients=11), 3, seed=0)
    assert sorted(table["patient"].nunique() for table in tables.values()) == [3, 4, 4]


def test_by_site():
    north, south = _records(10), _records(10, site="south")
    south["patient"] = "s" + south["patient"]
    tables = partition.by_site(pd.concat([south, north]))
    assert list(tables) == ["north", "south"]
    assert set(tables["south"]["site"]) == {"south"}
    assert len(tables["north"]) == len(north)


def test_by_site_refuses_a_patient_at_two_sites():
    with pytest.raises(InputError, match="each patient at one site, found 10 at several"):
        partition.by_site(pd.concat([_records(10), _records(10, site="south")]))


def test_by_quantity_follows_the_shares():
    tables = partition.by_quantity(_records(patients=10), (0.5, 0.26, 0.24), seed=0)
    # 5, 2.6 and 2.4 of ten patients: the largest remainder gets the patient that is left.
    assert [table["patient"].nunique() for table in tables.values()] == [5, 3, 2]


def test_quantity_shares():
    shares = partition.quantity_shares(4, alpha=0.5, seed=1)
    assert len(shares) == 4
    assert sum(shares) == pytest.approx(1)
    assert shares == partition.quantity_shares(4, alpha=0.5, seed=1)
    even = partition.quantity_shares(4, alpha=1e6, seed=1)
    assert even == pytest.approx([0.25] * 4, abs=0.01)


def _shares_of_positives(tables):
    return [t.groupby("patient")["Pneumonia"].max().mean() for t in tables.values()]


def test_dirichlet_with_a_large_alpha_has_the_proportions_of_the_table():
    tables = partition.dirichlet(_records(3000, 1000), 3, 1e6, "Pneumonia", seed=0)
    assert _shares_of_positives(tables) == pytest.approx([1 / 3] * 3, abs=0.05)
    assert [t["patient"].nunique() for t in tables.values()] == [1000] * 3


def test_dirichlet_with_a_small_alpha_has_clients_of_one_class():
    tables = partition.dirichlet(_records(400, 200), 8, 1e-3, "Pneumonia", seed=0)
    one_class = [share in (0, 1) for share in _shares_of_positives(tables)]
    assert sum(one_class) >= 7  # One client may get the end of one class and of the other.


def test_hybrid_keeps_the_floor_where_dirichlet_does_not():
    records = _records(100, 20)
    assert 0 in _shares_of_positives(partition.dirichlet(records, 5, 1e-3, "Pneumonia", seed=0))
    for floor, least in ((1, 1), (3, 3), (0.5, 2)):  # 0.5: half of 20 positives over 5 clients.
        tables = partition.hybrid(records, 5, 1e-3, "Pneumonia", 0, floor=floor)
        for table in tables.values():
            positive = table.groupby("patient")["Pneumonia"].max()
            assert positive.sum() >= least
            assert (positive == 0).sum() >= least
            assert len(positive) == 20


def test_an_unknown_label_is_a_class_of_its_own():
    records = _records(30, 10)
    tables = partition.hybrid(records, 3, 1e-3, "Effusion", 0)
    for table in tables.values():
        assert table["Effusion"].isna().any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: partition.iid(r, 7, 0), "7 clients for 6 patients"),
        (lambda r: partition.iid(r, 0, 0), "at least one client, found 0"),
        (lambda r: partition.by_quantity(r, (100, 1), 0), "client_01 would be empty"),
        (lambda r: partition.by_quantity(r, (1, -1), 0), "positive shares"),
        (lambda r: partition.dirichlet(r, 2, 0, "Pneumonia", 0), "alpha > 0, found 0"),
        (lambda r: partition.dirichlet(r, 2, 1.0, "Gout", 0), "Gout"),
        (lambda r: partition.dirichlet(r, 7, 1.0, "Pneumonia", 0), "7 clients for 6 patients"),
        (
            lambda r: partition.hybrid(r, 3, 1.0, "Pneumonia", 0),
            "Pneumonia present need 3, found 2",
        ),
        (lambda r: partition.hybrid(r, 2, 1.0, "Pneumonia", 0, floor=2), "need 4, found 2"),
        (lambda r: partition.hybrid(r, 2, 1.0, "Pneumonia", 0, floor=0), "floor"),
        (lambda r: partition.quantity_shares(2, float("nan"), 0), "alpha"),
    ],
)
def test_what_is_impossible_is_said_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call(_records(6, 2))
    assert "\n" not in str(error.value)


def _two_sites(positives_a, positives_b, patients=100):
    """Two sites cut from the same patients, each of which labels its own finding."""
    table = _records(patients, 0)
    numbers = table["patient"].str[1:].astype(int)
    table["A"] = numbers.isin(positives_a).astype(float)
    table["B"] = numbers.isin(positives_b).astype(float)
    return {"north": table, "south": table.copy()}, {"north": "A", "south": "B"}


def _positives(tables, site, finding):
    return int(tables[site].groupby("patient")[finding].max().sum())


def test_separated_sites_share_no_patient_and_lose_none():
    sites, findings = _two_sites(range(0, 20), range(10, 25))
    tables = partition.separate_sites(sites, findings, seed=0)
    north, south = (set(tables[site]["patient"]) for site in ("north", "south"))
    assert not north & south
    assert len(north) == len(south) == 50
    # Every image of a patient moves along with the patient.
    assert len(tables["north"]) + len(tables["south"]) == len(sites["north"])


def test_separation_keeps_scarce_positives():
    # 40 positives of A; 6 of B, of which 2 have A too: B keeps all its 6, A loses only those 2.
    sites, findings = _two_sites(range(40), [38, 39, 90, 91, 92, 93])
    tables = partition.separate_sites(sites, findings, seed=0)
    assert _positives(tables, "south", "B") == 6
    # Positives of A stop at half of 50 patients, and 25 negatives keep them company.
    assert _positives(tables, "north", "A") == 25
    assert len(set(tables["north"]["patient"])) == 50


def test_separation_of_the_same_finding_is_even():
    sites, _ = _two_sites(range(31), [])
    tables = partition.separate_sites(sites, {"north": "A", "south": "A"}, seed=0)
    assert sorted(_positives(tables, site, "A") for site in tables) == [15, 16]


def test_separation_leaves_unshared_patients_and_evens_out_the_others():
    sites, findings = _two_sites([], [])
    sites["north"] = sites["north"][sites["north"]["patient"] >= "p040"]  # 60 of 100 patients
    sites["south"] = sites["south"][sites["south"]["patient"] < "p060"]  # 60, 20 of them shared
    tables = partition.separate_sites(sites, findings, seed=0)
    assert len(set(tables["north"]["patient"])) == 50
    assert len(set(tables["south"]["patient"])) == 50
    assert set(tables["north"]["patient"]) >= {f"p{i:03d}" for i in range(60, 100)}


def test_separation_depends_on_seed_and_not_on_order():
    sites, findings = _two_sites(range(20), range(10, 25))
    shuffled = {s: t.sample(frac=1, random_state=1) for s, t in reversed(list(sites.items()))}
    tables = partition.separate_sites(sites, findings, seed=3)
    again = partition.separate_sites(shuffled, findings, seed=3)
    for site in sites:
        pd.testing.assert_frame_equal(tables[site], again[site])
    other = partition.separate_sites(sites, findings, seed=4)
    assert set(other["north"]["patient"]) != set(tables["north"]["patient"])


def test_separation_errors():
    sites, findings = _two_sites([0], [1], patients=1)
    with pytest.raises(InputError, match="a patient of its own"):
        partition.separate_sites(sites, findings, seed=0)
    with pytest.raises(InputError, match="site north: expected a finding"):
        partition.separate_sites(sites, {"north": "C", "south": "B"}, seed=0)


@pytest.mark.parametrize(
    ("heights", "water", "level"), [([0, 0], 10, 5), ([8, 0], 4, 4), ([8, 2, 0], 5, 3.5)]
)
def test_water_level(heights, water, level):
    assert partition._water_level(heights, water) == level
