"""Tests of studies.patient_groups: which group an image is of, and the rows of a model."""

import types
from typing import Any

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.studies import patient_groups


def _study(**columns) -> Any:
    records = {"a": pd.DataFrame(columns), "b": pd.DataFrame(columns).iloc[::-1]}
    return types.SimpleNamespace(
        clients=types.SimpleNamespace(records=records),
        settings=types.SimpleNamespace(replicates=20, seed=0),
    )


def _scored(*images) -> Any:
    return types.SimpleNamespace(
        clients=np.array([client for client, _ in images], object),
        rows=np.array([row for _, row in images]),
    )


def test_groups_come_from_the_records_of_each_client():
    study = _study(
        sex=["F", "M", None],
        age=[17.9, 18.0, np.nan],
        view=["pa", "AP LLD", "a secret of the hospital"],
    )
    scored = _scored(("a", 0), ("a", 1), ("b", 0), ("b", 2))
    found = {each.name: each for each in patient_groups.attributes(study, scored)}
    assert found["sex"].of_image.tolist() == ["female", "male", "unknown", "female"]
    assert found["age"].of_image.tolist() == ["0-17", "18-39", "unknown", "0-17"]
    assert found["view"].of_image.tolist() == ["PA", "AP", "other", "PA"]
    for each in found.values():
        assert set(each.of_image) <= set(each.groups)


def test_bands_of_age_and_names_of_views():
    ages = [0, 39.9, 40, 59, 60, 79.5, 80, 120]
    views = ["LL", "FRONTAL", "", None, "PA ERECT", "LATERAL", "AP", "xyz"]
    study = _study(sex=[None] * 8, age=ages, view=views)
    found = patient_groups.attributes(study, _scored(*(("a", row) for row in range(8))))
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
    assert not patient_groups.attributes(study, _scored(("a", 0), ("a", 1), ("a", 2)))


def test_rows_have_the_columns_of_the_file(tmp_path):
    study = _study(sex=["F", "M"] * 20, age=[50.0] * 40, view=[None] * 40)
    scored = _scored(*(("a", row) for row in range(40)))
    labels, scores = np.repeat([0.0, 1.0], 20), np.linspace(0, 1, 40)
    about = {"task": "Mass", "model": "standard", "training": "federated", "client": "a"}
    rows = patient_groups.rows(
        study, patient_groups.attributes(study, scored), about, labels, scores, scores > 0.4,
        np.arange(40),
    )  # fmt: skip
    table = patient_groups.table(rows)
    run_tables.SUBGROUPS.write(tmp_path, table)
    assert table["group"].tolist() == ["female", "male"]
    assert table["positives"].tolist() == [10, 10]
    assert table["too_small"].tolist() == [0, 0]
    assert table["auroc"].tolist() == [1.0, 1.0]
    assert table["sensitivity"].tolist() == [1.0, 1.0]
    assert table["specificity"].tolist() == [0.8, 0.8]
    assert "images_kind" not in table
