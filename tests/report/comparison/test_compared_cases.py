"""The single cases of a row, of every kind of study."""

import json

import numpy as np
import pytest

from tests.report.comparison import tiny_runs
from tffcxr.report import run_reader
from tffcxr.report.comparison import compared_cases
from tffcxr.report.comparison.image_names import ImageNames, NotPairedError


def _cases(path, row=0):
    run = run_reader.read(path)
    return compared_cases.of_row(run, ImageNames(run), run.rows[row])


def _means(values):
    return {name: pytest.approx(np.nanmean(of_case)) for name, of_case in values.items()}


def test_the_means_of_a_finding_are_its_metrics(tmp_path):
    path = tiny_runs.findings(tmp_path / "run")
    cases, row = _cases(path), json.loads((path / "metrics.json").read_text())["rows"][0]
    assert {name: row[name] for name in cases.values} == _means(cases.values)
    assert {*cases.values} == {
        "loss", "brier", "accuracy", "accuracy_half", "sensitivity", "specificity",
    }  # fmt: skip
    once = np.ones((1, 20))
    assert {*cases.statistics} == {"aupr", "f1", "ppv", "npv"}
    for name, statistic in cases.statistics.items():
        assert statistic(once)[0] == pytest.approx(row[name])


def test_cases_stand_in_the_order_of_their_names(tmp_path):
    images = [f"/data/{20 - row:02}.dcm" for row in range(20)]
    cases = _cases(tiny_runs.findings(tmp_path / "run", images=images))
    assert list(cases.names) == sorted(images)
    np.testing.assert_allclose(cases.scores, tiny_runs.SCORES[::-1])
    assert list(cases.patients[:2]) == ["north/p9", "north/p9"]


def test_classes(tmp_path):
    cases = _cases(tiny_runs.classes(tmp_path / "run", np.array([0.1, 0.8, 0.6, 0.9])))
    assert list(cases.values["accuracy"]) == [1, 0, 1, 1]
    assert cases.values["loss"][1] == pytest.approx(-np.log(0.2))
    np.testing.assert_array_equal(cases.values["sensitivity: normal"], [1, 0, np.nan, np.nan])
    assert list(cases.truth) == ["normal", "normal", "ill", "ill"]


def test_masks(tmp_path):
    jaccard = np.array([0.5, np.nan, 0.75])
    cases = _cases(tiny_runs.masks(tmp_path / "run", jaccard))
    np.testing.assert_array_equal(cases.values["jaccard"], jaccard)
    assert "specificity" not in cases.values


def test_volumes_of_one_domain_and_of_all(tmp_path):
    dice = {"PET": np.array([0.5, 0.25]), "CT": np.array([0.75, 1.0])}
    path = tiny_runs.volumes(tmp_path / "run", dice)
    assert list(_cases(path, 1).values["dice"]) == [0.75, 1.0]
    everything = _cases(path, 2)
    assert list(everything.names) == ["CT: CT/p01", "CT: CT/p02", "PET: PET/p01", "PET: PET/p02"]
    assert list(everything.values["dice"]) == [0.75, 1.0, 0.5, 0.25]
    # The CT and the PET of a patient are not independent.
    assert list(everything.patients) == ["p01", "p02", "p01", "p02"]


def test_cases_of_another_evaluation_are_not_paired(tmp_path):
    path = tiny_runs.masks(tmp_path / "run", np.array([0.5, 0.75]))
    results = json.loads((path / "metrics.json").read_text())
    results["rows"][0]["dice"] = 0.7
    (path / "metrics.json").write_text(json.dumps(results))
    with pytest.raises(NotPairedError, match=r"another dice than metrics\.json"):
        _cases(path)
    (path / "masks.csv").unlink()
    with pytest.raises(NotPairedError, match=r"no scores of these images \(masks\.csv\)"):
        _cases(path)
