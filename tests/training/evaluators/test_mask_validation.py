"""Loss, Jaccard and Dice of every image, with a model whose masks are known."""

import numpy as np
import pandas as pd
from PIL import Image
import pytest
import tensorflow as tf

from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards.preparation import ShardSpec, prepare
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.models import segmentation_losses
from tffcxr.training.evaluators.mask_validation import MaskEvaluator

SIZE = 16


def brightness(threshold: float) -> tf.keras.Model:
    """Calls every pixel above a threshold lung: logit 20 (brightness - threshold)."""
    images = tf.keras.Input((SIZE, SIZE, 1))
    logits = tf.keras.layers.Conv2D(1, 1, name="task")(images)
    model = tf.keras.Model(images, logits)
    model.set_weights([np.full((1, 1, 1, 1), 20.0), np.array([-20.0 * threshold])])
    return model


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two clients; the left half of each image is bright and lungs are its top half or nothing."""
    folder = tmp_path_factory.mktemp("masks")
    records = {}
    for client, images in (("north", 2), ("south", 1)):
        rows = []
        for number in range(images + 1):
            pixels = np.zeros((SIZE, SIZE), np.uint8)
            pixels[:, :8] = 255
            path = folder / f"{client}-{number}.png"
            Image.fromarray(pixels).save(path)
            boxes = ((0, 0, 16, 8),) if number != 2 else ()
            rows.append(
                {
                    "image": str(path),
                    "patient": f"{client}-{number}",
                    "mask": areas.Boxes(boxes, SIZE, SIZE),
                    "split": "train" if number == 0 else "test",
                }
            )
        records[client] = pd.DataFrame(rows)
    spec = ShardSpec(SIZE, (), with_mask=True)
    return ClientData(prepare(records, spec, folder / "cache", progress=False), 4, seed=0)


def _evaluator(model, data):
    return MaskEvaluator(model, data, "Lungs", segmentation_losses.bce_dice, "test")


def test_each_image_by_hand(data):
    model = brightness(0.5)
    scores = _evaluator(model, data).score(model.get_weights(), "north")
    assert scores.rows.tolist() == [1, 2]
    assert set(scores.clients) == {"north"}
    # Bright left half against lungs in the top half, and against none.
    np.testing.assert_allclose(scores.jaccard, [1 / 3, 0.0])
    np.testing.assert_allclose(scores.dice, [0.5, 0.0])
    np.testing.assert_array_equal(scores.truth_area, [0.5, 0.0])
    np.testing.assert_array_equal(scores.predicted_area, [0.5, 0.5])
    np.testing.assert_array_equal(scores.common_area, [0.25, 0.0])
    # The mask is its own box.
    np.testing.assert_array_equal(scores.boxed_area, [0.25, 0.0])
    # The boundary of a rectangle of full width and half the height, and its left half.
    edge = 2 * SIZE + 2 * (SIZE // 2 - 2)
    np.testing.assert_array_equal(scores.boundary, [edge / SIZE**2, 0.0])
    np.testing.assert_array_equal(scores.boxed_boundary, [edge / 2 / SIZE**2, 0.0])
    # Half of the pixels are wrong by a logit of 10; soft Dice (2 * 64 + 1) / (128 + 128 + 1).
    p = 1 / (1 + np.exp(-10.0))
    entropy = 0.5 * 10 + np.log1p(np.exp(-10.0))
    overlap = 64 * p + 64 * (1 - p)
    total = 128 * p + 128 * (1 - p) + 128
    expected = entropy + 1 - (2 * overlap + 1) / (total + 1)
    assert scores.loss[0] == pytest.approx(expected, rel=1e-5)


def test_nothing_found_where_nothing_is_equals_the_truth(data):
    model = brightness(2.0)
    scores = _evaluator(model, data).score(model.get_weights(), "north")
    np.testing.assert_array_equal(scores.jaccard, [0.0, 1.0])


def test_the_weights_that_are_given_are_measured(data):
    evaluator = _evaluator(brightness(2.0), data)
    scores = evaluator.score(brightness(0.5).get_weights(), "south")
    np.testing.assert_allclose(scores.jaccard, [1 / 3])


def test_the_other_split_has_other_images_and_the_same_model(data):
    evaluator = _evaluator(brightness(2.0), data)
    scores = evaluator.on("train").score(brightness(0.5).get_weights(), "north")
    assert scores.rows.tolist() == [0]
    np.testing.assert_allclose(scores.jaccard, [1 / 3])
    assert evaluator.score(brightness(0.5).get_weights(), "north").rows.tolist() == [1, 2]


def test_a_picture_is_marked_with_the_weights_that_are_given(data):
    images = np.zeros((2, SIZE, SIZE, 1), np.float32)
    images[1, 2:5, 3:7] = 1.0
    found = _evaluator(brightness(2.0), data).segment(brightness(0.5).get_weights(), images)
    assert (found.dtype, found.shape) == (bool, (2, SIZE, SIZE))
    np.testing.assert_array_equal(found, images[..., 0] == 1.0)


def test_metrics_are_means_over_the_images_of_all_clients(data):
    model = brightness(0.5)
    evaluator = _evaluator(model, data)
    parts = [evaluator.score(model.get_weights(), client) for client in ("north", "south")]
    values = evaluator.metrics(parts)
    names = ("loss", "jaccard", "dice", "client_loss", "client_dice")
    assert tuple(values) == evaluator.columns == tuple(f"Lungs/{name}" for name in names)
    assert values["Lungs/jaccard"] == pytest.approx((1 / 3 + 0 + 1 / 3) / 3)
    assert values["Lungs/dice"] == pytest.approx(1 / 3)
    # North has a Dice of 1/2 and one of 0, south one of 1/2.
    assert values["Lungs/client_dice"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    losses = [part.loss.mean() for part in parts]
    assert values["Lungs/client_loss"] == pytest.approx(sum(losses) / 2)
    alone = evaluator.metrics(parts[:1])
    assert alone["Lungs/client_dice"] == pytest.approx(alone["Lungs/dice"])


def test_without_images_nothing_is_defined(data):
    model = brightness(0.5)
    evaluator = MaskEvaluator(model, data, "Lungs", segmentation_losses.bce_dice, "validation")
    scores = evaluator.score(model.get_weights(), "south")
    assert len(scores.rows) == 0
    assert all(np.isnan(value) for value in evaluator.metrics([scores]).values())
