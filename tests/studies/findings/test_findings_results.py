"""Tests of tffcxr.studies.findings.findings_results: what the federated model is compared with."""

import types
from typing import Any

import numpy as np
import pytest

from tffcxr.evaluation import delong
from tffcxr.studies.findings import findings_results
from tffcxr.training.evaluators.validation import Scores

_STUDY: Any = types.SimpleNamespace(
    settings=types.SimpleNamespace(replicates=20, seed=0), patients=lambda images: images.rows
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
    return findings_results.TaskScores("Pneumothorax", "a", training, 0, images, images, 0.5)


def _rows(*scores):
    model: Any = None
    result = findings_results.NetworkResult("standard", model, {}, scores)
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
