"""Membership inference: was an image among those that a model was trained on?

The attacker has the model and an image with its label, and takes a small loss for a sign of
training (Yeom, Giacomelli, Fredrikson, Jha, "Privacy Risk in Machine Learning: Analyzing the
Connection to Overfitting", CSF 2018). Calibrated, the loss is compared with that of the model
before any training, which says how hard the image is (Watson, Guo, Cormode, Sablayrolles, "On the
Importance of Difficulty Calibration in Membership Inference Attacks", ICLR 2022). That the attack
seldom errs where it is certain counts more than the mean: the true positive rate at a false
positive rate of 1 % (Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P
2022).
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
from sklearn import metrics as sklearn_metrics
import tensorflow as tf

from tffcxr.audit.audited_run import Images
from tffcxr.evaluation import bootstrap, inputs
from tffcxr.learning.local_training import LossFn

FALSE_POSITIVES = 0.01
# Of fewer non-members, one in a hundred is nobody.
_FEWEST = round(1 / FALSE_POSITIVES)
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Membership:
    """How well members are told from others.

    Attributes:
      auc: area under the ROC curve, 0.5 by guessing; NaN without images of both.
      low: the lower end of its 95 % interval, of a bootstrap of patients.
      high: the upper end.
      caught: the share of members that are named where 1 % of others are named falsely; NaN with
        fewer than 100 others.
    """

    auc: float
    low: float
    high: float
    caught: float


def losses(
    model: tf.keras.Model, weights: Sequence[np.ndarray], loss_fn: LossFn, images: Images
) -> np.ndarray:
    """The mean loss over the known labels of each image: float64 [N], NaN where none is known.

    Args:
      model: of logits; its weights are overwritten.
      weights: in the order of `model.weights`.
      loss_fn: of the training.
      images: with their labels.
    """
    model.set_weights(list(weights))

    def of_image(label: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        loss, known = loss_fn({"labels": label[tf.newaxis]}, output[tf.newaxis])
        return loss / known  # NaN without a known label.

    @tf.function(autograph=False, reduce_retracing=True)
    def of_batch(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        outputs = model(pixels, training=False)
        return tf.vectorized_map(lambda pair: of_image(*pair), (labels, outputs))

    parts = [images.take(slice(n, n + _BATCH)) for n in range(0, len(images), _BATCH)]
    found = [of_batch(tf.constant(p.pixels), tf.constant(p.labels)).numpy() for p in parts]
    return np.concatenate([np.zeros(0), *found])


def measure(
    of_members: np.ndarray,
    of_others: np.ndarray,
    patients: np.ndarray,
    replicates: int,
    seed: int,
) -> Membership:
    """Takes images of small values for members.

    Args:
      of_members: losses of images that were trained on, [M]; NaN is left out.
      of_others: of images that were not, [N].
      patients: of all of these, [M + N], members first.
      replicates: of the bootstrap.
      seed: of the bootstrap.

    Returns:
      NaN, with a warning, for what cannot be computed.
    """
    values = -np.concatenate([of_members, of_others])
    labels = np.repeat([1.0, 0.0], [len(of_members), len(of_others)])
    is_known = np.isfinite(values)
    values, labels, patients = values[is_known], labels[is_known], patients[is_known]
    if len(set(labels)) < 2:
        inputs.undefined(
            f"{int(labels.sum())} members and {int((1 - labels).sum())} others: membership "
            "inference is undefined"
        )
        return Membership(np.nan, np.nan, np.nan, np.nan)
    auc = float(sklearn_metrics.roc_auc_score(labels, values))
    low, high = bootstrap.auroc_interval(labels, values, patients, replicates, seed=seed)
    return Membership(auc, low, high, _caught(values[labels == 1], values[labels == 0]))


def _caught(members: np.ndarray, others: np.ndarray) -> float:
    """The true positive rate at the greatest false positive rate that is at most 1 %."""
    if len(others) < _FEWEST:
        inputs.undefined(
            f"{len(others)} images that were not trained on: the true positive rate at 1 % false "
            f"positives needs {_FEWEST} and is undefined"
        )
        return float("nan")
    allowed = int(FALSE_POSITIVES * len(others))
    threshold = np.sort(others)[::-1][allowed]  # So many others are above it.
    return float((members > threshold).mean())
