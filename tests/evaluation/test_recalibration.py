"""Tests of evaluation.recalibration: scikit-learn's fit, the score equation, and hand variances."""

import numpy as np
import pytest
from scipy import special
from sklearn import exceptions, linear_model

from tffcxr.evaluation.recalibration import recalibration


def _finding(seed=0, images=200, slope=1.5, intercept=-0.5):
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, images)
    labels = (generator.random(images) < special.expit(slope * logits + intercept)).astype(float)
    return labels, special.expit(logits)


def test_slope_is_that_of_an_unpenalised_logistic_regression():
    labels, scores = _finding()
    reference = linear_model.LogisticRegression(penalty=None, tol=1e-10)
    reference.fit(special.logit(scores)[:, None], labels)
    found = recalibration(labels, scores)
    assert found["calibration_slope"] == pytest.approx(reference.coef_[0, 0], abs=1e-4)
    assert found["calibration_slope_low"] < 1.5 < found["calibration_slope_high"]


def test_the_intercept_makes_the_mean_probability_the_fraction_of_positive_images():
    labels, scores = _finding(1)
    found = recalibration(labels, scores)
    shifted = special.expit(special.logit(scores) + found["calibration_intercept"])
    assert shifted.mean() == pytest.approx(labels.mean(), abs=1e-8)
    # The sandwich: squared residuals over the squared information, times N / (N - 1).
    variance = ((labels - shifted) ** 2).sum() / (shifted * (1 - shifted)).sum() ** 2 * 200 / 199
    width = found["calibration_intercept_high"] - found["calibration_intercept_low"]
    assert width == pytest.approx(2 * 1.959964 * np.sqrt(variance), rel=1e-6)


def test_a_temperature_divides_the_slope_and_true_probabilities_have_slope_1():
    labels, scores = _finding(2, 4000, slope=1, intercept=0)
    found = recalibration(labels, scores)
    assert found["calibration_slope_low"] < 1 < found["calibration_slope_high"]
    assert found["calibration_intercept_low"] < 0 < found["calibration_intercept_high"]
    extreme = recalibration(labels, special.expit(2 * special.logit(scores)))
    assert extreme["calibration_slope"] == pytest.approx(found["calibration_slope"] / 2, rel=1e-6)


def test_copies_of_a_patients_image_do_not_narrow_the_interval():
    labels, scores = _finding(3)
    once = recalibration(labels, scores)
    copied = np.tile(labels, 4), np.tile(scores, 4)
    of_patients = recalibration(*copied, groups=np.tile(np.arange(200), 4))
    assert of_patients == pytest.approx(once, rel=0.01)
    naive = recalibration(*copied)
    for name in ("calibration_slope", "calibration_intercept"):
        wide = once[f"{name}_high"] - once[f"{name}_low"]
        assert naive[f"{name}_high"] - naive[f"{name}_low"] == pytest.approx(wide / 2, rel=0.05)


def test_separated_scores_have_an_intercept_alone():
    labels = np.repeat([0.0, 1.0], 10)
    for scores in (labels * 0.4 + 0.3, 0.7 - labels * 0.4, np.full(20, 0.5)):
        with pytest.warns(exceptions.UndefinedMetricWarning, match="separate the classes"):
            found = recalibration(labels, scores)
        assert found["calibration_intercept"] == pytest.approx(0, abs=1e-9)
        assert np.isnan([v for name, v in found.items() if "slope" in name]).all()


def test_one_class_or_a_diverged_model_is_nan_with_a_warning():
    for labels, scores in (
        (np.ones(9), np.full(9, 0.5)), (np.full(9, np.nan), np.full(9, 0.5)),
        (np.arange(9) % 2, np.full(9, np.nan)),
    ):  # fmt: skip
        with pytest.warns(exceptions.UndefinedMetricWarning, match="no calibration slope"):
            assert np.isnan(list(recalibration(labels, scores).values())).all()


def test_of_fewer_than_five_patients_in_a_class_there_is_neither():
    labels, scores = _finding()
    few = np.flatnonzero(labels == 1)[:8], np.flatnonzero(labels == 0)
    kept = np.concatenate(few)
    # The eight images with the finding are of four patients.
    patients = np.concatenate([np.arange(8) // 2, 10 + np.arange(len(few[1]))])
    with pytest.warns(exceptions.UndefinedMetricWarning, match="4 patients in a class"):
        found = recalibration(labels[kept], scores[kept], patients)
    assert np.isnan(list(found.values())).all()
    patients[0] = 9
    assert np.isfinite(list(recalibration(labels[kept], scores[kept], patients).values())).all()


@pytest.mark.parametrize("shift", [-10.0, 10.0])
def test_probabilities_that_are_far_off_have_both(shift):
    labels, scores = _finding(5)
    near = recalibration(labels, scores)
    far = recalibration(labels, special.expit(special.logit(scores) + shift))
    assert far["calibration_slope"] == pytest.approx(near["calibration_slope"], rel=1e-6)
    assert far["calibration_intercept"] == pytest.approx(near["calibration_intercept"] - shift)


def test_saturated_scores_are_finite():
    labels, scores = _finding(4)
    scores[:2] = 0.0, 1.0
    found = recalibration(labels, scores)
    assert np.isfinite(list(found.values())).all()
    with pytest.raises(ValueError, match="level between 0 and 1"):
        recalibration(labels, scores, level=0)
