"""Which models of findings are measured at external sites, and at which operating point."""

import types
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from tffcxr.clients.external_sites import ExternalSites
from tffcxr.clients.sites import ClientRecords
from tffcxr.evaluation import delong, metrics
from tffcxr.studies.findings import findings_external, findings_results
from tffcxr.training.evaluators.validation import Scores

LABELS = np.tile([0.0, 1.0], 20)


class _Scorer:
    """Of a model with one weight: its logits are the weight's multiples of fixed numbers."""

    def __init__(self, offset=0.0, calls=None):
        self._offset = offset
        self.calls = [] if calls is None else calls

    def over(self, data):
        assert data == "images elsewhere"
        return _Scorer(0.5, self.calls)

    def score(self, weights, client, split):
        self.calls.append((float(weights[0]), client))
        assert split == ("test" if client == "far" else "validation")
        numbers = np.random.default_rng(sum(map(ord, client))).normal(size=40) + 2 * LABELS
        return Scores(
            rows=np.arange(40),
            clients=np.full(40, client, dtype=object),
            labels=np.stack([LABELS, np.full(40, np.nan)], axis=1),
            scores=np.stack([float(weights[0]) * (numbers - self._offset)] * 2, axis=1),
        )


def _results(trained, findings_of, far=("Mass",), scorer: Any = None):
    clients = ClientRecords({}, {site: site for site in findings_of}, findings_of, {})
    labels = {name: LABELS if name in far else np.nan for name in clients.findings}
    table = pd.DataFrame({"patient": [f"p{n // 2}" for n in range(40)], **labels})
    study: Any = types.SimpleNamespace(
        clients=clients,
        external=ExternalSites(ClientRecords({"far": table}, {"far": "far"}, {}, {}), {}),
        settings=types.SimpleNamespace(calibration="none", replicates=20, seed=0),
    )
    weights = {
        kind: {site: [np.array(value)] for site, value in by_site.items()}
        for kind, by_site in trained.items()
    }
    scorer = scorer or _Scorer()
    data: Any = "images elsewhere"
    scores = findings_external.score_all(study, scorer, data, weights)
    rounds = {kind: {site: {"round": 3} for site in findings_of} for kind in trained}
    model: Any = None
    result = findings_results.NetworkResult("standard", model, weights, [], rounds, scores)
    return scores, findings_external.metric_rows(study, result)


BOTH = {"a": ("Mass",), "b": ("Mass",)}
TRAINED = {
    "federated": {"a": 1.0, "b": 1.0},
    "site": {"a": 2.0, "b": -3.0},
    "pooled": {"a": 4.0, "b": 4.0},
}


def test_a_shared_model_is_measured_once_and_each_site_s_own_beside_it():
    scores, rows = _results(TRAINED, BOTH)
    assert [row["training"] for row in rows] == ["federated", "site_a", "site_b", "pooled"]
    for row in rows:
        assert (row["task"], row["split"], row["client"]) == ("Mass at far", "external", "far")
        assert (row["images"], row["patients"], row["round"]) == (40, 20, 3)
    federated, own, worse, pooled = rows
    assert (
        federated["auroc"] == own["auroc"] == pooled["auroc"] == pytest.approx(1 - worse["auroc"])
    )
    assert [row["own_sites"] for row in rows] == ["a, b", "a", "b", "a, b"]
    # That of the first site's validation images, which the exported model has.
    of_a = _Scorer().score([1.0], "a", "validation").scores[:, 0]
    for row, weight in ((federated, 1), (own, 2), (pooled, 4)):
        point = metrics.operating_point(LABELS, special.expit(weight * of_a))
        assert row["threshold"] == pytest.approx(point)
        assert "of the first one where it has several" in row["operating_point"]
    called = scores[0].probabilities >= federated["threshold"]
    assert federated["sensitivity"] == called[LABELS == 1].mean()


def test_baselines_are_tested_against_the_federated_model():
    scores, (federated, own, worse, pooled) = _results(TRAINED, BOTH)
    assert "p_delong_federated" not in federated and np.isnan(federated["p_delong"])
    patients = np.array([f"p{n // 2}" for n in range(40)], dtype=object)
    pair = scores[2].probabilities, scores[0].probabilities
    expected = delong.delong_test(LABELS, *pair, patients)[1]
    assert worse["p_delong_federated"] == expected < 0.01
    assert own["p_delong_federated"] == pooled["p_delong_federated"] == 1.0


def test_models_with_layers_of_a_site_are_told_apart_by_its_name():
    private = {**TRAINED, "federated": {"a": 1.0, "b": 2.0}}
    _, rows = _results(private, BOTH)
    assert [row["training"] for row in rows] == [
        *("federated_site_a", "federated_site_b", "site_a", "site_b", "pooled")
    ]
    # Against that of the same site; the pooled model has no such counterpart.
    assert ["p_delong_federated" in row for row in rows] == [False, False, True, True, False]
    assert [row["own_sites"] for row in rows] == ["a", "b", "a", "b", "a, b"]


def test_a_finding_is_measured_where_it_is_labelled_with_the_models_of_sites_that_label_it():
    findings_of = {"a": ("Mass",), "b": ("Edema",)}
    private = {**TRAINED, "federated": {"a": 1.0, "b": 2.0}}
    _, rows = _results(private, findings_of)
    assert [(row["task"], row["training"]) for row in rows] == [
        ("Mass at far", name) for name in ("federated_site_a", "site_a", "pooled")
    ]
    assert ["p_delong_federated" in row for row in rows] == [False, True, True]


def test_a_model_of_several_findings_scores_each_image_once():
    scorer = _Scorer()
    findings_of = {"a": ("Mass", "Edema"), "b": ("Mass", "Edema")}
    _, rows = _results(TRAINED, findings_of, ("Mass", "Edema"), scorer)
    assert len(rows) == 8
    assert sorted(scorer.calls) == sorted(
        [(1.0, "a"), (1.0, "far"), (2.0, "a"), (2.0, "far"), (-3.0, "b"), (-3.0, "far")]
        + [(4.0, "a"), (4.0, "far")]
    )


def test_without_external_sites_nothing_is_scored():
    study: Any = types.SimpleNamespace(external=None)
    scorer: Any = None
    assert findings_external.score_all(study, scorer, None, {}) == []


def test_an_operating_point_that_is_undefined_says_of_which_model():
    with pytest.warns(match="^Mass, federated model, to be used elsewhere: no threshold"):
        _results({"federated": {"a": 0.0}}, {"a": ("Mass",)})
