"""Tests of report.kinds.masks_kind: each sentence appears when it should, and only then."""

import dataclasses

import numpy as np
import pytest

from tests.report import example_masks
from tffcxr.report import remarks, results_table, run_reader
from tffcxr.report.kinds.masks_kind import KIND

NAN = float("nan")


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    run = run_reader.read(example_masks.write(tmp_path_factory.mktemp("run"), 80, 3, 1))
    masks = run.masks.assign(jaccard=0.9, truth_area=0.3)
    return dataclasses.replace(run, masks=masks)


@pytest.fixture(name="row")
def _row(run):
    return {
        **run.rows[0], "training": "federated", "patients": 40, "jaccard": 0.9,
        "jaccard_low": 0.88, "jaccard_high": 0.92, "chosen": "largest Jaccard on validation images",
    }  # fmt: skip


def _summary(rows):
    return KIND.summary(results_table.in_order(rows, KIND))


def _warnings(run, *rows, **more):
    return remarks.warnings(dataclasses.replace(run, rows=list(rows), **more), [])


def test_summary_is_federated_minus_pooled(row):
    pooled = {**row, "training": "pooled", "jaccard": 0.92}
    (text,) = _summary([row, pooled])
    assert text == (
        "Lungs (U-Net model, test images): federated Jaccard 0.900 (0.880–0.920); all sites pooled "
        "0.920 (0.880–0.920); federated minus pooled \u22120.020."
    )
    (alone,) = _summary([row, {**pooled, "jaccard": NAN}])
    assert alone.endswith("0.900 (0.880–0.920).")
    assert _summary([{**row, "jaccard": NAN}]) == []


def test_summary_tells_what_is_marked_where_nothing_is(row):
    row = {**row, "sensitivity": 0.9, "specificity": 0.75}
    (text,) = _summary([row])
    assert text.endswith(
        "; something is marked in 90 % of the images with it and in 25 % of those without."
    )
    (unknown,) = _summary([{**row, "specificity": NAN}])
    assert "marked" not in unknown


def test_a_good_row_needs_no_warning(run, row):
    assert _warnings(run, row) == []


def test_a_round_chosen_on_the_test_images_is_optimistic(run, row):
    row = {**row, "chosen": "largest Jaccard on the test images", "last_jaccard": 0.871}
    (warning,) = _warnings(run, row, {**row, "training": "pooled", "last_jaccard": NAN})
    assert "optimistic" in warning
    assert warning.endswith("last round's model: all sites pooled –, federated 0.871.")
    # Results on images that the round was not chosen on are not.
    assert _warnings(run, {**row, "chosen": "largest Jaccard on the validation images"}) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"jaccard": NAN}, "Jaccard is undefined"),
        ({"jaccard_low": NAN}, "too few patients for a confidence interval"),
        ({"jaccard_low": 0.92}, "its interval has no width"),
        ({"patients": 29}, "only 29 patients (80 images)"),
        ({"jaccard": 0.95}, "states Jaccard 0.950, but the mean of masks.csv is 0.900"),
    ],
)
def test_each_problem_has_its_warning(run, row, change, expected):
    (warning,) = _warnings(run, {**row, **change})
    assert warning.startswith("Lungs (U-Net model, test images)")
    assert expected in warning


def test_failures_are_counted_for_each_model(run, row):
    failed = (run.masks["row"].astype(int) < 4) & (run.masks["training"] == "federated")
    masks = run.masks.assign(jaccard=np.where(failed, 0.1, 0.9))
    (warning,) = _warnings(run, {**row, "jaccard": 0.86}, masks=masks)
    assert "Federated: Jaccard is below 0.5 in 4 of 80 images" in warning


def test_empty_truths_are_counted_once(run, row):
    masks = run.masks.assign(truth_area=np.where(run.masks["row"] == "3", 0.0, 0.3))
    (warning,) = _warnings(run, row, masks=masks)
    assert warning.startswith("In 1 of 80 images the true mask is empty.")
    assert _warnings(run, row, masks=masks.drop(columns="truth_area")) == []
    apart = masks.assign(jaccard=masks["jaccard"].where(masks["truth_area"] > 0))
    (warning,) = _warnings(run, row, masks=apart)
    assert warning.endswith("what is marked in these counts in the specificity alone.")
