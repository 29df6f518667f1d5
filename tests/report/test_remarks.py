"""Tests of report.remarks: each sentence appears when it should, and only then."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.report import example_run
from tffcxr.report import remarks, results_table, run_reader
from tffcxr.report.figures import roc_figure
from tffcxr.report.kinds.findings_kind import KIND

NAN = float("nan")
_ROW = {
    "task": "Pneumothorax", "training": "federated", "split": "test", "images": 400,
    "positives": 100, "auroc": 0.91, "auroc_low": 0.89, "auroc_high": 0.93, "threshold": 0.4,
    "p_delong": 0.2, "baseline": "site",
}  # fmt: skip
_SITE = {**_ROW, "training": "site", "auroc": 0.9, "baseline": NAN, "p_delong": NAN}


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    return run_reader.read(example_run.write(tmp_path_factory.mktemp("run"), 400, 3))


def _summary(*rows):
    return KIND.summary(results_table.in_order(rows, KIND))


def test_summary_compares_with_the_baseline():
    pooled = {**_SITE, "training": "pooled", "auroc": 0.99}
    (text,) = _summary({**_ROW, "p_delong_pooled": 0.0004}, _SITE, pooled)
    assert text.startswith(
        "Pneumothorax (test images): federated AUROC 0.910 (0.890–0.930); "
        "site alone 0.900 (0.890–0.930); difference +0.010. DeLong's test: p = 0.200."
    )
    assert "no evidence" in text
    assert text.endswith(
        " Against all sites pooled 0.990 (0.890–0.930); difference \u22120.080. DeLong's test: "
        "p <0.001. The federated model is worse; chance alone would seldom make such a difference."
    )
    (untested,) = _summary(_ROW, _SITE, pooled)
    assert untested.endswith("difference \u22120.080. The difference was not tested.")


@pytest.mark.parametrize(
    ("p", "auroc", "expected"),
    [
        (0.0004, 0.85, "p <0.001. The federated model is better"),
        (0.03, 0.95, "p = 0.030. The federated model is worse"),
        (NAN, 0.9, "could not be tested"),
    ],
)
def test_verdict(p, auroc, expected):
    (text,) = _summary({**_ROW, "p_delong": p}, {**_SITE, "auroc": auroc})
    assert expected in text


def test_the_verdict_is_of_the_adjusted_p_value():
    (text,) = _summary({**_ROW, "p_delong": 0.03, "p_delong_holm": 0.09, "holm_tests": 3}, _SITE)
    assert "DeLong's test: p = 0.030, adjusted for 3 tests p = 0.090. These images give no" in text
    (text,) = _summary({**_ROW, "p_delong": 0.03, "p_delong_holm": 0.03, "holm_tests": 1}, _SITE)
    assert "DeLong's test: p = 0.030. The federated model is better" in text


def test_summary_without_baseline_or_auroc():
    assert _summary(_ROW) == ["Pneumothorax (test images): federated AUROC 0.910 (0.890–0.930)."]
    assert _summary({**_ROW, "auroc": NAN}, _SITE) == []


def test_summary_takes_the_baseline_of_the_same_client():
    rows = [{**row, "client": c} for row in (_ROW, _SITE) for c in ("a", "b")]
    rows[2]["auroc"], rows[3]["auroc"] = 0.8, 0.7  # the site's own models at a and b
    first, second = _summary(*rows)
    assert "difference +0.110" in first
    assert "difference +0.210" in second


def _warnings(run, *rows, **more):
    replaced = dataclasses.replace(
        run, rows=list(rows), clients=run.clients.head(0), predictions=run.predictions.head(0)
    )
    return remarks.warnings(dataclasses.replace(replaced, **more), [])


def test_a_good_row_needs_no_warning(run):
    assert _warnings(run, _ROW) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"auroc": NAN}, "AUROC is undefined"),
        ({"auroc": NAN, "auroc_remark": "one bin"}, "AUROC is undefined: one bin."),
        ({"auroc": 0.4, "auroc_low": 0.35, "auroc_high": 0.45}, "worse than chance"),
        ({"auroc_low": NAN}, "too few patients for a confidence interval"),
        ({"auroc_low": 0.75}, "is wider than 0.15"),
        ({"auroc": 1.0, "auroc_low": 1.0, "auroc_high": 1.0}, "no width"),
        ({"threshold": NAN}, "no operating point"),
        ({"positives": 29}, "only 29 positive and 371 negative images"),
        ({"positives": 380}, "only 380 positive and 20 negative images"),
        ({"positives": 399}, "only 399 positive and 1 negative image;"),
    ],
)
def test_each_problem_has_its_warning(run, change, expected):
    (warning,) = _warnings(run, {**_ROW, **change})
    assert warning.startswith("Pneumothorax")
    assert expected in warning


def test_only_an_interval_below_chance_is_called_worse(run):
    row = {**_ROW, "auroc": 0.45, "auroc_low": 0.4, "auroc_high": 0.52}
    assert _warnings(run, row) == []
    (few,) = _warnings(run, {**_ROW, "auroc": 0.333, "auroc_low": NAN, "auroc_high": NAN})
    assert "too few patients for a confidence interval" in few


def test_sources_of_the_same_hospital_and_few_replicates(run):
    config = {
        "settings": {"bootstrap": 20},
        "sites": [{"source": "rsna"}, {"source": "nih"}, {"source": "medmnist"}],
    }
    hospital, replicates = _warnings(run, _ROW, config=config)
    assert hospital.startswith("nih and rsna took images from the same hospital")
    assert "Too few bootstrap replicates" in replicates and "20" in replicates
    assert not _warnings(run, _ROW, config={"sites": [{"source": "rsna"}, "nih"]})
    phantoms = {"synthetic": True, "sites": [{"source": "rsna"}, {"source": "siim"}]}
    assert not _warnings(run, _ROW, config=phantoms)


def test_few_images_are_said_once_per_test_set(run):
    rows = [{**row, "positives": 5} for row in (_ROW, _SITE)]
    assert len(_warnings(run, *rows)) == 1


def test_unfinished_runs(run):
    assert "preliminary" in _warnings(run, _ROW, complete=False)[0]
    assert "no final results" in _warnings(run, complete=False)[0]


def test_failed_clients_are_counted_by_round(run):
    clients = pd.DataFrame(
        {
            "round": [1, 1, 2, 2, 3],
            "client": list("ababa"),
            "status": ["layer a", "layer b", "ok", "loss", "ok"],
        }
    )
    (warning,) = _warnings(run, _ROW, clients=clients)
    assert warning.startswith("In 2 of 3 rounds a client failed")


def test_metrics_and_predictions_of_different_evaluations(run):
    assert remarks.warnings(run, roc_figure.curves(run)) == []
    rows = [{**row, "auroc": row["auroc"] - 0.01} for row in run.rows[:1]]
    stale = dataclasses.replace(run, rows=rows)
    (warning,) = remarks.warnings(stale, roc_figure.curves(stale))
    assert "not of the same evaluation" in warning
    assert np.isfinite(rows[0]["auroc"])


@pytest.mark.parametrize(("width", "count"), [(0.25, 1), (1.0, 0), (None, 0)])
def test_narrow_networks_are_not_those_of_the_literature(run, width, count):
    found = _warnings(run, _ROW, config={"derived": {"width": width}})
    narrow = [text for text in found if "have about 0.25 of their published channels" in text]
    assert len(narrow) == count


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"synthetic": True}, True),
        ({"settings": {"synthetic": True}}, True),
        ({"settings": {"phantom_patients": 700, "site": []}, "engine": "hospitals"}, False),
        ({"settings": {"phantom_patients": 600, "site": []}}, True),
        ({"settings": {"phantom_patients": 600, "site": ["a=rsna:x:Lung Opacity"]}}, False),
        ({"settings": {"model": "standard"}}, False),
        ({}, False),
    ],
)
def test_synthetic_images(config, expected):
    assert remarks.is_synthetic(config) is expected


def test_probabilities_of_another_prevalence(run):
    clients = [
        {"site": "a", "validation_images": 50, "validation_positive": 45, "test_images": 100,
         "test_positive": 70},
        {"site": "a", "validation_images": 50, "validation_positive": 45, "test_images": 100,
         "test_positive": 78},
        {"site": "b", "validation_images": 10, "validation_positive": 1, "test_images": 10,
         "test_positive": 9},
    ]  # fmt: skip
    row = {**_ROW, "client": "a", "temperature": 2.0}
    here = dataclasses.replace(run, config={"sites": clients})
    (warning,) = KIND.warnings(results_table.in_order([row], KIND), here, [])
    assert warning == (
        "a: 90 % of the validation images, which scores were calibrated on, have the finding, but "
        "74 % of the test images: probabilities tend to be too high there."
    )
    without = [{**_ROW, "client": "a"}, {**row, "client": "nobody"}]
    assert not KIND.warnings(results_table.in_order(without, KIND), here, [])


def test_scores_that_are_not_calibrated(run):
    row = {**_ROW, "calibration": "none", "calibration_remark": "too few"}
    (warning,) = KIND.warnings(results_table.in_order([row], KIND), run, [])
    assert warning.endswith("the scores are not calibrated, so they are no probabilities: too few.")


@pytest.mark.parametrize(
    ("split", "settings", "is_told"),
    [
        ("test", {"schedule": "plateau"}, True),
        ("test", {"schedule": "constant", "only": ["standard:schedule=plateau"]}, True),
        ("test", {"schedule": "constant", "only": []}, False),
        ("validation", {"schedule": "plateau"}, False),
    ],
)
def test_test_images_that_set_the_learning_rate_are_told(run, split, settings, is_told):
    config = {**run.config, "settings": settings, "derived": {"measured_split": split}}
    warnings = remarks.warnings(dataclasses.replace(run, config=config), [])
    assert any("lowered by the loss on the test" in warning for warning in warnings) == is_told


def test_a_single_client_has_nobody_to_federate_with(run):
    alone = {**run.config, "sites": [{"client": "a", "site": "a", "source": "csv"}]}
    (warning,) = _warnings(run, _ROW, _SITE, config=alone)
    assert warning.startswith("There is one client only")
    two = {**run.config, "sites": alone["sites"] * 2}
    assert _warnings(run, _ROW, _SITE, config=two) == []
    assert _warnings(run, _ROW, _SITE, config={**alone, "engine": "hospitals"}) == []
    assert _warnings(run, _ROW, config=alone) == []


def test_heat_maps_of_few_places_are_said_to_be_coarse(run):
    derived = {"heat_map_places": {"resnet18": 2, "covidnet": 2, "standard": 4}}
    warnings = remarks.warnings(dataclasses.replace(run, config={"derived": derived}), [])
    (coarse,) = [text for text in warnings if "places" in text]
    assert coarse.startswith("The heat maps of ResNet18, COVID-Net have 2 × 2 places")
