"""nnU-Net's preprocessing of an image, and its prediction by a sliding window with mirroring.

F. Isensee, P. F. Jaeger, S. A. A. Kohl, J. Petersen, K. H. Maier-Hein, "nnU-Net: a self-configuring
method for deep learning-based biomedical image segmentation", Nature Methods 18, 2021; as in
nnunetv2 (`ZScoreNormalization`, `nnUNetPredictor`).

    image 0..1 ─► standardised ─► overlapping patches ─► logits, of all mirrored ways ─► image

The crop to what is not 0 does not change the image's size here: mean and deviation are those of
the crop, what is outside of it is 0 to the network (nnU-Net pads with zeros), and no region.
"""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import Any

import numpy as np
import tensorflow as tf

_STEP = 0.5  # Of a patch, at most, from one to the next.
_SIGMA = 1 / 8  # Of a patch.
_LEAST_DEVIATION = 1e-6
_MIRRORS: tuple[list[int], ...] = ([], [2], [3], [2, 3])  # Axes of patches [T, B, h, w, 1].
_OUTSIDE = -20.0  # A logit of hardly any region.


def standardise(images: tf.Tensor, with_mask: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Gives each image mean 0 and deviation 1 inside of what is not empty.

    Args:
      images: float32 [B, H, W, 1] in 0..1; 0 is empty.
      with_mask: a plan's `use_mask_for_norm`. Without, the inside is the rectangle around all that
        is not 0. With, it is what is not 0 and its holes; here a hole is what has something else
        than 0 above, below, left and right of it.

    Returns:
      The images, 0 outside, and the inside, float32 [B, H, W, 1] of 0 and 1. All of an image is
      inside where all of it is 0.
    """
    present = tf.cast(images > 0.0, tf.float32)
    if with_mask:
        inside = _between(present, 1) * _between(present, 2)
        inside = tf.maximum(inside, present)
    else:
        rows = tf.reduce_max(present, 2, keepdims=True)
        columns = tf.reduce_max(present, 1, keepdims=True)
        inside = _between(rows, 1) * _between(columns, 2)
    axes = [1, 2, 3]
    is_empty = tf.reduce_max(present, axes, keepdims=True) < 0.5
    inside = tf.where(is_empty, tf.ones_like(inside), inside)
    pixels = tf.reduce_sum(inside, axes, keepdims=True)
    mean = tf.reduce_sum(images * inside, axes, keepdims=True) / pixels
    centred = (images - mean) * inside
    deviation = tf.sqrt(tf.reduce_sum(tf.square(centred), axes, keepdims=True) / pixels)
    return centred / tf.maximum(deviation, _LEAST_DEVIATION), inside


def _between(present: tf.Tensor, axis: int) -> tf.Tensor:
    """1 from the first to the last 1 along an axis, else 0."""
    before = tf.cumsum(present, axis)
    behind = tf.cumsum(present, axis, reverse=True)
    return tf.cast((before > 0.0) & (behind > 0.0), tf.float32)


@tf.keras.saving.register_keras_serializable("tffcxr")
class SlidingWindow(tf.keras.layers.Wrapper):
    """Predicts whole images with a network of patches.

    Each patch is predicted in four ways, as it is and mirrored along either or both axes, and the
    logits are averaged. Patches overlap by at least half; where they do, they count by a Gaussian
    around their middle.

    Args:
      layer: the network, standardised patches [B, h, w, 1] to logits [B, h, w, 2] first of all.
      with_mask: see `standardise`.
    """

    def __init__(self, layer: tf.keras.Model, with_mask: bool = False, **options: Any):
        super().__init__(layer, **options)
        self.with_mask = with_mask

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Images float32 [B, H, W, 1] in 0..1 to the region's logits minus the background's."""
        # Keras would have AutoGraph rewrite all functions, which decide nothing by a tensor.
        return tf.autograph.experimental.do_not_convert(self._predict_whole)(images)

    def _predict_whole(self, images: tf.Tensor) -> tf.Tensor:
        patch = self.layer.input_shape[1:3]
        size = images.shape[1:3]
        x, inside = standardise(images, self.with_mask)
        margins = [_margin(side, of_patch) for side, of_patch in zip(size, patch)]
        x = tf.pad(x, [[0, 0], *margins, [0, 0]])
        padded = x.shape[1:3]
        rows, columns = (starts(side, of_patch) for side, of_patch in zip(padded, patch))
        corners = [(top, left) for top in rows for left in columns]
        patches = [x[:, top : top + patch[0], left : left + patch[1]] for top, left in corners]
        found = tf.unstack(self._predict(tf.stack(patches)), len(corners))
        importance = gaussian(patch)
        total, weights = tf.zeros_like(x), np.zeros((*padded, 1), np.float32)
        for (top, left), logits in zip(corners, found):
            place = [[top, padded[0] - top - patch[0]], [left, padded[1] - left - patch[1]]]
            total += tf.pad(importance * logits, [[0, 0], *place, [0, 0]])
            weights += np.pad(importance, [*place, [0, 0]])
        (above, _), (before, _) = margins
        logits = (total / weights)[:, above : above + size[0], before : before + size[1]]
        return tf.where(inside > 0.5, logits, _OUTSIDE)

    def _predict(self, patches: tf.Tensor) -> tf.Tensor:
        """The mean of the logits of patches [T, B, h, w, 1] and their mirror images, turned back.

        One patch after the other, in a loop, so that the network is traced once.
        """
        mirrored = tf.concat([tf.reverse(patches, axes) for axes in _MIRRORS], 0)
        logits = tf.map_fn(self._region, mirrored, parallel_iterations=1)
        parts = zip(_MIRRORS, tf.split(logits, len(_MIRRORS)))
        return tf.add_n([tf.reverse(part, axes) for axes, part in parts]) / len(_MIRRORS)

    def _region(self, patch: tf.Tensor) -> tf.Tensor:
        # Keras gives the output of a network's only head without a list.
        logits = tf.nest.flatten(self.layer(patch, training=False))[0]
        return logits[..., 1:] - logits[..., :1]

    def get_config(self) -> dict[str, Any]:
        """See `tf.keras.layers.Layer`."""
        return {**super().get_config(), "with_mask": self.with_mask}


def inference_model(network: tf.keras.Model, image_size: int, with_mask: bool) -> tf.keras.Model:
    """A model of whole images with the weights of a network of patches.

    Args:
      network: see `SlidingWindow`.
      image_size: height and width of the images, S.
      with_mask: see `standardise`.

    Returns:
      A model of images float32 [B, S, S, 1] in 0..1 to logits [B, S, S, 1], whose `weights` are
      those of `network`, in the same order.
    """
    images = tf.keras.Input((image_size, image_size, 1), name="images")
    logits = SlidingWindow(network, with_mask, name="sliding_window")(images)
    return tf.keras.Model(images, logits, name="nnunet")


def starts(size: int, patch: int) -> list[int]:
    """Where patches start along an axis, spread evenly, so that they cover it.

    Args:
      size: of the image, at least that of the patch.
      patch: of the patch, in pixels.
    """
    count = math.ceil((size - patch) / (patch * _STEP)) + 1
    if count == 1:
        return [0]
    return [round((size - patch) / (count - 1) * number) for number in range(count)]


def gaussian(patch: Sequence[int]) -> np.ndarray:
    """How much each pixel of a patch counts: float32 [h, w, 1], 1 in the middle."""
    across = [np.exp(-(((np.arange(n) - n // 2) / (n * _SIGMA)) ** 2) / 2) for n in patch]
    return np.outer(*across).astype(np.float32)[..., np.newaxis]


def _margin(size: int, patch: int) -> list[int]:
    """Pixels to add before and behind an image that is smaller than a patch."""
    missing = max(patch - size, 0)
    return [missing // 2, missing - missing // 2]
