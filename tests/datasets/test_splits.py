"""Patients in one split only, whatever the order, with both classes everywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tffcxr.datasets import records, splits
from tffcxr.errors import InputError

_FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}


def _table(labels_by_patient):
    """Makes a table of "Mass" from {patient: labels of the patient's images}."""
    rows = [
        {"image": f"{patient}/{index}", "patient": patient, "Mass": label}
        for patient, labels in labels_by_patient.items()
        for index, label in enumerate(labels)
    ]
    return records.build(rows, ["Mass"], "made")


def _many(seed=0, patients=300):
    rng = np.random.default_rng(seed)
    labels = (0.0, 1.0, float("nan"))
    return _table(
        {
            f"p{index}": rng.choice(labels, rng.integers(1, 5), p=[0.6, 0.3, 0.1]).tolist()
            for index in range(patients)
        }
    )


def test_no_patient_is_in_two_splits():
    found = splits.split_patients(_many(), _FRACTIONS, 3, "Mass")
    assert (found.groupby("patient")["split"].nunique() == 1).all()
    assert set(found["split"]) == {"train", "validation", "test"}


def test_fractions_are_those_of_patients_in_each_stratum():
    table = _table({f"p{i}": [1.0] if i < 50 else [0.0] for i in range(200)})
    found = splits.split_patients(table, _FRACTIONS, 3, "Mass")
    counts = found.groupby(["Mass", "split"]).size()
    assert counts[1.0].to_dict() == {"train": 35, "validation": 5, "test": 10}
    assert counts[0.0].to_dict() == {"train": 105, "validation": 15, "test": 30}


def test_order_of_rows_does_not_matter():
    table = _many()
    expected = splits.split_patients(table, _FRACTIONS, 3, "Mass").set_index("image")["split"]
    shuffled = table.sample(frac=1, random_state=0)
    found = splits.split_patients(shuffled, _FRACTIONS, 3, "Mass")
    assert found["image"].tolist() == shuffled["image"].tolist()
    assert found.set_index("image")["split"].to_dict() == expected.to_dict()


def test_seed_decides():
    table = _many()
    first = splits.split_patients(table, _FRACTIONS, 3, "Mass")["split"].tolist()
    assert first == splits.split_patients(table, _FRACTIONS, 3, "Mass")["split"].tolist()
    assert first != splits.split_patients(table, _FRACTIONS, 4, "Mass")["split"].tolist()


def test_division_is_the_same_on_every_machine():
    table = _table({f"p{index}": [float(index % 2)] for index in range(8)})
    found = splits.split_patients(table, {"train": 0.5, "test": 0.5}, 1, "Mass")
    # By the BLAKE2b digests of "1/p0", "1/p1", ...; a change would move patients between splits.
    assert found["patient"][found["split"] == "train"].tolist() == ["p0", "p3", "p4", "p7"]


def test_without_stratum():
    table = _table({f"p{index}": [1.0] for index in range(10)})
    found = splits.split_patients(table, _FRACTIONS, 0, None)
    assert found["split"].value_counts().to_dict() == {"train": 7, "test": 2, "validation": 1}


def test_split_of_fraction_zero_is_empty():
    table = _table({"a": [1.0], "b": [0.0], "c": [1.0], "d": [0.0]})
    fractions = {"train": 0.5, "validation": 0.0, "test": 0.5}
    assert set(splits.split_patients(table, fractions, 0, "Mass")["split"]) == {"train", "test"}


def test_three_patients_of_each_kind_are_enough():
    table = _table({f"p{index}": [float(index % 2)] for index in range(6)})
    found = splits.split_patients(table, _FRACTIONS, 0, "Mass")
    assert (found.groupby("split")["Mass"].agg(lambda labels: set(labels)) == {0.0, 1.0}).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("counts", list(itertools.product(range(4), repeat=3)))
def test_both_classes_in_every_split_wherever_that_is_possible(counts, seed):
    """All small numbers of patients with, without, and with and without the finding."""
    positive, negative, mixed = counts
    patients = {f"p{i}": [1.0] for i in range(positive)}
    patients |= {f"n{i}": [0.0, 0.0] for i in range(negative)}
    patients |= {f"m{i}": [0.0, 1.0] for i in range(mixed)}
    patients |= {"u": [float("nan")]}
    table = _table(patients)
    if positive + mixed < 3 or negative + mixed < 3:
        with pytest.raises(InputError) as error:
            splits.split_patients(table, _FRACTIONS, seed, "Mass")
        assert f"found {positive + mixed} with and {negative + mixed} without" in str(error.value)
        return
    found = splits.split_patients(table, _FRACTIONS, seed, "Mass")
    assert not found["split"].isna().any()
    assert (found.groupby("patient")["split"].nunique() == 1).all()
    for name in _FRACTIONS:
        labels = found["Mass"][found["split"] == name]
        assert {0.0, 1.0} <= set(labels), (name, found)


def test_too_few_patients_without_stratum():
    with pytest.raises(InputError, match="at least 3 patients .* found 2"):
        splits.split_patients(_table({"a": [1.0], "b": [0.0] * 9}), _FRACTIONS, 0, None)


def test_unknown_labels_are_no_negatives():
    table = _table({f"p{i}": [1.0] if i < 5 else [float("nan")] for i in range(20)})
    with pytest.raises(InputError, match="found 5 with and 0 without 'Mass'|0 without"):
        splits.split_patients(table, _FRACTIONS, 0, "Mass")


@pytest.mark.parametrize(
    "fractions",
    [
        {"train": 0.7, "test": 0.2},
        {"train": 1.2, "test": -0.2},
        {"train": 0.5, "dev": 0.5},
        {"train": float("nan"), "test": 1.0},
        {},
    ],
)
def test_fractions_that_are_none(fractions):
    with pytest.raises(InputError, match="add up to 1"):
        splits.split_patients(_many(), fractions, 0, "Mass")


def test_unknown_finding():
    with pytest.raises(InputError, match="stratify by one of Mass, found 'Edema'"):
        splits.split_patients(_many(), _FRACTIONS, 0, "Edema")


def test_given_table_is_left_alone_and_an_old_split_replaced():
    table = _many().assign(split="train")
    found = splits.split_patients(table, _FRACTIONS, 0, "Mass")
    assert set(table["split"]) == {"train"}
    assert set(found["split"]) == set(_FRACTIONS)
    assert records.findings(found) == ["Mass"]


_CLASSES = ("A", "B")


def _classes(images_by_patient):
    """Makes a table of two classes from {patient: the class of each of the patient's images}."""
    rows = [
        {"image": f"{patient}/{index}", "patient": patient, "A": kind == "A", "B": kind == "B"}
        for patient, kinds in images_by_patient.items()
        for index, kind in enumerate(kinds)
    ]
    return records.build(rows, _CLASSES, "made")


@pytest.mark.parametrize("seed", range(4))
def test_so_many_test_images_of_each_class(seed):
    patients = {f"a{i}": "A" for i in range(8)} | {f"b{i}": "B" for i in range(8)}
    # AAAA never fits into the test set, and the others only together with single images.
    table = _classes(patients | {"c": "AAAA", "d": "AB", "e": "BB"})
    found = splits.split_with_test_counts(table, {"A": 3, "B": 2}, 0.25, seed, "A")
    test = found[found["split"] == "test"]
    assert (test["A"].sum(), test["B"].sum(), len(test)) == (3, 2, 5)
    assert (found.groupby("patient")["split"].nunique() == 1).all()
    assert found["image"].tolist() == table["image"].tolist()
    others = found[found["split"] != "test"].groupby("split")["patient"].nunique()
    # Of 14 to 16 other patients a quarter is 3.5 to 4.
    assert set(others.index) == {"train", "validation"} and others["validation"] in (3, 4, 5)
    again = splits.split_with_test_counts(
        table.sample(frac=1, random_state=0), {"A": 3, "B": 2}, 0.25, seed, "A"
    )
    assert set(again["image"][again["split"] == "test"]) == set(test["image"])


def test_another_seed_takes_other_test_images():
    table = _classes({f"a{i}": "A" for i in range(30)} | {f"b{i}": "B" for i in range(30)})
    first, other = (
        splits.split_with_test_counts(table, {"A": 9, "B": 9}, 0.0, seed, "A") for seed in (0, 1)
    )
    assert set(first["split"]) == {"train", "test"}
    assert first["split"].tolist() != other["split"].tolist()


@pytest.mark.parametrize(
    ("patients", "expected"),
    [
        (
            {"a": "A", "b": "B", "c": "B"},
            "more than 1 images of 'A', so that some are left .* found 1",
        ),
        ({"a": "AA", "b": "AA", "c": "B", "d": "B"}, "found none for 1 of 'A'"),
    ],
)
def test_too_few_images_for_the_test_set(patients, expected):
    with pytest.raises(InputError, match=expected):
        splits.split_with_test_counts(_classes(patients), {"A": 1, "B": 1}, 0.0, 0, "A")


def test_test_images_of_an_unknown_class():
    with pytest.raises(InputError, match="expected classes among A, B, found C"):
        splits.split_with_test_counts(_classes({"a": "A", "b": "B"}), {"C": 1}, 0.0, 0, "A")


class TestStrata:
    strata = {f"h{i:02d}": "HGG" for i in range(25)} | {f"l{i:02d}": "LGG" for i in range(25)}

    def test_35_and_15_of_two_strata_of_25(self):
        table = _table({patient: [1.0, 0.0] for patient in self.strata})
        found = splits.split_strata(table, {"train": 0.7, "test": 0.3}, 0, self.strata)
        patients = found.drop_duplicates("patient")
        counts = patients.groupby(["split", patients["patient"].map(self.strata)]).size()
        # 17.5 and 7.5 each: the first takes the larger half, the second has what is left.
        assert counts["train"].to_dict() == {"HGG": 18, "LGG": 17}
        assert counts["test"].to_dict() == {"HGG": 7, "LGG": 8}
        assert (found.groupby("patient")["split"].nunique() == 1).all()

    def test_without_strata_as_before(self):
        table = _table({patient: [1.0] for patient in self.strata})
        expected = splits.split_patients(table, _FRACTIONS, 3, None)["split"].tolist()
        assert splits.split_strata(table, _FRACTIONS, 3, {})["split"].tolist() == expected
        with pytest.raises(InputError, match="at least 3 patients .* found 1"):
            splits.split_strata(_table({"a": [1.0]}), _FRACTIONS, 0, {"a": "HGG"})

    def test_small_strata_leave_no_split_empty(self):
        table = _table({name: [1.0] for name in "abcd"})
        strata = {"a": "x", "b": "y", "c": "z"}
        found = splits.split_strata(table, _FRACTIONS, 0, strata)
        assert found["split"].value_counts().to_dict() == {"train": 2, "test": 1, "validation": 1}

    def test_so_many_patients_of_each_stratum(self):
        known = self.strata | {"unknown": ""}
        chosen = splits.choose_per_stratum(known, ("HGG", "LGG"), 10, 0)
        assert len(set(chosen)) == 20
        assert [known[patient] for patient in chosen] == ["HGG"] * 10 + ["LGG"] * 10
        assert set(splits.choose_per_stratum(known, ("HGG", "LGG"), 10, 1)) != set(chosen)
        with pytest.raises(InputError, match="26 patients of each stratum, found 25 HGG, 25 LGG"):
            splits.choose_per_stratum(known, ("HGG", "LGG"), 26, 0)
        with pytest.raises(InputError, match="found no strata"):
            splits.choose_per_stratum(known, (), 1, 0)


class TestSeveralFindings:
    def _table(self, seed=0, patients=400):
        rng = np.random.default_rng(seed)
        rows = [
            {"image": f"{patient}/{image}", "patient": f"p{patient}"}
            | {name: float(rng.random() < share) for name, share in (("A", 0.4), ("B", 0.1))}
            | {"C": rng.choice([0.0, 1.0, np.nan], p=[0.6, 0.1, 0.3])}
            | {"D": float(patient < 3)}
            for patient in range(patients)
            for image in range(rng.integers(1, 4))
        ]
        return records.build(rows, ["A", "B", "C", "D"], "made")

    @pytest.mark.parametrize("seed", range(4))
    def test_each_finding_has_the_proportions_and_no_patient_is_in_two_splits(self, seed):
        table = self._table(seed)
        found = splits.split_patients(table, _FRACTIONS, seed, ["A", "B", "C", "D"])
        assert (found.groupby("patient")["split"].nunique() == 1).all()
        by_patient = found.groupby("patient").agg(
            {"split": "first", **dict.fromkeys("ABCD", "max")}
        )
        for name in "ABC":
            having = by_patient["split"][by_patient[name] == 1].value_counts()
            for split, share in _FRACTIONS.items():
                assert having[split] == pytest.approx(share * having.sum(), abs=2)
        of_split = by_patient["split"].value_counts()
        for split, share in _FRACTIONS.items():
            assert of_split[split] == pytest.approx(share * 400, abs=8)
        # Three patients have the rarest: one for each split.
        assert sorted(by_patient["split"][by_patient["D"] == 1]) == ["test", "train", "validation"]

    def test_order_of_rows_and_findings_unknown_labels_and_seeds(self):
        table = self._table()
        first = splits.split_patients(table, _FRACTIONS, 3, ["A", "B"])
        shuffled = table.sample(frac=1, random_state=0)
        again = splits.split_patients(shuffled, _FRACTIONS, 3, ["A", "B"])
        assert again["split"].sort_index().tolist() == first["split"].tolist()
        other = splits.split_patients(table, _FRACTIONS, 4, ["A", "B"])
        assert other["split"].tolist() != first["split"].tolist()
        table[["A", "B"]] = np.nan
        unknown = splits.split_patients(table, _FRACTIONS, 3, ["A", "B"])
        patients = unknown.drop_duplicates("patient")["split"].value_counts()
        assert patients.to_dict() == {"train": 280, "test": 80, "validation": 40}

    def test_a_list_of_one_finding_is_that_finding(self):
        table = _many()
        for finding in ("Mass", ["Mass"], ("Mass",)):
            found = splits.split_patients(table, _FRACTIONS, 3, finding)["split"].tolist()
            assert found == splits.split_patients(table, _FRACTIONS, 3, "Mass")["split"].tolist()
        with pytest.raises(InputError, match="stratify by one of Mass, found 'Edema'"):
            splits.split_patients(table, _FRACTIONS, 3, ["Mass", "Edema"])
