"""Every partitioner deals whole patients, loses no row, and depends on the seed only."""

import pandas as pd
import pytest

from tests.clients import fixtures
from tffcxr.clients import partition
from tffcxr.errors import InputError

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
    records = fixtures.patients()
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
    records = fixtures.patients()
    shuffled = records.sample(frac=1, random_state=3)
    tables, again = (PARTITIONERS[name](table, 7) for table in (records, shuffled))
    for client in tables:
        pd.testing.assert_frame_equal(tables[client], again[client])
    other = PARTITIONERS[name](records, 8)
    assert any(set(tables[c]["patient"]) != set(other[c]["patient"]) for c in tables)


def test_iid_clients_have_equal_numbers_of_patients():
    tables = partition.iid(fixtures.patients(count=11), 3, seed=0)
    assert sorted(table["patient"].nunique() for table in tables.values()) == [3, 4, 4]


def test_by_site():
    north, south = fixtures.patients(10), fixtures.patients(10, site="south")
    south["patient"] = "s" + south["patient"]
    tables = partition.by_site(pd.concat([south, north]))
    assert list(tables) == ["north", "south"]
    assert set(tables["south"]["site"]) == {"south"}
    assert len(tables["north"]) == len(north)


def test_by_site_refuses_a_patient_at_two_sites():
    with pytest.raises(InputError, match="each patient at one site, found 10 at several"):
        partition.by_site(pd.concat([fixtures.patients(10), fixtures.patients(10, site="south")]))


def test_by_quantity_follows_the_shares():
    tables = partition.by_quantity(fixtures.patients(count=10), (0.5, 0.26, 0.24), seed=0)
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
    tables = partition.dirichlet(fixtures.patients(3000, 1000), 3, 1e6, "Pneumonia", seed=0)
    assert _shares_of_positives(tables) == pytest.approx([1 / 3] * 3, abs=0.05)
    assert [t["patient"].nunique() for t in tables.values()] == [1000] * 3


def test_dirichlet_with_a_small_alpha_has_clients_of_one_class():
    tables = partition.dirichlet(fixtures.patients(400, 200), 8, 1e-3, "Pneumonia", seed=0)
    one_class = [share in (0, 1) for share in _shares_of_positives(tables)]
    assert sum(one_class) >= 7  # One client may get the end of one class and of the other.


def test_hybrid_keeps_the_floor_where_dirichlet_does_not():
    records = fixtures.patients(100, 20)
    assert 0 in _shares_of_positives(partition.dirichlet(records, 5, 1e-3, "Pneumonia", seed=0))
    for floor, least in ((1, 1), (3, 3), (0.5, 2)):  # 0.5: half of 20 positives over 5 clients.
        tables = partition.hybrid(records, 5, 1e-3, "Pneumonia", 0, floor=floor)
        for table in tables.values():
            positive = table.groupby("patient")["Pneumonia"].max()
            assert positive.sum() >= least
            assert (positive == 0).sum() >= least
            assert len(positive) == 20


def test_an_unknown_label_is_a_class_of_its_own():
    records = fixtures.patients(30, 10)
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
        call(fixtures.patients(6, 2))
    assert "\n" not in str(error.value)
