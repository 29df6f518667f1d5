"""Calibration on numbers that one can follow by hand, and what scaling leaves as it is."""

import math

import numpy as np
import pytest
from scipy import special

from tffcxr.evaluation import calibration, metrics

NAN = float("nan")


def test_the_brier_score_by_hand():
    labels, scores = np.array([1, 0, NAN, 1]), np.array([0.8, 0.4, 0.9, 1.0])
    assert calibration.brier_score(labels, scores) == pytest.approx((0.04 + 0.16 + 0) / 3)
    # Of classes: (0.1² + 0.1² + 0) and (0.5² + 0.7² + 0.2²), halved.
    probabilities = np.array([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2]])
    found = calibration.class_brier_score(np.array([0, 1]), probabilities)
    assert found == pytest.approx((0.02 + 0.78) / 2)


def test_the_calibration_error_by_hand():
    # Two bins of 15: scores of 0.62 and 0.64 (one of two positive), and of 0.1 (none of two).
    labels, scores = np.array([1, 0, 0, 0, NAN]), np.array([0.62, 0.64, 0.1, 0.1, 0.3])
    assert calibration.calibration_error(labels, scores) == pytest.approx(0.5 * 0.13 + 0.5 * 0.1)
    # The predicted classes have 0.9 (right) and 0.5 (wrong).
    probabilities = np.array([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2]])
    found = calibration.class_calibration_error(np.array([0, 1]), probabilities)
    assert found == pytest.approx(0.5 * 0.1 + 0.5 * 0.5)


def test_the_bins_are_closed_above_and_the_lowest_has_zero():
    found = calibration.reliability(np.array([0, 1, 1, 1]), np.array([0.0, 0.5, 0.51, 1.0]), bins=2)
    assert found.images.tolist() == [2, 2]
    assert found.score.tolist() == [0.25, 0.755]
    assert found.fraction.tolist() == [0.5, 1.0]


@pytest.mark.filterwarnings("error")
def test_what_is_undefined_is_nan_and_a_warning():
    for function in (calibration.brier_score, calibration.calibration_error):
        with pytest.warns(Warning, match="no known label"):
            assert math.isnan(function(np.array([NAN]), np.array([0.5])))
    for of_classes in (calibration.class_brier_score, calibration.class_calibration_error):
        with pytest.warns(Warning, match="no image"):
            assert math.isnan(of_classes(np.zeros(0, int), np.zeros((0, 2))))


def _rows(positives_high, positives_low, high, low, count=20):
    """`count` images with the logit `high`, of which so many are positive, and so on."""
    labels = np.zeros(2 * count)
    labels[:positives_high] = 1
    labels[count : count + positives_low] = 1
    return labels, np.repeat([high, low], count).astype(float)


def test_the_temperature_of_images_that_are_right_three_times_in_four():
    # sigmoid(2 / T) = 3/4, so 2 / T = ln 3. An unknown label changes nothing.
    labels, logits = _rows(15, 5, 2.0, -2.0)
    found = calibration.fit_finding(
        np.append(labels, NAN), np.append(logits, 99.0), method="temperature"
    )
    assert found.temperature == pytest.approx(2 / math.log(3), rel=1e-9)
    assert (found.method, found.bias, found.remark) == ("temperature", 0.0, "")


def test_platts_scaling_goes_through_two_points():
    # Platt's targets of 20 and 20 images are 21/22 and 1/22, so those of the two groups are
    labels, logits = _rows(15, 5, 5.0, 1.0)
    # (15 · 21 + 5) / 440 = 8/11 and 3/11: logits of ±ln(8/3) at logits of 5 and 1.
    found = calibration.fit_finding(labels, logits, "platt")
    slope = 2 * math.log(8 / 3) / 4
    assert found.temperature == pytest.approx(1 / slope, rel=1e-6)
    assert found.bias == pytest.approx(-3 * slope, rel=1e-6)
    assert found.apply(np.array([3.0])) == pytest.approx(0, abs=1e-6)


def test_the_temperature_of_classes_by_hand():
    # Two classes with a difference of 4 in their logits, right three times in four.
    logits = np.tile([[4.0, 0.0], [0.0, 4.0]], (12, 1))
    truth = np.tile([0, 1], 12)
    truth[:6] = 1 - truth[:6]
    found = calibration.fit_classes(truth, logits, "temperature")
    assert found.temperature == pytest.approx(4 / math.log(3), rel=1e-9)


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_calibrated_logits_stay_and_their_order_always_does(method):
    rng = np.random.default_rng(0)
    logits = rng.normal(0.5, 2.0, 20_000)
    labels = (rng.random(len(logits)) < special.expit(logits)).astype(float)
    found = calibration.fit_finding(labels, logits, method)
    assert (found.temperature, found.bias) == pytest.approx((1.0, 0.0), abs=0.05)
    again = calibration.fit_finding(labels, 3 * logits + 1, method)
    # Overconfident logits come back; only a bias undoes what was added.
    assert again.temperature == pytest.approx(3.0 * found.temperature, rel=0.2)
    before, after = (special.expit(v) for v in (3 * logits + 1, again.apply(3 * logits + 1)))
    one, other = (metrics.binary_metrics(labels, s, 0.5) for s in (before, after))
    assert one["auroc"] == other["auroc"]
    assert other["loss"] < one["loss"] and other["ece"] < one["ece"]
    if method == "platt":
        assert again.apply(3 * logits + 1) == pytest.approx(found.apply(logits), abs=1e-6)
    else:
        assert one["accuracy_half"] == other["accuracy_half"]


@pytest.mark.parametrize("method", ["temperature", "platt"])
@pytest.mark.parametrize(
    ("labels", "logits", "remark"),
    [
        (np.ones(40), np.arange(40.0), "10 validation images of each class, found 0"),
        (np.repeat([0.0, 1.0], 9), np.arange(18.0), "each class, found 9"),
        (np.repeat([1.0, 0.0], 20), np.arange(40.0), "do not rise"),
        (np.repeat([0.0, 1.0], 20), np.full(40, np.inf), "not finite"),
    ],
)
def test_images_that_determine_no_scaling(labels, logits, remark, method):
    found = calibration.fit_finding(labels, logits, method)
    assert remark in found.remark
    assert found.method == "none"
    np.testing.assert_array_equal(found.apply(logits), logits)


def test_a_model_without_an_error_is_not_made_certain():
    labels, logits = np.repeat([0.0, 1.0], 20), np.repeat([-3.0, 3.0], 20)
    assert "without an error" in calibration.fit_finding(labels, logits, "temperature").remark
    found = calibration.fit_finding(labels, logits, "platt")
    assert special.expit(found.apply(np.array([3.0])))[0] == pytest.approx(21 / 22, rel=1e-6)
    truth, scores = np.tile([0, 1], 10), np.tile([[1.0, 0.0], [0.0, 1.0]], (10, 1))
    assert "without an error" in calibration.fit_classes(truth, scores, "temperature").remark
    few = calibration.fit_classes(truth[:19], scores[:19], "temperature")
    assert few.remark == "expected 20 validation images of two classes, found 19 of 2"
