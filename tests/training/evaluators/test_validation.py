"""Scores of a model, and the metrics of a round."""

import math

import numpy as np
import pytest

from tests.training import example
from tffcxr.training.evaluators.validation import FindingsEvaluator, Scorer, Scores


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return example.client_data(tmp_path_factory.mktemp("clients"), north=4)


def test_scores_are_the_logits_of_the_given_weights(data):
    model = example.model().keras
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.3, w.shape) for w in model.get_weights()]
    scores = Scorer(model, data).score(weights, "north", "validation")
    assert scores.rows.tolist() == [4, 5, 6, 7, 8, 9]
    assert scores.clients.tolist() == ["north"] * 6
    assert scores.labels[:, 0].tolist() == [0, 1, 0, 1, 0, 1]
    assert np.isnan(scores.labels[:, 1]).all()
    images = np.concatenate(
        [b["images"].numpy() for b in data.evaluation_dataset("north", "validation")]
    )
    model.set_weights(weights)
    expected = model(images, training=False).numpy()
    np.testing.assert_allclose(scores.scores, expected, atol=1e-5)
    probabilities = scores.as_probabilities()
    np.testing.assert_allclose(probabilities.scores, 1 / (1 + np.exp(-expected)), atol=1e-6)
    assert probabilities.rows is scores.rows
    assert np.ptp(expected[:, 0]) > 0


def test_metrics_by_hand(data):
    scores = Scores(
        np.arange(4),
        np.full(4, "a", dtype=object),
        np.array([[1, np.nan], [0, np.nan], [1, np.nan], [0, 1]], np.float32),
        np.array([[0.8, 0.5], [0.6, 0.5], [0.4, 0.5], [0.2, 0.5]], np.float32),
    )
    evaluator = FindingsEvaluator(Scorer(example.model().keras, data), ("Edema", "Mass"))
    values = evaluator.metrics([scores])
    assert tuple(values) == evaluator.columns
    # Of the four pairs of a positive and a negative, (0.4, 0.6) alone is in the wrong order.
    assert values["Edema/auroc"] == pytest.approx(0.75)
    loss = -(math.log(0.8) + math.log(0.4) + math.log(0.4) + math.log(0.8)) / 4
    assert values["Edema/loss"] == pytest.approx(loss, abs=1e-6)
    assert math.isnan(values["Mass/auroc"])
    assert values["Mass/loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_joining_keeps_the_order():
    parts = [
        Scores(np.array([i]), np.array([c], object), np.full((1, 2), i), np.full((1, 2), i / 10))
        for i, c in enumerate("ab")
    ]
    joined = Scores.join(parts)
    assert joined.rows.tolist() == [0, 1]
    assert joined.clients.tolist() == ["a", "b"]
    assert joined.scores[:, 0].tolist() == [0.0, 0.1]
