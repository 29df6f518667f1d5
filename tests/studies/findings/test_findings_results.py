"""Tests of tffcxr.studies.findings.findings_results: what the federated model is compared with."""

import dataclasses
import types
from typing import Any

import numpy as np
import pytest
from scipy import special

from tffcxr.clients.sites import ClientRecords
from tffcxr.evaluation import delong
from tffcxr.evaluation.calibration import Scaling
from tffcxr.studies.findings import findings_results
from tffcxr.training.evaluators.validation import Scores

_STUDY: Any = types.SimpleNamespace(
    settings=types.SimpleNamespace(replicates=20, seed=0, federation=None),
    patients=lambda images: images.rows,
)
_LABELS = np.repeat([0.0, 1.0], 20)


def _scores(training, seed):
    generator = np.random.default_rng(seed)
    images = Scores(
        scores=generator.uniform(size=(40, 1)),
        labels=_LABELS[:, None],
        rows=np.arange(40),
        clients=np.array(["a"] * 40, dtype=object),
    )
    return findings_results.TaskScores(
        "Pneumothorax", "Pneumothorax", "a", training, 0, images, images, 0.5
    )


def _rows(*scores):
    model: Any = None
    rounds = {score.training: {"a": {"round": 3}} for score in scores}
    result = findings_results.NetworkResult("standard", model, {}, scores, rounds)
    return findings_results.metric_rows(_STUDY, result)


def _p(one, other):
    return delong.delong_test(_LABELS, one.test.scores[:, 0], other.test.scores[:, 0])[1]


@pytest.mark.parametrize("trainings", [["site", "pooled"], ["site"], ["pooled"], []])
def test_federated_is_tested_against_all_baselines(trainings):
    others = {training: _scores(training, seed) for seed, training in enumerate(trainings)}
    federated = _scores("federated", 9)
    *_, row = _rows(*others.values(), federated)
    assert row.get("baseline") == (trainings[0] if trainings else None)
    if trainings:
        assert row["p_delong"] == _p(federated, others[trainings[0]])
    assert ("p_delong_pooled" in row) == ("p_ttest_pooled" in row) == ("pooled" in trainings)
    if "pooled" in trainings:
        assert row["p_delong_pooled"] == _p(federated, others["pooled"])


def test_baselines_are_not_tested():
    rows = _rows(_scores("site", 0), _scores("pooled", 1))
    assert all(np.isnan(row["p_delong"]) and "baseline" not in row for row in rows)


class _Scorer:
    """Gives every image the logit that stands in place of the weights."""

    def score(self, weights, client, split):
        count = 4
        return Scores(
            rows=np.arange(count),
            clients=np.array([client] * count, dtype=object),
            labels=np.array([[0.0], [1.0]] * 2),
            scores=np.full((count, 1), weights, np.float32),
        )


def test_a_sites_own_model_is_scaled_and_measured_as_at_home_where_others_label_the_same():
    findings_of = {"a": ("Tuberculosis",), "b": ("Tuberculosis",), "c": ("Pneumothorax",)}
    clients = ClientRecords({}, {site: site for site in findings_of}, findings_of, {})
    study: Any = types.SimpleNamespace(clients=clients)
    own: Any = {"a": 0.25, "b": 0.75, "c": 0.5}
    found = [_scores("site", 0)]
    scaling = {"a": Scaling("platt", 0.5, 1.0), "b": Scaling(), "c": Scaling()}
    found = [
        dataclasses.replace(
            found[0],
            finding=findings_of[site][0],
            site=site,
            threshold=own[site],
            scaling=scaling[site],
        )
        for site in own
    ]
    scorer: Any = _Scorer()
    elsewhere = findings_results._score_elsewhere(study, scorer, own, found)
    assert [(task.training, task.task, task.threshold) for task in elsewhere] == [
        ("site_b", "Tuberculosis at a", 0.75),
        ("site_a", "Tuberculosis at b", 0.25),
    ]
    assert elsewhere[0].probabilities == pytest.approx(special.expit(0.75))
    assert elsewhere[1].probabilities == pytest.approx(special.expit(0.25 / 0.5 + 1.0))
    assert elsewhere[0].test.clients.tolist() == ["a"] * 4


class _Overconfident:
    """Gives logits of 6 and -6 that are right three times in four."""

    def score(self, weights, client, split):
        labels = np.tile([1.0, 0.0], 20)
        logits = np.where(labels == 1, 6.0, -6.0).astype(np.float32)
        logits[:10] *= -1
        return Scores(
            rows=np.arange(40),
            clients=np.full(40, client, dtype=object),
            labels=labels[:, None],
            scores=logits[:, None],
        )


def test_scores_are_scaled_on_validation_images_and_rows_say_how():
    clients = ClientRecords({}, {"a-1": "a", "a-2": "a"}, {"a": ("Mass",)}, {})
    settings = types.SimpleNamespace(
        calibration="temperature", replicates=20, seed=0, federation=None
    )
    study: Any = types.SimpleNamespace(
        clients=clients, settings=settings, patients=lambda images: images.rows
    )
    scorer: Any = _Overconfident()
    (found,) = findings_results._score(study, scorer, "federated", "a", ("Mass",), [])
    assert len(found.validation.rows) == 80  # Of both clients.
    assert sorted(set(found.probabilities.tolist())) == pytest.approx([0.25, 0.75])
    model: Any = None
    about = {"round": 3, "chosen": "the last round"}
    result = findings_results.NetworkResult(
        "standard", model, {}, [found], {"federated": {"a": about}}
    )
    (row,) = findings_results.metric_rows(study, result)
    assert row["temperature"] == pytest.approx(6 / np.log(3), rel=1e-6)
    assert (row["calibration"], row["round"]) == ("temperature", 3)
    assert row["ece"] == pytest.approx(0, abs=1e-6)
    assert row["brier"] == pytest.approx(0.75 * 0.25**2 + 0.25 * 0.75**2)
    assert row["accuracy_half"] == 0.75


class _SeveralFindings:
    """Gives logits of 6 and -6 that are right in 30 of 40, 36 and 38 images, of three findings."""

    def score(self, weights, client, split):
        labels = np.tile([1.0, 0.0], 20)
        logits = np.repeat(np.where(labels == 1, 6.0, -6.0)[:, None], 3, axis=1)
        for column, wrong in enumerate((10, 4, 2)):
            logits[:wrong, column] *= -1
        return Scores(
            rows=np.arange(40),
            clients=np.full(40, client, dtype=object),
            labels=np.repeat(labels[:, None], 3, axis=1),
            scores=logits.astype(np.float32),
        )


def test_each_finding_of_each_site_is_scored_and_scaled_on_its_own():
    findings_of = {"a": ("Mass", "Edema"), "b": ("Edema", "Hernia")}
    clients = ClientRecords({}, {"a": "a", "b": "b"}, findings_of, {})
    assert clients.findings == ("Mass", "Edema", "Hernia")
    settings = types.SimpleNamespace(calibration="temperature")
    study: Any = types.SimpleNamespace(clients=clients, settings=settings, elsewhere=True)
    scorer: Any = _SeveralFindings()
    found = findings_results.score_all(study, scorer, {"site": {"a": [], "b": []}})
    assert [(task.training, task.task, task.column) for task in found] == [
        ("site", "Mass", 0),
        ("site", "Edema at a", 1),
        ("site", "Edema at b", 1),
        ("site", "Hernia", 2),
        # On the other's images, what both label.
        ("site_b", "Edema at a", 1),
        ("site_a", "Edema at b", 1),
    ]
    for task, right in zip(found, (30, 36, 36, 38, 36, 36)):
        odds = right / (40 - right)
        assert task.scaling.temperature == pytest.approx(6 / np.log(odds), rel=1e-4)
        assert task.probabilities.max() == pytest.approx(right / 40, rel=1e-4)


def test_an_operating_point_that_is_undefined_says_of_which_model():
    class Same(_SeveralFindings):
        def score(self, weights, client, split):
            found = super().score(weights, client, split)
            return dataclasses.replace(found, scores=np.zeros_like(found.scores))

    clients = ClientRecords({}, {"a": "a"}, {"a": ("Mass", "Edema", "Hernia")}, {})
    settings = types.SimpleNamespace(calibration="none")
    study: Any = types.SimpleNamespace(clients=clients, settings=settings, elsewhere=False)
    scorer: Any = Same()
    with pytest.warns(match="^Edema at a, site model: no threshold is better than chance"):
        findings_results.score_all(study, scorer, {"site": {"a": []}})
