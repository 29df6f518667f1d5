"""Which images are explained, and by which models."""

import types
from typing import Any

import numpy as np
import pandas as pd

from tffcxr.evaluation.calibration import Scaling
from tffcxr.studies.classes import class_explanations
from tffcxr.studies.classes.variants import Result, Variant
from tffcxr.training.evaluators.validation import Scores

CLASSES = ("Normal", "Ill")


def _result(rows, ill):
    """A model that scored rows of a client "a"; `ill` are their probabilities of the class."""
    truth = np.array([[0, 1]] * len(rows), np.float32)
    scores = np.log(np.array([[1 - p, p] for p in ill], np.float32))
    clients = np.full(len(rows), "a", object)
    found = Scores(np.array(rows, np.int64), clients, truth, scores)
    return Result(Variant("standard"), "federated", [], {}, Scaling(), found, None)


def _cases(results, heatmaps, masks):
    records = {"a": pd.DataFrame({"mask": masks}, dtype=object)}
    clients = types.SimpleNamespace(records=records)
    study: Any = types.SimpleNamespace(clients=clients, heatmaps=heatmaps)
    places = [class_explanations._places(result) for result in results]
    return class_explanations._cases(study, results, places, CLASSES.index("Ill"))


def test_only_images_that_all_models_saw_are_explained():
    # Row 2 was rejected for the second model: another row of its scores is another image.
    results = [_result([0, 1, 2], [0.5, 0.6, 0.9]), _result([0, 1], [0.5, 0.6])]
    assert _cases(results, 5, [None] * 3) == [("a", 1), ("a", 0)]


def test_outlined_images_come_first_then_those_that_models_together_are_sure_of():
    results = [_result([0, 1, 2], [0.9, 0.8, 0.1]), _result([2, 1, 0], [0.2, 0.9, 0.7])]
    assert _cases(results, 2, [None, None, object()]) == [("a", 2), ("a", 1)]
