"""Cross-entropy and accuracy of a model of classes, by hand."""

import numpy as np
import pandas as pd
from PIL import Image
import pytest
import tensorflow as tf

from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards.preparation import ShardSpec, prepare
from tffcxr.training.evaluators.class_validation import ClassEvaluator
from tffcxr.training.evaluators.validation import Scorer

CLASSES = ("bright", "grey", "dark")
SIZE = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    rows = []
    # A bright, a grey and a dark image; the last is bright and called dark.
    for number, (value, kind) in enumerate(((255, 0), (255, 0), (128, 1), (0, 2), (255, 2))):
        path = folder / f"{number}.png"
        Image.fromarray(np.full((SIZE, SIZE), value, np.uint8)).save(path)
        row: dict[str, object] = {"image": str(path), "patient": str(number)}
        row["split"] = "test" if number else "train"
        row.update({name: float(place == kind) for place, name in enumerate(CLASSES)})
        rows.append(row)
    spec = ShardSpec(SIZE, CLASSES)
    store = prepare({"north": pd.DataFrame(rows)}, spec, folder / "cache", progress=False)
    return ClientData(store, 2, seed=0)


def test_loss_and_accuracy_by_hand(data):
    images = tf.keras.Input((SIZE, SIZE, 1))
    logits = tf.keras.layers.Dense(3)(tf.keras.layers.GlobalAveragePooling2D()(images))
    model = tf.keras.Model(images, logits)
    # Logits 2 x, 0 and 1 - 2 x for the brightness x: 1, 128 / 255, 0 and 1.
    weights = [np.array([[2.0, 0.0, -2.0]]), np.array([0.0, 0.0, 1.0])]
    evaluator = ClassEvaluator(Scorer(model, data, tf.nn.log_softmax), "tiny", "test")
    scores = evaluator.score(weights, "north")
    np.testing.assert_allclose(np.exp(scores.scores).sum(axis=1), 1.0, rtol=1e-6)
    values = evaluator.metrics([scores])
    assert tuple(values) == evaluator.columns == ("tiny/loss", "tiny/accuracy")
    brightness = np.array([1.0, 128 / 255, 0.0, 1.0])
    table = np.stack([2 * brightness, 0 * brightness, 1 - 2 * brightness], axis=1)
    logs = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
    expected = -np.mean(logs[range(4), [0, 1, 2, 2]])
    assert values["tiny/loss"] == pytest.approx(expected, rel=1e-5)
    # The first of the classes bright (2, 0, -1), bright (1.004, 0, -0.004), dark (0, 0, 1), bright.
    assert values["tiny/accuracy"] == 0.5
