"""The confidence interval of a proportion, such as a sensitivity.

E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
American Statistical Association 22(158), 1927, from statsmodels. Images of one patient are not
independent, so where a patient has several, the interval is that of the bootstrap over patients,
see `mean_interval`. That has no width where all images are hits or none is; all images of each
patient then agree, and the interval is Wilson's of patients.
"""

from __future__ import annotations

import numpy as np
from statsmodels.stats import proportion

from tffcxr.evaluation import inputs
from tffcxr.evaluation.mean_interval import Mean, mean_interval


def proportion_interval(
    hits: np.ndarray,
    groups: np.ndarray | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Mean:
    """Returns the share of hits with its interval.

    Args:
      hits: [N], 1 or True for a hit, 0 or False for a miss; NaN is left out.
      groups: [N], the patient of each image; None: every image is a patient.
      replicates: number of resamples, where there are any.
      level: coverage, 0.95 for the 2.5th to the 97.5th percentile.
      seed: the same seed gives the same interval.

    Returns:
      The share and its interval; NaN, with a warning, without any image. Where some patient has
      several images, the interval of fewer than `bootstrap.MINIMUM_PATIENTS` patients is NaN, with
      a warning, unless all images are hits or none is.

    Raises:
      ValueError: for other numbers, arrays that do not fit together, or a level outside 0..1.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, found {level}")
    hits = np.asarray(hits, dtype=np.float64)
    data = inputs.known(hits, [hits], groups)
    if not data.positive.size:
        inputs.undefined("no image: the proportion is undefined")
        return Mean(np.nan, np.nan, np.nan)
    share = float(data.positive.mean())
    patients = np.unique(data.groups).size
    if patients < data.positive.size and 0 < share < 1:
        return mean_interval(hits, groups, replicates, level, seed)
    low, high = proportion.proportion_confint(
        round(share * patients), patients, alpha=1 - level, method="wilson"
    )
    # Rounding leaves 1 - 1e-16 of a share of 1.
    return Mean(share, min(float(low), share), max(float(high), share))


def method(groups: np.ndarray | None, replicates: int, level: float = 0.95) -> str:
    """Says which interval proportions have; arguments as `proportion_interval`."""
    if groups is None or np.unique(np.asarray(groups).astype(str)).size == len(groups):
        return f"{100 * level:g} % Wilson interval"
    return (
        f"{100 * level:g} % percentile interval, {replicates} bootstrap replicates of patients "
        "(Wilson interval of patients where the proportion is 0 or 1)"
    )
