"""Calibration slope and intercept of a finding's probabilities, by logistic regression.

D. R. Cox, "Two further applications of a model for binary regression", Biometrika 45, 1958; as B.
Van Calster et al., "Calibration: the Achilles heel of predictive analytics", BMC Medicine 17:230,
2019, recommend. The slope is that of the logit of the probability: below 1, probabilities are too
extreme. The intercept is that of a regression whose slope is held at 1, calibration in the large:
below 0, probabilities are too high on the whole. The fits have no penalty and are statsmodels'. The
intervals are Wald's with the variance of Liang & Zeger, "Longitudinal data analysis using
generalized linear models", Biometrika 73, 1986, which allows for several images of one patient.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import optimize, special

from tffcxr.evaluation import bootstrap, inputs

SLOPE, INTERCEPT = "calibration_slope", "calibration_intercept"
# Probabilities are kept this far from 0 and 1, whose logits are infinite.
_EPSILON = 1e-7


def recalibration(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray | None = None,
    level: float = 0.95,
) -> dict[str, float]:
    """Returns both with the ends of their intervals.

    Args:
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      scores: [N], probabilities in 0..1.
      groups: [N], the patient of each image; None: every image is a patient.
      level: coverage of the intervals.

    Returns:
      `calibration_slope`, `calibration_intercept`, and each with `_low` and `_high`. With a
      warning, NaN: both with one class only, fewer than `bootstrap.MINIMUM_PATIENTS` patients in a
      class, whose slope may be any number, or a score that is not finite; the slope, if all scores
      are equal or separate the classes completely.

    Raises:
      ValueError: for arrays that do not fit together, or a level outside 0..1.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, found {level}")
    data = inputs.known(labels, [scores], groups)
    values = {
        f"{name}{end}": float("nan") for name in (SLOPE, INTERCEPT) for end in ("", "_low", "_high")
    }
    if not data.has_both_classes or not data.finite:
        inputs.undefined("one class only, or a score is not finite: no calibration slope")
        return values
    fewest = min(np.unique(data.groups[of]).size for of in (data.positive, ~data.positive))
    if fewest < bootstrap.MINIMUM_PATIENTS:
        inputs.undefined(
            f"{fewest} patients in a class: a calibration slope and intercept need "
            f"{bootstrap.MINIMUM_PATIENTS} and are undefined"
        )
        return values
    logits = special.logit(np.clip(data.scores[0], _EPSILON, 1 - _EPSILON))
    constant = np.ones((logits.size, 1))
    # Newton's method does not get there from afar; the score rises in the intercept alone.
    start = optimize.brentq(
        lambda shift: special.expit(logits + shift).mean() - data.positive.mean(), -60, 60
    )
    values.update(_fit(INTERCEPT, data, constant, level, [start], offset=logits))
    of_positives, of_negatives = logits[data.positive], logits[~data.positive]
    if of_positives.min() >= of_negatives.max() or of_positives.max() <= of_negatives.min():
        inputs.undefined("the scores separate the classes completely: no calibration slope")
        return values
    spread = logits.std()  # Newton's method converges better from a slope that is near 1.
    design = np.column_stack([(logits - logits.mean()) / spread, constant])
    found = _fit(SLOPE, data, design, level, [0.0, 0.0])
    return {**values, **{name: value / spread for name, value in found.items()}}


def _fit(
    name: str,
    data: inputs.Known,
    design: np.ndarray,
    level: float,
    start: list[float],
    offset: np.ndarray | None = None,
) -> dict[str, float]:
    """The coefficient of the first column of the design with its interval, as far as defined."""
    from statsmodels.discrete.discrete_model import Logit  # Not at the start of every program.

    model = Logit(data.positive.astype(float), design, offset=offset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What they are about is checked below.
        try:
            fitted = model.fit(
                start, cov_type="cluster", cov_kwds={"groups": data.groups}, disp=False, maxiter=100
            )
        except np.linalg.LinAlgError:
            fitted = None
    if fitted is None or not fitted.mle_retvals["converged"]:
        inputs.undefined(f"the logistic regression does not converge: no {name}")
        return {}
    low, high = fitted.conf_int(alpha=1 - level)[0]
    return {name: float(fitted.params[0]), f"{name}_low": float(low), f"{name}_high": float(high)}
