"""What hospitals tell of a round's model, by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from tffcxr.evaluation import registry
from tffcxr.hospitals import measures, wire
from tffcxr.training.evaluators.mask_validation import MaskScores
from tffcxr.training.evaluators.validation import FindingsEvaluator, Scores

NO_SCORER: Any = None
FINDINGS = FindingsEvaluator(NO_SCORER, ("Opacity", "Effusion"))


def scores(client, labels, probability=0.75):
    labels = np.array(labels, np.float32)
    rows = np.arange(len(labels))
    predicted = np.full(labels.shape, probability, np.float32)
    return Scores(rows, np.full(len(rows), client, object), labels, predicted)


def report(of_images=False, smallest_count=3, evaluator=FINDINGS, **of_clients):
    about, fields = measures.report(
        evaluator, of_clients, of_images=of_images, smallest_count=smallest_count
    )
    message = wire.Message("measure", about, fields)
    return wire.decode(wire.encode(message), 1 << 20)


def together(*messages, evaluator=FINDINGS):
    return measures.together(evaluator, [measures.read(evaluator, each) for each in messages])


NAN = math.nan


def test_a_metric_of_few_labels_is_not_reported():
    # Four images, of which two have a label for effusions.
    north = scores("north", [[1, NAN], [0, NAN], [1, 0], [0, 1]])
    about = report(north=north).about
    measured = about["measured"]["north"]
    assert measured["Opacity/loss"] is not None and about["counts"]["north"]["Opacity/loss"] == 4
    # The digits of an AUROC tell how many images have each label: here two and two.
    assert measured["Opacity/auroc"] is None and measured["Opacity/aupr"] is None
    assert measured["Effusion/loss"] is None and about["counts"]["north"]["Effusion/loss"] is None
    assert about["images"] == {"north": 4}
    assert report(north=north, smallest_count=5).about["images"] == {"north": None}


def test_the_joint_loss_weighs_by_labels_and_auroc_is_of_bins():
    north = scores("north", [[1, NAN]] * 3 + [[NAN, 1]] * 3, 0.5)
    south = scores("south", [[1, 1]] * 9, 0.25)
    joint, by_client = together(report(north=north), report(south=south))
    # 3 labels with a loss of ln 2, and 9 with one of ln 4.
    assert joint["Opacity/loss"] == pytest.approx((3 * math.log(2) + 9 * math.log(4)) / 12)
    assert by_client["south"]["Opacity/loss"] == pytest.approx(math.log(4))
    assert list(by_client) == ["north", "south"]
    both = scores("both", [[1, 1], [0, 0]] * 5)
    joint, _ = together(report(north=north), report(both=both))
    assert joint["Opacity/auroc"] == 0.5  # North has one class alone, so that is of one hospital.
    joint, _ = together(report(both=both), report(other=both))
    assert math.isnan(joint["Opacity/aupr"])
    assert math.isnan(joint["Opacity/auroc"])  # All scores are in one bin.


def test_one_hospital_with_scores_and_one_without():
    north = scores("north", [[1, 1], [0, 0]] * 5, 0.5)
    south = scores("south", [[1, 1], [0, 0]] * 5, 0.5)
    joint, by_client = together(report(of_images=True, north=north), report(south=south))
    assert joint["Opacity/loss"] == pytest.approx(math.log(2))
    assert math.isnan(joint["Opacity/auroc"]) and by_client["north"]["Opacity/auroc"] == 0.5
    joint, _ = together(report(of_images=True, north=north), report(of_images=True, south=south))
    assert joint["Opacity/auroc"] == 0.5


def test_nobody_tells_anything():
    joint, by_client = together()
    assert set(joint) == set(FINDINGS.columns) and all(map(math.isnan, joint.values()))
    assert by_client == {}
    joint, _ = together(report(), report(of_images=True))
    assert all(map(math.isnan, joint.values()))


def test_arrays_of_another_form_do_not_fit_together():
    north = report(of_images=True, north=scores("north", [[1, 1], [0, 0]]))
    fields = [dataclasses.replace(field) for field in north.fields]
    fields[1] = wire.Field(fields[1].name, np.zeros((2, 3), np.float32))
    fields[2] = wire.Field(fields[2].name, np.zeros((2, 3), np.float32))
    about = {"scores": "Scores", "images": {"south": 2}}
    with pytest.raises(wire.MessageError, match="found other values"):
        together(north, wire.Message("measure", about, tuple(fields)))


class Regions:
    """Columns of masks, whose values do not matter."""

    columns = tuple(
        metric.column("Lungs")
        for metric in (registry.LOSS, registry.DICE, registry.SENSITIVITY, registry.SPECIFICITY)
    )

    def metrics(self, parts):
        return dict.fromkeys(self.columns, 0.5)


def test_metrics_of_masks_count_the_images_that_they_are_of():
    # Five images, of which three have the region; the overlap of the others is not defined.
    has_region = np.array([1, 1, 1, 0, 0], bool)
    arrays = {field.name: np.zeros(5) for field in dataclasses.fields(MaskScores)}
    arrays["truth_area"] = has_region.astype(float)
    arrays["dice"] = np.where(has_region, 0.5, np.nan)
    arrays["clients"] = np.full(5, "north", object)
    about = report(evaluator=Regions(), north=MaskScores(**arrays)).about
    assert about["counts"]["north"] == {
        "Lungs/loss": 5, "Lungs/dice": 3, "Lungs/sensitivity": 3, "Lungs/specificity": None,
    }  # fmt: skip
    assert about["measured"]["north"]["Lungs/specificity"] is None
