"""What TensorBoard shows, read back from its files."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.training import event_writer
from tffcxr.training.loop import ClientResult, RoundResult


def _events(folder):
    found = {}
    for path in sorted(folder.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found[value.tag, event.step] = tf.make_ndarray(value.tensor)
    return found


def _result():
    return RoundResult(
        clients=(ClientResult("north", 20, 0.5), ClientResult("south", 10, math.nan, "failed")),
        train_loss=0.5,
        validation={"Edema/auroc": 0.75, "Edema/loss": math.nan},
        validation_by_client={"north": {"Edema/auroc": 0.875}},
    )


def _row(number):
    return {"round": number, "images": 20, "seconds": 4.0, "learning_rate": 0.01}


def test_scalars_by_round_and_none_that_is_undefined(tmp_path):
    observer = event_writer.TensorBoard(tmp_path)
    observer(_row(1), _result(), None)
    observer(_row(2), _result(), None)
    events = _events(tmp_path)
    assert {tag for tag, _ in events} == {
        "loss/train",
        "loss/train/north",
        "learning_rate",
        "images_per_second",
        "Edema/auroc",
        "Edema/auroc/north",
    }
    assert {step for _, step in events} == {1, 2}
    assert float(events["images_per_second", 2]) == pytest.approx(5.0)
    assert float(events["Edema/auroc/north", 1]) == pytest.approx(0.875)


def test_what_is_known_of_updates(tmp_path):
    hostile = ClientResult(
        "south", 10, 0.5, update_norm=9.0, cosine=-0.5, suspicion="norm+direction"
    )
    honest = ClientResult("north", 20, 0.5, update_norm=1.0, cosine=0.5)
    result = dataclasses.replace(_result(), clients=(honest, hostile))
    event_writer.TensorBoard(tmp_path)(_row(1), result, None)
    events = _events(tmp_path)
    assert float(events["update_norm/south", 1]) == 9 and float(events["cosine/north", 1]) == 0.5
    assert [float(events[f"suspicions/{name}", 1]) for name in ("north", "south")] == [0, 2]


def test_histograms_on_request(tmp_path):
    asked = []

    def weights_of(state, round_number):
        asked.append(round_number)
        return event_writer.name_weights(["north/conv/kernel"], [np.array(state)])

    event_writer.TensorBoard(tmp_path, weights_of)(_row(3), _result(), [1.0, 2.0, 4.0])
    histogram = _events(tmp_path)["north/conv/kernel", 3]  # rows of left, right, count
    assert asked == [3]
    assert histogram[:, 2].sum() == 3
    assert (histogram[0, 0], histogram[-1, 1]) == (1.0, 4.0)
