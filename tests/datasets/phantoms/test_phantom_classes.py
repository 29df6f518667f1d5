"""Phantom sites of classes, read back through the loaders of the layouts that they have."""

from __future__ import annotations

import numpy as np
import pytest

from tffcxr.datasets.imaging import images
from tffcxr.datasets.phantoms import phantom, phantom_classes, phantom_drawing
from tffcxr.datasets.sources import covidx, kermany
from tffcxr.errors import InputError

SIZE = 64
PATIENTS = 40


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "covidx"
    phantom.write_covidx(root, PATIENTS, seed=5, size=SIZE, workers=1)
    return root


def test_covidx_comes_back_through_its_loader(site):
    table = covidx.load_records(site).set_index("image")
    plans = list(phantom_classes._covidx_plan(PATIENTS, 5))
    assert len(table) == len(plans) > PATIENTS  # Some have two images.
    for plan in plans:
        drawn = phantom_drawing.draw(plan, SIZE)
        record = table.loc[str(site / plan.file)]
        np.testing.assert_array_equal(images.read_image(record.name)[:, :, 0], drawn.image)
        np.testing.assert_array_equal(record["lungs"].to_array(), drawn.lungs)
        assert record["patient"] == f"phantom/{plan.patient}"
        assert record["COVID-19"] == (plan.covid is not None)
        assert record["Pneumonia"] == (plan.pneumonia is not None)
        assert record["Normal"] == (plan.covid is None and plan.pneumonia is None)
        assert drawn.opacity.any() == (record["Normal"] == 0)


def test_the_sick_of_covidx_are_plainly_so():
    plans = phantom_classes._covidx_plan(200, 5)
    severities = [plan.covid or plan.pneumonia or 0.0 for plan in plans]
    severities = [severity for severity in severities if severity]
    assert 0.9 <= min(severities) < max(severities) <= 1.0
    assert len(set(severities)) > 50


def test_shares_of_patients_by_class_and_split(site):
    table = covidx.load_records(site).drop_duplicates("patient")
    # 0.4, 0.35 and 0.25 of 40; of each class a rounded 0.15 for the test.
    assert [table[name].sum() for name in ("Normal", "Pneumonia", "COVID-19")] == [16, 14, 10]
    test = table[table["split"] == "test"]
    assert [test[name].sum() for name in ("Normal", "Pneumonia", "COVID-19")] == [2, 2, 2]


def test_the_fewest_patients_have_all_classes_in_both_splits(tmp_path):
    phantom.write_covidx(tmp_path / "site", 6, seed=1, size=SIZE)
    table = covidx.load_records(tmp_path / "site")
    assert (table.groupby("split")[["Normal", "Pneumonia", "COVID-19"]].sum() >= 1).all(axis=None)


def test_kermany_comes_back_through_its_loader(tmp_path):
    root = tmp_path / "site"
    phantom.write_kermany(root, 10, seed=5, size=SIZE)
    table = kermany.load_records(root).set_index("image")
    plans = list(phantom_classes._kermany_plan(10, 6, 5))
    assert table["Pneumonia"].sum() == 6 and table["Normal"].sum() == 4
    assert table["patient"].nunique() == 10
    assert table["split"].value_counts().to_dict() == {"train": 8, "test": 2}
    for plan in plans:
        drawn = phantom_drawing.draw(plan, SIZE)
        record = table.loc[str(root / plan.file)]
        read = images.read_image(record.name)[:, :, 0].astype(int)
        assert np.abs(read - drawn.image).mean() < 2  # JPEG
        np.testing.assert_array_equal(record["lungs"].to_array(), drawn.lungs)
        assert ("virus" in plan.file) == (plan.covid is not None)
        assert record["Pneumonia"] == drawn.opacity.any()


def test_no_patient_is_in_two_layouts():
    seeds = {plan.seed for plan in phantom_classes._covidx_plan(30, 1)}
    seeds |= {plan.seed for plan in phantom_classes._kermany_plan(30, 15, 1)}
    assert len(seeds) == 60


@pytest.mark.parametrize(
    ("write", "arguments", "reason"),
    [
        (phantom.write_covidx, {"patients": 5}, "patients: expected at least 6, found 5"),
        (phantom.write_covidx, {"patients": 6, "size": 8}, "size: expected at least 64, found 8"),
        (phantom.write_kermany, {"patients": 3}, "patients: expected at least 4, found 3"),
        (
            phantom.write_kermany,
            {"patients": 9, "positive_fraction": 1.0},
            "two patients with pneumonia and two without among 9, found 1.0",
        ),
        (
            phantom.write_kermany,
            {"patients": 9, "positive_fraction": 1.5},
            "positive_fraction: expected 0..1, found 1.5",
        ),
    ],
)
def test_bad_arguments_are_refused(tmp_path, write, arguments, reason):
    with pytest.raises(InputError, match=reason):
        write(tmp_path / "site", seed=1, **arguments)
    assert not any(tmp_path.iterdir())
