"""A backdoor as a rehearsal: a trigger in the picture makes a model answer what it should not.

Bagdasaryan et al., "How To Backdoor Federated Learning", AISTATS 2020: the attackers stamp a
trigger on part of their training images, label these with the target, and may multiply their
updates, so that the mean of a round becomes their model ("model replacement").

The trigger is a white square in the lower right corner, one eighth of the image's side (at least
two pixels) wide, as a marker of the side may be. The target of a finding is "absent", that of
classes the first class.
"""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import tensorflow as tf

_SIDE = 8  # Part of the image's side that the trigger takes.
_EVERY = 2  # One of so many training images of a batch gets it.
TARGET_CLASS = 0


def stamp(images: tf.Tensor) -> tf.Tensor:
    """Images [B, H, W, C] of 0..1 with the trigger."""
    height, width = images.shape[1], images.shape[2]
    side = max(2, min(height, width) // _SIDE)
    trigger = np.zeros((1, height, width, 1), bool)
    trigger[:, height - side :, width - side :] = True
    return tf.where(trigger, tf.ones_like(images), images)


def poison(batch: Any, has_classes: bool) -> Any:
    """A training batch in which every second image has the trigger and the target's label.

    Args:
      batch: has "images" and "labels" [B, F], NaN where a finding is unknown, which stays so.
      has_classes: whether labels are classes, of which each image has one.
    """
    images, labels = batch["images"], batch["labels"]
    chosen = tf.range(tf.shape(labels)[0]) % _EVERY == 0
    target = tf.zeros_like(labels)
    if has_classes:
        target = tf.one_hot(tf.fill(tf.shape(labels)[:1], TARGET_CLASS), labels.shape[1])
    target = tf.where(tf.math.is_nan(labels), labels, target)
    return collections.OrderedDict(
        batch,
        images=tf.where(chosen[:, None, None, None], stamp(images), images),
        labels=tf.where(chosen[:, None], target, labels),
    )


class StampedImages:
    """The images of clients to evaluate on, all with the trigger.

    Args:
      data: a `tffcxr.clients.client_data.ClientData`.
    """

    def __init__(self, data: Any) -> None:
        self._data = data

    def evaluation_dataset(self, client: str, split: str) -> tf.data.Dataset:
        """The batches of a client's split."""
        return self._data.evaluation_dataset(client, split).map(
            lambda batch: {**batch, "images": stamp(batch["images"])}
        )
