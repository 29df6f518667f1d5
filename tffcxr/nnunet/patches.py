"""nnU-Net's patches of training images, and its random changes to them.

F. Isensee, P. F. Jaeger, S. A. A. Kohl, J. Petersen, K. H. Maier-Hein, "nnU-Net: a self-configuring
method for deep learning-based biomedical image segmentation", Nature Methods 18, 2021, with the
order, probabilities and ranges of nnunetv2's 2-D training. Everything is a pure function of a seed.

    image ─► standardised ─► patch, rotated and scaled ─► noise ─► blur ─► brightness ─► contrast
          ─► lower resolution ─► gamma of the negative ─► gamma ─► mirrored

nnunetv2 cuts a larger patch before it rotates; here the rotated patch is read from the image
itself, so that black corners are only where the image ends.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import math

import numpy as np
import tensorflow as tf

from tffcxr.clients.augment import project

# Images [B, S, S, 1] in 0..1 to standardised images and what of them is not empty, of that shape.
Standardise = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

_FOREGROUND = 0.33  # Of the patches of a batch, the last ones, are around a pixel of the region.
_ROTATED = _SCALED = 0.2
_SCALES = 0.7, 1.4  # More than 1 shows more of the image.
_LONGEST_TO_TURN = 1.5  # A patch that is longer is rotated by little.
_NOISY, _NOISE = 0.1, 0.1
_BLURRED = 0.2 * 0.5
_BLURS = 0.5, 1.0  # Pixels, along each axis.
_BLUR_RADIUS = 6
_BRIGHTENED, _BRIGHTNESS = 0.15, (0.75, 1.25)
_CONTRASTED, _CONTRAST = 0.15, (0.75, 1.25)
_COARSENED = 0.25 * 0.5
_COARSENESS = 0.5, 1.0
_INVERTED_GAMMA, _GAMMA, _GAMMAS = 0.1, 0.3, (0.7, 1.5)
_MIRRORED = 0.5  # Along each axis.
_LEAST = 1e-7
_ALGORITHM = "philox"  # By name: the default generator depends on the device.


@dataclasses.dataclass(frozen=True)
class NnUNetAugmentation:
    """Makes standardised patches of images; `apply` is that of `augment.Augmentation`.

    Attributes:
      patch_size: height and width of the patches in pixels.
      standardise: of whole images.
      with_mask: whether what is empty stays 0 whatever is changed, a plan's `use_mask_for_norm`.
      changes: whether patches are changed at random beyond their place.
    """

    patch_size: tuple[int, int]
    standardise: Standardise
    with_mask: bool = False
    changes: bool = True

    def output_shape(self, image_size: int) -> tuple[int, int]:
        """Height and width of what `apply` returns."""
        del image_size
        return self.patch_size

    def apply(
        self, images: tf.Tensor, seed: tf.Tensor, masks: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Takes a patch of each image; the same seed and shape give the same ones, bit for bit.

        Args:
          images: float32 [B, S, S, 1] in 0..1.
          seed: integer [2], as for `tf.random.stateless_uniform`.
          masks: float32 [B, S, S, 1] of 0 and 1.

        Returns:
          Standardised patches and their masks, [B, *patch_size, 1].

        Raises:
          ValueError: there are no masks, which say where the region is.
        """
        if masks is None:
            raise ValueError("expected masks for nnU-Net's patches, found none")
        seeds = tf.unstack(tf.random.split(seed, 4, alg=_ALGORITHM))
        x, inside = self.standardise(images)
        top, left = self._corners(inside, masks, seeds[0])
        transforms = self._transforms(top, left, seeds[1])
        x = project(x, transforms, "BILINEAR", self.patch_size)
        both = project(tf.concat([masks, inside], -1), transforms, "BILINEAR", self.patch_size)
        both = tf.cast(both >= 0.5, tf.float32)
        if self.changes:
            x = _change_values(x, seeds[2])
            x, both = _mirror(x, both, seeds[3])
        if self.with_mask:
            x *= both[..., 1:]
        return x, both[..., :1]

    def _corners(
        self, inside: tf.Tensor, masks: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The upper left pixel of each patch, float32 [B] and [B].

        It is anywhere in the rectangle that is not empty; a patch that is larger has it in its
        middle. Of a third of the patches, the middle is a pixel of the region, if there is one.
        """
        batch = tf.shape(inside)[0]
        draws = tf.random.stateless_uniform([batch, 3], seed, alg=_ALGORITHM)
        first = tf.cast(tf.round(tf.cast(batch, tf.float32) * (1 - _FOREGROUND)), tf.int32)
        present = masks[..., 0] * inside[..., 0]
        counts = tf.cumsum(tf.reshape(present, [batch, -1]), 1)  # [B, S * S]
        # Rounding may put a draw behind the last pixel.
        chosen = tf.minimum(tf.floor(draws[:, 2:] * counts[:, -1:]), counts[:, -1:] - 1)
        pixels = tf.argmax(tf.cast(counts > chosen, tf.uint8), 1, tf.int32)
        is_around = (tf.range(batch) >= first) & (counts[:, -1] > 0)
        width = tf.shape(inside)[2]
        corners = []
        for axis, where in enumerate((pixels // width, pixels % width)):
            patch = self.patch_size[axis]
            lines = tf.reduce_max(inside[..., 0], 2 - axis)  # [B, S]
            begin = tf.argmax(lines, 1, tf.int32)
            size = tf.cast(tf.reduce_sum(lines, 1), tf.int32)
            room = size - patch
            free = begin + tf.cast(
                draws[:, axis] * tf.cast(tf.maximum(room, 0) + 1, tf.float32), tf.int32
            )
            free = tf.where(room < 0, begin - (patch - size) // 2, free)
            around = tf.maximum(tf.where(room < 0, free, begin), where - patch // 2)
            corners.append(tf.cast(tf.where(is_around, around, free), tf.float32))
        return corners[0], corners[1]

    def _transforms(self, top: tf.Tensor, left: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Maps from pixels of patches to those of images, [B, 8].

        A pixel at q from the middle of the patch is that at s R q from the middle of its place in
        the image, with rotation R and scale s.
        """
        height, width = self.patch_size
        draws = tf.random.stateless_uniform([tf.shape(top)[0], 4], seed, alg=_ALGORITHM)
        is_long = max(height, width) > _LONGEST_TO_TURN * min(height, width)
        largest = math.radians(15.0 if is_long else 180.0)
        angle = tf.where(draws[:, 0] < _ROTATED, largest * (2 * draws[:, 1] - 1), 0.0)
        scale = tf.where(draws[:, 2] < _SCALED, _between(_SCALES, draws[:, 3]), 1.0)
        if not self.changes:
            angle, scale = tf.zeros_like(angle), tf.ones_like(scale)
        cos, sin = scale * tf.cos(angle), scale * tf.sin(angle)
        y, x = (height - 1) / 2, (width - 1) / 2
        x0, y0 = left + x - cos * x + sin * y, top + y - sin * x - cos * y
        zero = tf.zeros_like(angle)
        return tf.stack([cos, -sin, x0, sin, cos, y0, zero, zero], 1)


def _change_values(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """nnU-Net's changes of intensity, in its order, each of some of the patches."""
    batch = tf.shape(x)[0]
    seeds = tf.unstack(tf.random.split(seed, 2, alg=_ALGORITHM))
    # Whether, and how much, for each of seven changes.
    is_drawn, draws = tf.unstack(
        tf.random.stateless_uniform([2, batch, 8], seeds[0], alg=_ALGORITHM)
    )

    def noise(some: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
        normal = tf.random.stateless_normal(tf.shape(some), seeds[1], alg=_ALGORITHM)
        return some + _NOISE * _column(amount[:, 0]) * normal

    x = _some(x, is_drawn[:, 0] < _NOISY, noise, draws[:, :1])
    x = _some(x, is_drawn[:, 1] < _BLURRED, _blur, _between(_BLURS, draws[:, 1:3]))
    x = _some(
        x,
        is_drawn[:, 3] < _BRIGHTENED,
        lambda some, factor: some * _column(factor[:, 0]),
        _around_one(_BRIGHTNESS, draws[:, 3:4]),
    )
    x = _some(x, is_drawn[:, 4] < _CONTRASTED, _stretch, _around_one(_CONTRAST, draws[:, 4:5]))
    x = _some(x, is_drawn[:, 5] < _COARSENED, _coarsen, _between(_COARSENESS, draws[:, 5:6]))
    x = _some(
        x,
        is_drawn[:, 6] < _INVERTED_GAMMA,
        lambda some, gamma: -_bend(-some, gamma),
        _around_one(_GAMMAS, draws[:, 6:7]),
    )
    return _some(x, is_drawn[:, 7] < _GAMMA, _bend, _around_one(_GAMMAS, draws[:, 7:8]))


def _some(
    x: tf.Tensor,
    is_chosen: tf.Tensor,
    change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    amounts: tf.Tensor,
) -> tf.Tensor:
    """Changes the chosen patches of a batch, and computes nothing for the others."""
    chosen = tf.where(is_chosen)  # [n, 1]
    places = chosen[:, 0]
    changed = change(tf.gather(x, places), tf.gather(amounts, places))
    return tf.tensor_scatter_nd_update(x, chosen, changed)


def _blur(x: tf.Tensor, sigmas: tf.Tensor) -> tf.Tensor:
    """Convolves with a Gaussian of a deviation for each patch and axis, edges reflected.

    Args:
      x: [B, H, W, 1].
      sigmas: [B, 2], pixels.
    """
    offsets = tf.range(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=tf.float32)
    for axis in (1, 2):
        kernel = tf.exp(-0.5 * tf.square(offsets / sigmas[:, axis - 1 : axis]))  # [B, 13]
        kernel /= tf.reduce_sum(kernel, 1, keepdims=True)
        size, total = x.shape[axis], tf.zeros_like(x)
        # `tf.pad` cannot reflect where there is no patch.
        pixels = np.pad(np.arange(size), _BLUR_RADIUS, "reflect")
        for number in range(2 * _BLUR_RADIUS + 1):
            shifted = tf.gather(x, pixels[number : number + size], axis=axis)
            total += _column(kernel[:, number]) * shifted
        x = total
    return x


def _stretch(x: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Multiplies the contrast; the range of values stays."""
    axes = [1, 2, 3]
    mean, low, high = (
        reduce(x, axes, keepdims=True) for reduce in (tf.reduce_mean, tf.reduce_min, tf.reduce_max)
    )
    return tf.clip_by_value((x - mean) * _column(factors[:, 0]) + mean, low, high)


def _coarsen(x: tf.Tensor, scales: tf.Tensor) -> tf.Tensor:
    """Takes the nearest pixels of a smaller grid, and interpolates between these."""
    for axis in (1, 2):
        size = x.shape[axis]
        cells = tf.round(size * scales[:, :1])  # [B, 1]
        place = (tf.range(size, dtype=tf.float32) + 0.5) * cells / size - 0.5  # [B, size]
        place = tf.clip_by_value(place, 0.0, cells - 1)
        low = tf.floor(place)
        share = place - low
        taken = []
        for cell in (low, tf.minimum(low + 1, cells - 1)):
            pixels = tf.cast(tf.floor((cell + 0.5) * size / cells), tf.int32)
            taken.append(tf.gather(x, pixels, axis=axis, batch_dims=1))
        share = share[:, :, tf.newaxis, tf.newaxis]
        if axis == 2:
            share = tf.transpose(share, [0, 2, 1, 3])
        x = (1 - share) * taken[0] + share * taken[1]
    return x


def _bend(x: tf.Tensor, gammas: tf.Tensor) -> tf.Tensor:
    """Raises values, as shares of their range, to a power; mean and deviation stay."""
    axes = [1, 2, 3]
    low, high = tf.reduce_min(x, axes, keepdims=True), tf.reduce_max(x, axes, keepdims=True)
    span = tf.maximum(high - low, _LEAST)
    bent = tf.pow((x - low) / span, _column(gammas[:, 0])) * span
    mean, deviation = tf.reduce_mean(x, axes, keepdims=True), _deviation(x)
    bent -= tf.reduce_mean(bent, axes, keepdims=True)
    return bent * (deviation / tf.maximum(_deviation(bent), _LEAST)) + mean


def _deviation(x: tf.Tensor) -> tf.Tensor:
    return tf.math.reduce_std(x, [1, 2, 3], keepdims=True)


def _mirror(x: tf.Tensor, masks: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns every other patch over, along each axis by itself."""
    draws = tf.random.stateless_uniform([tf.shape(x)[0], 2], seed, alg=_ALGORITHM)
    for axis in (1, 2):
        turns = _column(draws[:, axis - 1]) < _MIRRORED
        x = tf.where(turns, tf.reverse(x, [axis]), x)
        masks = tf.where(turns, tf.reverse(masks, [axis]), masks)
    return x, masks


def _between(limits: tuple[float, float], draws: tf.Tensor) -> tf.Tensor:
    low, high = limits
    return low + (high - low) * draws


def _around_one(limits: tuple[float, float], draws: tf.Tensor) -> tf.Tensor:
    """Below 1 as often as above, evenly on each side."""
    low, high = limits
    below = _between((low, 1.0), 2 * draws)
    return tf.where(draws < 0.5, below, _between((1.0, high), 2 * draws - 1))


def _column(values: tf.Tensor) -> tf.Tensor:
    """One value per image: [B] to [B, 1, 1, 1]."""
    return tf.reshape(values, [-1, 1, 1, 1])
