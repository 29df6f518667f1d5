"""Whether a score of 0.8 means 8 of 10: Brier score, calibration error, and scaling that mends it.

Temperature scaling and the expected calibration error: C. Guo, G. Pleiss, Y. Sun, K. Weinberger,
"On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599. Scaling with a bias: J.
Platt, "Probabilistic Outputs for Support Vector Machines", in Advances in Large Margin Classifiers,
1999. A temperature leaves every logit on its side of 0, so it cannot mend the accuracy at 0.5 of
a finding; the bias can. Both keep the order of the images, and with it AUROC and AUPR.

Scaling is fitted on validation images of all clients together. It needs nothing but sums over
images (of the loss and of its derivatives), so in a real federation clients would send these sums,
as in a round of training; here, one program has the scores of all.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from typing import Any

import numpy as np
from scipy import optimize, special

from tffcxr import options
from tffcxr.evaluation import inputs

BINS = 15  # Of equal width, as in Guo et al.
# Fewer images of a class say too little of two numbers (findings), fewer of all of one (classes).
LEAST_OF_CLASS = 10
LEAST_IMAGES = 20
_SLOPES = (1e-3, 1e3)  # Between which the inverse of a temperature is sought.


@dataclasses.dataclass(frozen=True)
class Scaling:
    """What a model's logits are changed by.

    Attributes:
      method: one of `options.CALIBRATIONS`.
      temperature: T, above 0; 1 changes nothing.
      bias: b, of "platt".
      remark: why there is no scaling though it was asked for; empty otherwise.
    """

    method: options.Calibration = "none"
    temperature: float = 1.0
    bias: float = 0.0
    remark: str = ""

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Returns `logits / T + b` in the logits' own type."""
        if self.method == "none":
            return logits
        dtype = np.asarray(logits).dtype.type
        return logits / dtype(self.temperature) + dtype(self.bias)

    def fold(self, kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
        """The weights of a dense layer of logits, changed so that it gives the scaled ones."""
        return [kernel / kernel.dtype.type(self.temperature), self.apply(bias)]

    def about(self) -> dict[str, Any]:
        """What a row of `metrics.json` says of it."""
        values: dict[str, Any] = {"calibration": self.method}
        if self.method != "none":
            values["temperature"] = self.temperature
        if self.method == "platt":
            values["calibration_bias"] = self.bias
        if self.remark:
            values["calibration_remark"] = self.remark
        return values


@dataclasses.dataclass(frozen=True)
class Reliability:
    """A reliability diagram: the bins that have an image, from low scores to high ones.

    Attributes:
      score: [B], mean score of a bin's images.
      fraction: [B], the part of them that is positive, or classified correctly.
      images: int [B].
    """

    score: np.ndarray
    fraction: np.ndarray
    images: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of a bin's two numbers, by images."""
        return float(np.average(np.abs(self.fraction - self.score), weights=self.images))


def reliability(outcomes: np.ndarray, scores: np.ndarray, bins: int = BINS) -> Reliability:
    """Puts images into bins of equal width by their score; a score on an edge is in the lower bin.

    Args:
      outcomes: bool [N], what the scores are probabilities of; at least one.
      scores: [N], in 0..1.
      bins: number of bins.
    """
    scores = np.asarray(scores, np.float64)
    places = bin_of(scores, bins)
    counts = np.bincount(places, minlength=bins)
    used = counts > 0
    sums = [np.bincount(places, values, bins)[used] for values in (scores, outcomes)]
    return Reliability(sums[0] / counts[used], sums[1] / counts[used], counts[used])


def bin_of(scores: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of each score, int [N] in 0..bins-1; arguments as `reliability`."""
    return np.clip(np.ceil(scores * bins).astype(int) - 1, 0, bins - 1)


def brier_score(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the mean squared distance of the scores from 0 and 1 (Brier 1950): 0 is best.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      scores: [N], probabilities in 0..1.

    Returns:
      0..1; NaN, with a warning, without a known label or if a score is not finite.
    """
    data = inputs.known(labels, [scores])
    if not data.positive.size or not data.finite:
        inputs.undefined("no known label, or a score is not finite: the Brier score is undefined")
        return float("nan")
    return float(np.mean((data.scores[0] - data.positive) ** 2))


def calibration_error(labels: np.ndarray, scores: np.ndarray, bins: int = BINS) -> float:
    """Returns the expected calibration error of a finding's scores; arguments as `brier_score`.

    It is that of the probability of the finding, not, as for classes, of the more probable answer.

    Returns:
      0..1; NaN, with a warning, without a known label or if a score is not finite.
    """
    data = inputs.known(labels, [scores])
    if not data.positive.size or not data.finite:
        inputs.undefined("no known label, or a score is not finite: no calibration error")
        return float("nan")
    return reliability(data.positive, data.scores[0], bins).error


def class_brier_score(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the Brier score of classes: the mean over images of the sum over classes.

    Args:
      truth: int [N], 0..C-1.
      probabilities: [N, C].

    Returns:
      0..2; NaN, with a warning, without an image or if a probability is not finite.
    """
    if not len(truth) or not np.isfinite(probabilities).all():
        inputs.undefined("no image, or a score is not finite: the Brier score is undefined")
        return float("nan")
    return float(np.mean(class_brier_scores(truth, probabilities)))


def class_brier_scores(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The Brier score of each image, float64 [N] in 0..2; arguments as `class_brier_score`."""
    wanted = np.eye(probabilities.shape[1])[truth]
    return np.sum((np.asarray(probabilities, np.float64) - wanted) ** 2, axis=1)


def class_calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the expected calibration error of the probability of the predicted class.

    Arguments as `class_brier_score`.

    Returns:
      0..1; NaN, with a warning, without an image or if a probability is not finite.
    """
    if not len(truth) or not np.isfinite(probabilities).all():
        inputs.undefined("no image, or a score is not finite: no calibration error")
        return float("nan")
    return reliability(*top_label(truth, probabilities)).error


def top_label(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each image's most probable class is the true one, bool [N], and its probability."""
    return probabilities.argmax(axis=1) == truth, probabilities.max(axis=1)


def fit_finding(labels: np.ndarray, logits: np.ndarray, method: options.Calibration) -> Scaling:
    """Fits the scaling of a finding to validation images.

    "temperature" minimises the cross-entropy. "platt" minimises it with Platt's targets, (n + 1) /
    (n + 2) for n positive images and 1 / (n + 2) for n negative ones, in place of 1 and 0, so that
    few images that a model separates completely do not make it certain.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      logits: [N].
      method: of the scaling.

    Returns:
      The scaling; none, with a remark, if a class has fewer than `LEAST_OF_CLASS` images, a logit
      is not finite, or no temperature is best: the logits do not rise with the finding, or the
      images are separated completely ("temperature").
    """
    if method == "none":
        return Scaling()
    data = inputs.known(labels, [logits])
    positive, values = data.positive, data.scores[0]
    fewest = int(min(positive.sum(), (~positive).sum()))
    if fewest < LEAST_OF_CLASS:
        return Scaling(
            remark=f"expected {LEAST_OF_CLASS} validation images of each class, found {fewest}"
        )
    if not data.finite:
        return _not_finite()
    if method == "platt":
        return _platt(positive, values)

    def slope_of_loss(inverse: float) -> float:
        return float(np.mean((special.expit(inverse * values) - positive) * values))

    return _temperature(slope_of_loss)


def fit_classes(
    truth: np.ndarray, log_probabilities: np.ndarray, method: options.Calibration
) -> Scaling:
    """Fits one temperature for all classes to validation images, by their cross-entropy.

    Args:
      truth: int [N], 0..C-1.
      log_probabilities: [N, C], or logits.
      method: "temperature" or "none".

    Returns:
      The scaling; none, with a remark, with fewer than `LEAST_IMAGES` images or one class, if a
      logit is not finite, or if no temperature is best, see `fit_finding`.
    """
    if method == "none":
        return Scaling()
    values = np.asarray(log_probabilities, np.float64)
    if len(truth) < LEAST_IMAGES or len(np.unique(truth)) < 2:
        return Scaling(
            remark=f"expected {LEAST_IMAGES} validation images of two classes, found {len(truth)} "
            f"of {len(np.unique(truth))}"
        )
    if not np.isfinite(values).all():
        return _not_finite()
    of_truth = values[np.arange(len(truth)), truth]

    def slope_of_loss(inverse: float) -> float:
        expected = np.sum(special.softmax(inverse * values, axis=1) * values, axis=1)
        return float(np.mean(expected - of_truth))

    return _temperature(slope_of_loss)


def _temperature(slope_of_loss: Callable[[float], float]) -> Scaling:
    """The temperature at whose inverse the slope of the (convex) loss is 0."""
    low, high = _SLOPES
    if slope_of_loss(low) >= 0:
        return Scaling(remark="the scores do not rise with the truth on validation images")
    if slope_of_loss(high) <= 0:
        return Scaling(remark="the validation images are classified without an error")
    return Scaling("temperature", 1 / optimize.brentq(slope_of_loss, low, high, xtol=1e-12))


def _platt(positive: np.ndarray, logits: np.ndarray) -> Scaling:
    """Minimises the convex loss by Newton's method, of logits with mean 0 and deviation 1."""
    centre, spread = float(logits.mean()), float(logits.std())
    if spread == 0:
        return Scaling(remark="all validation images have the same score")
    count = int(positive.sum())
    targets = np.where(positive, (count + 1) / (count + 2), 1 / (len(positive) - count + 2))
    terms = np.stack([(logits - centre) / spread, np.ones_like(logits)])  # [2, N]

    def loss(weights: np.ndarray) -> float:
        values = weights @ terms
        return float(np.mean(np.logaddexp(0, values) - targets * values))

    def gradient(weights: np.ndarray) -> np.ndarray:
        return terms @ (special.expit(weights @ terms) - targets) / len(targets)

    def hessian(weights: np.ndarray) -> np.ndarray:
        scores = special.expit(weights @ terms)
        return (terms * (scores * (1 - scores))) @ terms.T / len(targets)

    found = optimize.minimize(
        loss, np.zeros(2), method="trust-exact", jac=gradient, hess=hessian, options={"gtol": 1e-10}
    )
    slope = float(found.x[0]) / spread
    if slope <= 0:
        return Scaling(remark="the scores do not rise with the finding on validation images")
    return Scaling("platt", 1 / slope, float(found.x[1]) - slope * centre)


def _not_finite() -> Scaling:
    return Scaling(remark="a score of a validation image is not finite")
