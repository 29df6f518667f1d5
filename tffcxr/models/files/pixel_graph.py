"""Preprocessing as TensorFlow operations that any runtime has: see `images.fit_to_square`.

Both of OpenCV's ways to resample are separable. Averaging areas is a product with one matrix per
axis, whose ties OpenCV may round to the next grey. Linear interpolation is done in its whole
numbers, so that grey values are equal, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def stretched(pixels: tf.Tensor) -> tf.Tensor:
    """Maps each image's smallest value to 0 and its largest to 255, as `bitmap.stretch` does.

    Args:
      pixels: uint16 [B, H, W].

    Returns:
      float32 [B, H, W] of whole numbers; 0 in images of one value.
    """
    values, low, high = _extremes(pixels)
    scale = 255.0 / tf.maximum(high - low, 1.0)
    return tf.cast(tf.round((values - low) * scale), tf.float32)


def unknown_where_constant(found: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Replaces what was found in images of one value by NaN: nobody can say which grey it is.

    Args:
      found: float32 [B, …].
      pixels: uint16 [B, H, W].
    """
    _, low, high = _extremes(pixels)
    counts = tf.cast(tf.not_equal(low, high), found.dtype)
    if found.shape.rank == 2:
        counts = counts[:, 0]
    return found * counts / counts  # A choice by `where` becomes such a product in ONNX, too.


def _extremes(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The values, float64 [B, H, W], and each image's smallest and largest, [B, 1, 1]."""
    values = tf.cast(tf.cast(pixels, tf.int32), tf.float64)
    low = tf.reduce_min(values, axis=[1, 2], keepdims=True)
    high = tf.reduce_max(values, axis=[1, 2], keepdims=True)
    return values, low, high


class Place:
    """Where an image of some height and width lies in a model's square."""

    def __init__(self, height: tf.Tensor, width: tf.Tensor, size: int, fit: str):
        """Initializes.

        Args:
          height: of the image, int32.
          width: of the image, int32.
          size: side of the square in pixels.
          fit: one of `options.FITS`.
        """
        self._size = size
        self._sides = (height, width)
        if fit == "pad":
            longest = tf.maximum(height, width)
            self._fitted = tuple(
                tf.maximum(1, _divided(side * size, longest)) for side in self._sides
            )
        else:
            self._fitted = (tf.constant(size), tf.constant(size))
        self._starts = tuple((size - fitted) // 2 for fitted in self._fitted)

    def fitted(self, grey: tf.Tensor) -> tf.Tensor:
        """Fits images to the square: float32 [B, H, W] to [B, S, S], whole numbers in 0..255."""
        shrunk = [tf.minimum(*pair) for pair in zip(self._fitted, self._sides)]
        averaged = _averaged(grey, self._sides, shrunk)
        rows, columns = (
            _Interpolation(old, new, start, self._size)
            for old, new, start in zip(shrunk, self._fitted, self._starts)
        )
        return tf.cast(_interpolated(tf.cast(averaged, tf.int32), rows, columns), tf.float32)

    def spread(self, square: tf.Tensor) -> tf.Tensor:
        """Takes the nearest value of the square for each pixel of the images.

        Args:
          square: [B, S, S].

        Returns:
          [B, H, W] of the same type, as of `images.take_nearest`.
        """
        for axis, (side, fitted, start) in enumerate(
            zip(self._sides, self._fitted, self._starts), start=1
        ):
            nearest = (2 * tf.range(side) + 1) * fitted // (2 * side)
            square = tf.gather(square, start + nearest, axis=axis)
        return square


def _divided(number: tf.Tensor, divisor: tf.Tensor) -> tf.Tensor:
    """The quotient of positive int32, rounded as Python's `round`: halves to the even number."""
    doubled = 2 * number + divisor
    quotient = doubled // (2 * divisor)
    is_half = tf.equal(doubled % (2 * divisor), 0)
    return quotient - tf.where(is_half, quotient % 2, 0)


def _averaged(grey: tf.Tensor, old: Sequence[tf.Tensor], new: Sequence[tf.Tensor]) -> tf.Tensor:
    """Means over the area of each new pixel, rounded as OpenCV does: [B, h, w] of [B, H, W]."""
    rows, columns = (_area(*sides) for sides in zip(old, new))
    means = tf.matmul(rows, tf.matmul(grey, columns, transpose_b=True))
    is_halved = tf.logical_and(tf.equal(old[0], 2 * new[0]), tf.equal(old[1], 2 * new[1]))
    rounded = tf.where(is_halved, tf.floor(means + 0.5), tf.round(means))
    return tf.clip_by_value(rounded, 0.0, 255.0)


def _area(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """The share of each old pixel in each new one, where there are fewer: float32 [new, old]."""
    ratio = tf.cast(old, tf.float64) / tf.cast(new, tf.float64)
    starts = tf.cast(tf.range(new), tf.float64)[:, tf.newaxis] * ratio
    pixels = tf.cast(tf.range(old), tf.float64)[tf.newaxis]
    overlap = tf.minimum(starts + ratio, pixels + 1.0) - tf.maximum(starts, pixels)
    return tf.cast(tf.maximum(overlap, 0.0) / ratio, tf.float32)


class _Interpolation:
    """One axis of a linear interpolation, with weights of 11 bits.

    Attributes:
      low: the place of the pixel before the centre of each new one, int32 [size].
      high: of the pixel after it.
      weights: of both, int32 [size] each; 0 outside of the place that the image fills.
    """

    def __init__(self, old: tf.Tensor, new: tf.Tensor, start: tf.Tensor, size: int):
        ratio = tf.cast(old, tf.float64) / tf.cast(new, tf.float64)
        places = tf.range(size) - start
        centres = tf.cast((tf.cast(places, tf.float64) + 0.5) * ratio - 0.5, tf.float32)
        floors = tf.floor(centres)
        fractions = centres - floors
        low = tf.cast(floors, tf.int32)
        is_border = tf.logical_or(low < 0, low >= old - 1)
        fractions = tf.where(is_border, tf.zeros_like(fractions), fractions)
        self.low = tf.minimum(tf.maximum(low, 0), old - 1)
        self.high = tf.minimum(self.low + 1, old - 1)
        is_inside = tf.logical_and(places >= 0, places < new)
        self.weights = tuple(
            tf.where(is_inside, tf.cast(tf.round(share * 2.0**11), tf.int32), 0)
            for share in (1.0 - fractions, fractions)
        )


def _interpolated(grey: tf.Tensor, rows: _Interpolation, columns: _Interpolation) -> tf.Tensor:
    """int32 [B, h, w] to [B, size, size], with the shifts of OpenCV's `resize`."""
    pairs = zip((columns.low, columns.high), columns.weights)
    lines = sum(tf.gather(grey, places, axis=2) * weights for places, weights in pairs) // 2**4
    pairs = zip((rows.low, rows.high), rows.weights)
    found = sum(
        tf.gather(lines, places, axis=1) * weights[:, tf.newaxis] // 2**16
        for places, weights in pairs
    )
    return (found + 2) // 2**2
