"""Property inference: which share of a client's images has the finding, from its update alone.

After Melis, Song, De Cristofaro, Shmatikov, "Exploiting Unintended Feature Leakage in Collaborative
Learning", IEEE S&P 2019. The attacker makes updates of its own, from auxiliary images in many
mixes, and fits ridge regression from the updates of all shared weights to the share. It is then
tried on updates of the attacked client's images, in mixes that are drawn likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
from sklearn import linear_model, preprocessing
from sklearn import metrics as sklearn_metrics
from sklearn.pipeline import make_pipeline

from tffcxr.evaluation import bootstrap, inputs

_PENALTIES = np.logspace(-2, 6, 17)


@dataclasses.dataclass(frozen=True)
class Properties:
    """How well shares are told from updates.

    Attributes:
      auc: of "above the median share", 0.5 by guessing; NaN where all shares are equal.
      low: the lower end of its 95 % interval, of a bootstrap of updates.
      high: the upper end.
      error: mean absolute error of the share.
      guess: that of guessing the mean share always.
    """

    auc: float
    low: float
    high: float
    error: float
    guess: float


def features(update: Sequence[np.ndarray]) -> np.ndarray:
    """What the attacker makes of an update: the sum of each weight over its inputs, [K].

    The last dimension of a kernel is that of its outputs; a bias is taken as it is. The sums have
    nearly all that is known of a class mix, and a mix of tens of shadow updates fits no more.
    """
    return np.concatenate(
        [np.asarray(part).reshape(-1, np.shape(part)[-1]).sum(axis=0) for part in update]
    )


def measure(
    shadow: np.ndarray,
    shadow_shares: np.ndarray,
    updates: np.ndarray,
    shares: np.ndarray,
    replicates: int,
    seed: int,
) -> Properties:
    """Fits the attack on shadow updates and tries it on others.

    Args:
      shadow: features of the attacker's own updates, [M, K].
      shadow_shares: of these, [M].
      updates: features of the attacked ones, [N, K].
      shares: of these, [N].
      replicates: of the bootstrap.
      seed: of the bootstrap.

    Returns:
      NaN, with a warning, for what cannot be computed.
    """
    attack = make_pipeline(
        preprocessing.StandardScaler(), linear_model.RidgeCV(alphas=_PENALTIES)
    ).fit(shadow, shadow_shares)
    guessed = attack.predict(updates)
    error = float(np.abs(np.clip(guessed, 0, 1) - shares).mean())
    guess = float(np.abs(shadow_shares.mean() - shares).mean())
    labels = (shares > np.median(shares)).astype(float)
    if len(set(labels)) < 2:
        inputs.undefined(
            "all mixes have the same share: the AUC of property inference is undefined"
        )
        return Properties(np.nan, np.nan, np.nan, error, guess)
    auc = float(sklearn_metrics.roc_auc_score(labels, guessed))
    low, high = bootstrap.auroc_interval(labels, guessed, None, replicates, seed=seed)
    return Properties(auc, low, high, error, guess)
