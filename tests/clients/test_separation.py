"""Sites with patients in common that label one finding: each patient is dealt to one of them."""

import pandas as pd
import pytest

from tests.clients import fixtures
from tffcxr.clients import separation
from tffcxr.errors import InputError


def _two_sites(positives_a, positives_b, patients=100):
    """Two sites cut from the same patients, each of which labels its own finding."""
    table = fixtures.patients(patients, 0)
    numbers = table["patient"].str[1:].astype(int)
    table["A"] = numbers.isin(positives_a).astype(float)
    table["B"] = numbers.isin(positives_b).astype(float)
    return {"north": table, "south": table.copy()}, {"north": ["A"], "south": ["B"]}


def _positives(tables, site, finding):
    return int(tables[site].groupby("patient")[finding].max().sum())


def test_separated_sites_share_no_patient_and_lose_none():
    sites, findings = _two_sites(range(0, 20), range(10, 25))
    tables = separation.separate_sites(sites, findings, seed=0)
    north, south = (set(tables[site]["patient"]) for site in ("north", "south"))
    assert not north & south
    assert len(north) == len(south) == 50
    # Every image of a patient moves along with the patient.
    assert len(tables["north"]) + len(tables["south"]) == len(sites["north"])


def test_separation_keeps_scarce_positives():
    # 40 positives of A; 6 of B, of which 2 have A too: B keeps all its 6, A loses only those 2.
    sites, findings = _two_sites(range(40), [38, 39, 90, 91, 92, 93])
    tables = separation.separate_sites(sites, findings, seed=0)
    assert _positives(tables, "south", "B") == 6
    # Positives of A stop at half of 50 patients, and 25 negatives keep them company.
    assert _positives(tables, "north", "A") == 25
    assert len(set(tables["north"]["patient"])) == 50


def test_separation_of_the_same_finding_is_even():
    sites, _ = _two_sites(range(31), [])
    tables = separation.separate_sites(sites, {"north": ["A"], "south": ["A"]}, seed=0)
    assert sorted(_positives(tables, site, "A") for site in tables) == [15, 16]


def test_separation_leaves_unshared_patients_and_evens_out_the_others():
    sites, findings = _two_sites([], [])
    sites["north"] = sites["north"][sites["north"]["patient"] >= "p040"]  # 60 of 100 patients
    sites["south"] = sites["south"][sites["south"]["patient"] < "p060"]  # 60, 20 of them shared
    tables = separation.separate_sites(sites, findings, seed=0)
    assert len(set(tables["north"]["patient"])) == 50
    assert len(set(tables["south"]["patient"])) == 50
    assert set(tables["north"]["patient"]) >= {f"p{i:03d}" for i in range(60, 100)}


def test_separation_depends_on_seed_and_not_on_order():
    sites, findings = _two_sites(range(20), range(10, 25))
    shuffled = {s: t.sample(frac=1, random_state=1) for s, t in reversed(list(sites.items()))}
    tables = separation.separate_sites(sites, findings, seed=3)
    again = separation.separate_sites(shuffled, findings, seed=3)
    for site in sites:
        pd.testing.assert_frame_equal(tables[site], again[site])
    other = separation.separate_sites(sites, findings, seed=4)
    assert set(other["north"]["patient"]) != set(tables["north"]["patient"])


def test_separation_errors():
    sites, findings = _two_sites([0], [1], patients=1)
    with pytest.raises(InputError, match="a patient of its own"):
        separation.separate_sites(sites, findings, seed=0)
    with pytest.raises(InputError, match="site north: expected a finding"):
        separation.separate_sites(sites, {"north": ["C"], "south": ["B"]}, seed=0)


@pytest.mark.parametrize(
    ("heights", "water", "level"), [([0, 0], 10, 5), ([8, 0], 4, 4), ([8, 2, 0], 5, 3.5)]
)
def test_water_level(heights, water, level):
    assert separation._water_level(heights, water) == level
