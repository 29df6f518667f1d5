"""Metrics of one finding: loss, accuracy, sensitivity, specificity, AUPR, AUROC, operating point.

The Youden index is from Youden, "Index for rating diagnostic tests", Cancer 3(1), 1950. Areas
under curves are scikit-learn's.
"""

from collections.abc import Callable

import numpy as np
from sklearn import metrics as sklearn_metrics

from tffcxr.evaluation import calibration, inputs

# Probabilities are kept this far from 0 and 1 in the loss, as Keras does, so that one saturated
# float32 score does not make the loss infinite.
_LOSS_EPSILON = 1e-7
_HALF = 0.5
# Of the metrics of a finding.
BINARY_NAMES = (
    "loss", "accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "accuracy_half", "brier",
    "ece", "aupr", "auroc",
)  # fmt: skip
# Why a proportion has no value.
_WITHOUT = {
    "sensitivity": "no positive image",
    "specificity": "no negative image",
    "ppv": "no image is called positive",
    "npv": "no image is called negative",
}


def binary_metrics(labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """Returns the metrics of one model for one finding.

    An undefined metric is NaN and a warning: sensitivity without a positive image, specificity
    without a negative one, predictive values where no image is called so, AUROC and AUPR with one
    class only, those that need an operating point if `threshold` is NaN, and everything if no label
    is known or a score is not finite.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      scores: [N], probabilities in 0..1.
      threshold: a score of at least this much counts as positive. Choose it on other images:
        `operating_point(validation_labels, validation_scores)`.

    Returns:
      `loss` (mean binary cross-entropy in nats); at `threshold`, `accuracy`, `sensitivity`,
      `specificity`, `ppv` and `npv` (positive and negative predictive value), and `f1`;
      `accuracy_half` (at a threshold of 0.5), `brier` and `ece` (see `calibration`), `aupr`
      (average precision: the step-wise area, without interpolation) and `auroc`.

    Raises:
      ValueError: for a score outside 0..1 (a logit, say), or arrays that do not fit together.
    """
    data = inputs.known(labels, [scores])
    positive, probabilities = data.positive, data.scores[0]
    values = dict.fromkeys(BINARY_NAMES, float("nan"))
    if not positive.size:
        inputs.undefined("no image has a known label: every metric is undefined")
        return values
    if not data.finite:
        inputs.undefined("a score is not finite (the model diverged): every metric is undefined")
        return values
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError(
            "expected probabilities in 0..1, found scores from "
            f"{probabilities.min():g} to {probabilities.max():g}"
        )
    values["loss"] = float(losses(positive, probabilities).mean())
    values.update(_at_threshold(positive, probabilities, threshold))
    values["brier"] = calibration.brier_score(labels, scores)
    values["ece"] = calibration.calibration_error(labels, scores)
    if data.has_both_classes:
        values["aupr"] = float(sklearn_metrics.average_precision_score(positive, probabilities))
        values["auroc"] = float(sklearn_metrics.roc_auc_score(positive, probabilities))
    else:
        inputs.undefined(f"{_one_class(positive)}: AUROC and AUPR are undefined")
    return values


def operating_point(labels: np.ndarray, scores: np.ndarray, rule: str = "youden") -> float:
    """Returns the threshold that a rule picks on validation data.

    The threshold lies half-way between two neighbouring scores, so that rounding a score does
    not move an image across it. Of equally good thresholds the lowest is taken, the one with the
    highest sensitivity.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      scores: [N], higher = more likely present.
      rule: "youden" maximises sensitivity + specificity - 1; "closest" minimises the distance to
        the upper left corner of the ROC curve.

    Returns:
      The threshold; a score of at least this much counts as positive. NaN and a warning with one
      class only, a score that is not finite, or where no threshold is better than chance.

    Raises:
      ValueError: for an unknown rule or arrays that do not fit together.
    """
    if rule not in _RULES:
        raise ValueError(f"expected an operating point rule of {sorted(_RULES)}, found {rule!r}")
    data = inputs.known(labels, [scores])
    if not data.has_both_classes:
        inputs.undefined(f"{_one_class(data.positive)}: the operating point is undefined")
        return float("nan")
    if not data.finite:
        inputs.undefined("a score is not finite: the operating point is undefined")
        return float("nan")
    false_positive_rate, sensitivity, thresholds = sklearn_metrics.roc_curve(
        data.positive, data.scores[0], drop_intermediate=False
    )
    # The first point of the curve is "nothing is positive" (threshold infinity), the last is
    # "everything is": neither tells images apart.
    specificity = 1 - false_positive_rate[1:-1]
    sensitivity = sensitivity[1:-1]
    if not sensitivity.size or (sensitivity + specificity).max() <= 1 + 1e-12:
        inputs.undefined("no threshold is better than chance: the operating point is undefined")
        return float("nan")
    merit = _RULES[rule](sensitivity, specificity)
    best = int(np.flatnonzero(merit >= merit.max() - 1e-12)[-1])
    # thresholds[1 + best] is the lowest score that counts as positive, the next one the highest
    # that does not.
    return float((thresholds[1 + best] + thresholds[2 + best]) / 2)


_RULES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "youden": lambda sensitivity, specificity: sensitivity + specificity - 1,
    "closest": lambda sensitivity, specificity: -np.hypot(1 - sensitivity, 1 - specificity),
}


def losses(positive: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The binary cross-entropy of each image in nats: float64 [N].

    Args:
      positive: bool [N].
      probabilities: [N], kept `_LOSS_EPSILON` from 0 and 1.
    """
    clipped = np.clip(probabilities, _LOSS_EPSILON, 1 - _LOSS_EPSILON)
    return -np.log(np.where(positive, clipped, 1 - clipped))


def proportions(
    positive: np.ndarray, probabilities: np.ndarray, threshold: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The metrics that are the share of some images among others, by name.

    Args:
      positive: bool [N].
      probabilities: [N].
      threshold: the operating point; NaN leaves only what needs none.

    Returns:
      Two bool [N]: the images that count, and all that might have counted; the first are among the
      second.
    """
    everything = np.ones(positive.shape, bool)
    found = {"accuracy_half": ((probabilities >= _HALF) == positive, everything)}
    if np.isnan(threshold):
        return found
    called = probabilities >= threshold
    right = called == positive
    return {
        **found,
        "accuracy": (right, everything),
        "sensitivity": (right & positive, positive),
        "specificity": (right & ~positive, ~positive),
        "ppv": (right & called, called),
        "npv": (right & ~called, ~called),
    }


def _at_threshold(
    positive: np.ndarray, probabilities: np.ndarray, threshold: float
) -> dict[str, float]:
    """Returns what depends on an operating point, and the accuracy at 0.5."""
    values = {}
    for name, (hits, trials) in proportions(positive, probabilities, threshold).items():
        if trials.any():
            values[name] = float(hits.sum() / trials.sum())
        else:
            inputs.undefined(f"{_WITHOUT[name]}: {name} is undefined")
    if np.isnan(threshold):
        inputs.undefined(
            "no operating point: accuracy, sensitivity, specificity, predictive values and F1 are "
            "undefined"
        )
        return values
    called = probabilities >= threshold
    if positive.any() or called.any():
        hits = float((positive & called).sum())
        values["f1"] = 2 * hits / float(positive.sum() + called.sum())
    else:
        inputs.undefined("no image is positive or called so: F1 is undefined")
    return values


def _one_class(positive: np.ndarray) -> str:
    """Says which class the images lack."""
    return f"{int(positive.sum())} positive and {int((~positive).sum())} negative images"
