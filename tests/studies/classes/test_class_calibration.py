"""One temperature for all classes, from the validation images to the exported model."""

import math
import types
from typing import Any

import numpy as np
import pytest
from scipy import special

from tests.training import example
from tffcxr.evaluation.calibration import Scaling
from tffcxr.models.files import export, metadata
from tffcxr.studies.classes import class_results, class_scores
from tffcxr.studies.classes.variants import Variant
from tffcxr.training.evaluators.validation import Scores

CLASSES = ("Normal", "Ill")


class _Overconfident:
    """Gives log probabilities whose logits differ by 8; they are right three times in four."""

    def score(self, weights, client, split):
        truth = np.tile([0, 1], 12)
        called = truth.copy()
        called[:6] = 1 - called[:6]
        scores = special.log_softmax(8.0 * np.eye(2, dtype=np.float32)[called], axis=1)
        clients = np.full(24, f"{client} {split}", object)
        return Scores(np.arange(24), clients, np.eye(2)[truth], scores)


@pytest.mark.parametrize("method", ["temperature", "none"])
def test_scores_are_scaled_on_the_validation_images_of_all_clients(method):
    study: Any = types.SimpleNamespace(
        settings=types.SimpleNamespace(calibration=method), with_train_scores=True
    )
    scorer: Any = _Overconfident()
    scaling, scores = class_scores.score(study, scorer, {"b": [], "a": []})
    assert scores["test"].clients.tolist() == ["a test"] * 24 + ["b test"] * 24
    assert scaling.method == method
    sure = 0.75 if method == "temperature" else special.expit(8)
    for split in ("test", "train"):
        assert np.exp(scores[split].scores).max(axis=1) == pytest.approx(sure, abs=1e-5)
        assert np.exp(scores[split].scores).sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    if method == "temperature":
        assert scaling.temperature == pytest.approx(8 / math.log(3), rel=1e-5)


def test_the_exported_model_has_the_temperature(tmp_path):
    variant, model = Variant("standard"), example.model()
    weights = model.keras.get_weights()
    images = np.random.default_rng(0).random((3, example.SIZE, example.SIZE, 1), np.float32)
    expected = special.softmax(model.keras(images).numpy() / 4, axis=1)
    study: Any = types.SimpleNamespace(
        classes=CLASSES,
        trained=lambda training: [variant],
        about_model=lambda outputs, network, number, **others: metadata.Metadata(
            "classes", outputs, example.SIZE, "pad", "covid", network, True, **others
        ),
    )
    (tmp_path / "models").mkdir()
    scaling = Scaling("temperature", 4.0)
    class_results.save_model(tmp_path, study, variant, "federated", model, weights, scaling)
    exported = export.load(tmp_path / "models" / "federated_standard.keras")
    np.testing.assert_allclose(exported.keras(images).numpy(), expected, atol=1e-6)
    assert exported.metadata.calibration["Ill"]["temperature"] == 4.0
