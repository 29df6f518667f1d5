"""How often a rehearsed backdoor opens, by hand."""

import types
from typing import Any

import numpy as np
import pytest

from tffcxr.studies import trainings
from tffcxr.studies.classes import class_backdoor
from tffcxr.studies.findings import findings_backdoor
from tffcxr.studies.findings.findings_results import TaskScores
from tffcxr.training.backdoor import StampedImages
from tffcxr.training.evaluators.validation import Scores

NAN = np.nan
NO_DATA: Any = None
WEIGHTS: Any = "weights"


class _FakeScorer:
    """Says these scores, if the images are stamped."""

    def __init__(self, scores):
        self._scores = scores

    def over(self, data):
        assert isinstance(data, StampedImages)
        return self

    def score(self, weights, client, split):
        assert (weights, client, split) == ("weights", "a", "test")
        return self._scores


def _scorer(scores) -> Any:
    return _FakeScorer(scores)


def _study(is_backdoor=True) -> Any:
    return types.SimpleNamespace(
        attackers=types.SimpleNamespace(is_backdoor=is_backdoor),
        clients=types.SimpleNamespace(clients_of=lambda site: ["a"]),
        patients=lambda scores: np.array([f"p{row}" for row in scores.rows], object),
        settings=types.SimpleNamespace(replicates=10, seed=0),
    )


def _scores(labels, scores) -> Any:
    count = len(labels)
    arrays = np.float32(labels), np.float32(scores)
    return Scores(np.arange(count), np.full(count, "a", object), *arrays)


def _task(training, threshold=0.5):
    test = _scores([[1], [1], [0], [NAN]], [[0.9], [0.2], [0.1], [0.1]])
    return TaskScores("Mass", "Mass", "site", training, 0, test, test, threshold)


def test_of_a_finding_those_with_it_count():
    stamped = _scores([[1], [1], [0], [NAN]], [[-5.0], [-5.0], [5.0], [5.0]])
    tasks = [_task(trainings.FEDERATED), _task(trainings.SITE)]
    models = {"site": WEIGHTS}
    found = findings_backdoor.measured(_study(), _scorer(stamped), NO_DATA, models, tasks)
    assert found[1].backdoor == {}
    assert found[0].backdoor == {
        "backdoor_success": 1.0,
        # Wilson's of 2 of 2: 2 / (2 + 1.96^2).
        "backdoor_success_low": pytest.approx(2 / (2 + 1.96**2), abs=1e-4),
        "backdoor_success_high": 1.0,
        "backdoor_images": 2,
        "backdoor_without_trigger": 0.5,
    }


def test_without_an_operating_point_it_is_unknown():
    stamped = _scores([[1], [1], [0], [NAN]], [[-5.0], [-5.0], [5.0], [5.0]])
    tasks = [_task(trainings.FEDERATED, threshold=NAN)]
    with pytest.warns(match="the proportion is undefined"):
        (found,) = findings_backdoor.measured(
            _study(), _scorer(stamped), NO_DATA, {"site": WEIGHTS}, tasks
        )
    assert np.isnan(
        [found.backdoor["backdoor_success"], found.backdoor["backdoor_success_low"]]
    ).all()
    assert np.isnan(found.backdoor["backdoor_without_trigger"])


def test_of_classes_those_of_others_than_the_first_count():
    labels = [[1, 0], [0, 1], [0, 1], [0, 1], [0, 1]]
    stamped = _scores(labels, [[0, -9], [0, -9], [-9, 0], [-9, 0], [-9, 0]])
    test = _scores(labels, [[0, -9], [-9, 0], [-9, 0], [-9, 0], [-9, 0]])
    found = class_backdoor.measured(_study(), _scorer(stamped), NO_DATA, WEIGHTS, test)
    assert (found["backdoor_success"], found["backdoor_images"]) == (0.25, 4)
    assert found["backdoor_without_trigger"] == 0.0


def test_without_a_backdoor_nothing_is_scored():
    tasks = [_task(trainings.FEDERATED)]
    assert findings_backdoor.measured(_study(False), NO_DATA, NO_DATA, {}, tasks) == tasks
    assert class_backdoor.measured(_study(False), NO_DATA, NO_DATA, WEIGHTS, NO_DATA) == {}
