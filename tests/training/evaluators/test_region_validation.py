"""Overlap where there is a region, detection where there may be none."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tffcxr.training.evaluators.mask_validation import MaskScores
from tffcxr.training.evaluators.region_validation import RegionEvaluator, detection

NAN = float("nan")


def _scores(client, *images):
    """An image is (loss, jaccard, dice, true area, marked area)."""
    loss, jaccard, dice, truth, predicted = np.array(images, float).reshape(-1, 5).T
    count = len(loss)
    return MaskScores(
        np.arange(count), np.full(count, client, object), loss, jaccard, dice, truth, predicted,
        np.minimum(truth, predicted), truth, truth, truth,
    )  # fmt: skip


class _Evaluator:
    """Has scores of two clients."""

    def score(self, weights, client):
        del weights
        return {
            "north": _scores(
                "north",
                (0.5, 0.25, 0.4, 0.2, 0.3),
                (0.1, 1.0, 1.0, 0.0, 0.0),
                (0.7, 0.0, 0.0, 0.0, 0.1),
            ),
            "south": _scores("south", (0.9, 0.0, 0.0, 0.2, 0.0)),
            "empty": _scores("empty"),
        }[client]


@pytest.fixture(name="evaluator")
def _evaluator():
    masks: Any = _Evaluator()
    return RegionEvaluator(masks, "Lung Opacity")


def test_images_without_the_region_have_no_overlap(evaluator):
    scores = evaluator.score([], "north")
    np.testing.assert_array_equal(scores.jaccard, [0.25, NAN, NAN])
    np.testing.assert_array_equal(scores.dice, [0.4, NAN, NAN])
    before = dataclasses.replace(
        _Evaluator().score([], "north"), jaccard=scores.jaccard, dice=scores.dice
    )
    for field in dataclasses.fields(scores):
        np.testing.assert_array_equal(getattr(scores, field.name), getattr(before, field.name))


def test_metrics_by_hand(evaluator):
    clients = ("north", "south", "empty")
    values = evaluator.metrics([evaluator.score([], client) for client in clients])
    assert tuple(values) == evaluator.columns
    assert values == pytest.approx(
        {
            "Lung Opacity/loss": (0.5 + 0.1 + 0.7 + 0.9) / 4,
            "Lung Opacity/jaccard": 0.25 / 2,
            "Lung Opacity/dice": 0.4 / 2,
            # A client without an image does not count.
            "Lung Opacity/client_loss": (1.3 / 3 + 0.9) / 2,
            "Lung Opacity/client_dice": 0.4 / 2,
            "Lung Opacity/sensitivity": 1 / 2,
            "Lung Opacity/specificity": 1 / 2,
        }
    )


def test_what_has_no_image_is_undefined(evaluator):
    values = evaluator.metrics([evaluator.score([], "empty")])
    assert all(np.isnan(value) for value in values.values())
    values = evaluator.metrics([evaluator.score([], "south")])
    assert np.isnan(values["Lung Opacity/specificity"])
    assert values["Lung Opacity/sensitivity"] == 0


def test_detection_is_by_any_pixel():
    assert detection(np.array([0.1, 0.1, 0, 0, 0]), np.array([1e-6, 0, 0, 0, 0.3])) == (
        pytest.approx((1 / 2, 2 / 3))
    )
