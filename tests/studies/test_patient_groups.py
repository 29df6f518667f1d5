"""Tests of studies.patient_groups: which group an image is of, and the rows of a model."""

import types
from typing import Any

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.report import run_files
from tffcxr.studies import patient_groups


def _study(**columns) -> Any:
    table = pd.DataFrame({"scanner": None, **columns})
    records = {"a": table, "b": table.iloc[::-1]}
    return types.SimpleNamespace(
        clients=types.SimpleNamespace(records=records),
        settings=types.SimpleNamespace(replicates=20, seed=0),
    )


def _scored(*images) -> Any:
    return types.SimpleNamespace(
        clients=np.array([client for client, _ in images], object),
        rows=np.array([row for _, row in images]),
    )


def _attributes(study, scored):
    patients = np.array([f"{client}{row}" for client, row in zip(scored.clients, scored.rows)])
    return patient_groups.attributes(study, scored, patients)


def test_groups_come_from_the_records_of_each_client():
    study = _study(
        sex=["F", "M", None],
        age=[17.9, 18.0, np.nan],
        view=["pa", "AP LLD", "a secret of the hospital"],
    )
    scored = _scored(("a", 0), ("a", 1), ("b", 0), ("b", 2))
    found = {each.name: each for each in _attributes(study, scored)}
    assert found["sex"].of_image.tolist() == ["female", "male", "unknown", "female"]
    assert found["age"].of_image.tolist() == ["0-17", "18-39", "unknown", "0-17"]
    assert found["view"].of_image.tolist() == ["PA", "AP", "other", "PA"]
    for each in found.values():
        assert set(each.of_image) <= set(each.groups)


def test_bands_of_age_and_names_of_views():
    ages = [0, 39.9, 40, 59, 60, 79.5, 80, 120]
    views = ["LL", "FRONTAL", "", None, "PA ERECT", "LATERAL", "AP", "xyz"]
    study = _study(sex=[None] * 8, age=ages, view=views)
    found = _attributes(study, _scored(*(("a", row) for row in range(8))))
    assert [each.name for each in found] == ["age", "view"]  # Of sex nothing is known.
    assert found[0].of_image.tolist() == [
        "0-17", "18-39", "40-59", "40-59", "60-79", "60-79", "80 or older", "80 or older",
    ]  # fmt: skip
    assert found[1].of_image.tolist() == [
        "lateral or oblique", "other frontal", "unknown", "unknown", "PA", "lateral or oblique",
        "AP", "other",
    ]  # fmt: skip


def test_one_known_group_is_no_attribute():
    study = _study(sex=["F", "F", None], age=[np.nan] * 3, view=["PA"] * 3)
    assert not _attributes(study, _scored(("a", 0), ("a", 1), ("a", 2)))


def test_scanners_are_models_of_several_patients_and_the_others():
    names = ["A 1"] * 12 + ["B 2"] * 10 + ["rare"] * 3 + [None]
    study = _study(sex=None, age=np.nan, view=None, scanner=names)
    (found,) = _attributes(study, _scored(*(("a", row) for row in range(26))))
    assert found.name == "scanner"
    assert found.groups == ("A 1", "B 2", "other", "unknown")
    assert found.of_image[[0, 12, 22, 25]].tolist() == ["A 1", "B 2", "other", "unknown"]


def test_rows_have_the_columns_of_the_file(tmp_path):
    study = _study(sex=["F", "M"] * 20, age=[50.0] * 40, view=[None] * 40)
    scored = _scored(*(("a", row) for row in range(40)))
    labels, scores = np.repeat([0.0, 1.0], 20), np.linspace(0, 1, 40)
    about = {"task": "Mass", "model": "standard", "training": "federated", "client": "a"}
    rows = patient_groups.rows(
        study, _attributes(study, scored), about, labels, scores, scores > 0.4, np.arange(40)
    )
    patient_groups.write(tmp_path, rows)
    table = run_files.read_table(tmp_path, run_tables.SUBGROUPS)
    assert table["group"].tolist() == ["female", "male"]
    assert table["positives"].tolist() == [10, 10]
    assert table["too_small"].tolist() == [0, 0]
    assert table["auroc"].tolist() == [1.0, 1.0]
    assert table["sensitivity"].tolist() == [1.0, 1.0]
    assert table["specificity"].tolist() == [0.8, 0.8]
    assert "images_kind" not in table
    assert "jaccard" not in table


def test_rows_of_masks(tmp_path):
    study = _study(sex=["F", "M"] * 20, age=[50.0] * 40, view=[None] * 40)
    found = _attributes(study, _scored(*(("a", row) for row in range(40))))
    jaccard = np.where(np.arange(40) % 2, 0.5, 0.75)
    jaccard[1] = np.nan  # No region.
    about = {"task": "Lungs", "model": "unet", "training": "federated"}
    values = {"jaccard": jaccard, "dice": jaccard}
    patients = np.repeat(np.arange(20), 2).astype(object)
    patient_groups.write(tmp_path, patient_groups.mean_rows(study, found, about, values, patients))
    table = run_files.read_table(tmp_path, run_tables.SUBGROUPS)
    assert table["group"].tolist() == ["female", "male"]
    assert table["images"].tolist() == [20, 19]
    assert table["patients"].tolist() == [20, 19]
    assert table["jaccard"].tolist() == table["dice"].tolist() == [0.75, 0.5]
    assert table["jaccard_gap"].tolist()[1] == 0.25
    assert np.isnan(table["jaccard_gap"][0])
    assert "auroc" not in table
    assert "positives" not in table


def test_no_group_makes_no_file(tmp_path):
    patient_groups.write(tmp_path, [])
    assert not list(tmp_path.iterdir())
