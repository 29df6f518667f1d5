"""Metrics by task, over the cases of the clients that have the task."""

import numpy as np
import pytest

from tffcxr.training.evaluators.case_validation import CaseEvaluator, score_cases
from tffcxr.training.evaluators.mask_validation import MaskEvaluator, MaskScores


def _scores(client, loss, truth, predicted, common, boxed):
    count = len(loss)
    unused = np.zeros(count)
    # The boundary is half of the area, and half of what is in boxes is in the one box.
    edge = np.array(truth, float) / 2, np.array(boxed, float) / 4
    arrays = [*(np.array(values, float) for values in (truth, predicted, common, boxed)), *edge]
    return MaskScores(
        np.arange(count), np.full(count, client, object), np.array(loss, float), unused, unused,
        *arrays,
    )  # fmt: skip


def _cases_of(scores):
    """Two slices to a case."""
    return np.array(
        [f"{client}/{row // 2}" for client, row in zip(scores.clients, scores.rows)], object
    )


class _Evaluator(MaskEvaluator):
    def __init__(self):
        pass

    def score(self, weights, client):
        return _scores(client, [weights[0]], [0.1], [0.1], [0.1], [0.1])


@pytest.fixture
def evaluator():
    return CaseEvaluator(_Evaluator(), {"a": "PET", "b": "CT", "c": "PET"}, _cases_of)


def test_cases_by_hand():
    scores = _scores(
        "a", [1, 1, 1, 1], [0.1, 0.3, 0.2, 0], [0.1, 0.1, 0, 0], [0.1, 0.1, 0, 0], [0.1, 0.2, 0, 0]
    )
    found = score_cases(scores, _cases_of)
    np.testing.assert_allclose(found.dice, [2 * 0.2 / 0.6, 0.0])
    np.testing.assert_allclose(found.overlap, [0.75, 0.0])
    np.testing.assert_allclose(found.boundary_overlap, [0.375, 0.0])
    assert found.missed.tolist() == [False, True]


def test_each_task_has_its_own_clients(evaluator):
    names = ("loss", "dice", "overlap", "boundary_overlap")
    assert evaluator.columns == tuple(f"{task}/{name}" for task in ("PET", "CT") for name in names)
    values = evaluator.metrics(
        [
            _scores("a", [1, 2], [0.1, 0.1], [0.1, 0.1], [0.1, 0.1], [0.1, 0.1]),
            _scores("b", [7, 9], [0.4, 0.0], [0.0, 0.2], [0.0, 0.0], [0.0, 0.0]),
            _scores("c", [6], [0.5], [0.0], [0.0], [0.0]),
        ]
    )
    assert values["PET/loss"] == 3.0  # Of three slices.
    assert values["PET/dice"] == 0.5  # Of two cases, 1 and 0.
    assert values["PET/overlap"] == 0.5
    assert values["PET/boundary_overlap"] == 0.25
    assert values["CT/loss"] == 8.0
    assert values["CT/dice"] == values["CT/overlap"] == 0.0
    assert tuple(values) == evaluator.columns


def test_what_is_undefined_is_nan(evaluator):
    values = evaluator.metrics([_scores("b", [1, 1], [0, 0], [0, 0], [0, 0], [0, 0])])
    assert values["CT/dice"] == 1.0  # Nothing is there, and nothing was found.
    assert np.isnan(values["CT/overlap"])
    assert all(np.isnan(values[f"PET/{name}"]) for name in ("loss", "dice", "overlap"))
    empty = _scores("a", [], [], [], [], [])
    assert all(np.isnan(value) for value in evaluator.metrics([empty]).values())


def test_slices_are_scored_by_the_evaluator(evaluator):
    assert evaluator.score([4.0], "b").loss.tolist() == [4.0]
