"""Which rows of a hospital's results leave it, and what of them."""

import pytest

from tffcxr.evaluation import calibration
from tffcxr.hospitals import reported_results

ROW = {"task": "Opacity", "model": "standard", "training": "federated", "split": "test",
       "images": 30, "positives": 15, "patients": 30}  # fmt: skip


def _remark(labels, logits):
    scaling = calibration.fit_finding(labels, logits, "platt")
    (row,) = reported_results.reported([{**ROW, **scaling.about()}], 10)
    assert reported_results.read([row]) == [row]
    return scaling.remark, row["calibration_remark"]


def test_why_scores_are_not_calibrated_leaves_without_a_small_count():
    own, reported = _remark([1.0] * 3 + [0.0] * 20, [0.0] * 23)
    assert own == "expected 10 validation images of each class, found 3"
    assert reported == "expected 10 validation images of each class, found fewer"


@pytest.mark.parametrize("logits", [[0.0] * 40, [-1.0] * 20 + [1.0] * 20])
def test_what_the_validation_images_are_like_does_not_leave(logits):
    own, reported = _remark([1.0] * 20 + [0.0] * 20, logits)
    assert (
        own and reported == "no scaling fits the validation images, see the hospital's own report"
    )


def test_calibrated_scores_have_no_remark():
    (row,) = reported_results.reported(
        [{**ROW, **calibration.Scaling("platt", 2.0, 1.0).about()}], 10
    )
    assert "calibration_remark" not in row and row["temperature"] == 2.0
