"""Gradient inversion: from what is seen of a round back to the images that made it.

Geiping, Bauermeister, Dröge, Moeller, "Inverting Gradients - How easy is it to break privacy in
federated learning?", NeurIPS 2020: images are found whose gradient points along the update, by Adam
on the cosine distance. Here the distance is the mean over weights, which counts small layers as
much as large ones; and in place of their total variation the prior is what radiographs look like:
images are sums of the principal components of other people's radiographs, and of smooth waves, with
the variance that these have. The coarse components come first. A client with an optimizer that
divides a gradient by its size, such as Adam, sends little more than the signs: the distance is then
between soft signs.

Labels are taken as known: of a single image they follow from the update (Zhao, Mopuri, Bilen,
"iDLG", 2020), and an audit does not count on an attacker's ignorance. An update of several steps is
inverted as if it were one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import numpy as np
from scipy import fft, optimize
import tensorflow as tf

from tffcxr.learning.local_training import LossFn

# Optimizers whose first step has the same length in all weights.
SIGNS = ("adam", "adamw", "adagrad")
_SOFT = 0.1  # Of the root mean square: below it a gradient counts as small.
_STAGES = (60, 200, 600)  # Components.
_RATE = 0.05  # In standard deviations of a component.
_WAVES = 20  # On each axis.
_WAVE_DEVIATION = 0.03  # Of a pixel, of all waves together.
_PRIOR = 1e-4
_TINY = 1e-30
_SIZE = 0.2


@dataclasses.dataclass(frozen=True)
class Prior:
    """What images look like: their mean, and components in the order of their size.

    Attributes:
      mean: float32 [P], of pixels.
      components: float32 [K, P], each times its standard deviation.
      shape: of an image, [S, S, 1].
    """

    mean: np.ndarray
    components: np.ndarray
    shape: tuple[int, ...]

    @classmethod
    def of(cls, others: np.ndarray) -> Prior:
        """From other people's images, float32 [N, S, S, 1]."""
        shape = others.shape[1:]
        flat = others.reshape(len(others), -1).astype(np.float64)
        mean = flat.mean(axis=0)
        centred = (flat - mean) / np.sqrt(len(flat))
        _, sizes, directions = np.linalg.svd(
            np.concatenate([centred, _waves(shape)]), full_matrices=False
        )
        kept = sizes > 1e-6 * sizes[0]
        components = (directions * sizes[:, np.newaxis])[kept][: _STAGES[-1]]
        return cls(mean.astype(np.float32), components.astype(np.float32), shape)


def _waves(shape: Sequence[int]) -> np.ndarray:
    """Cosines along both axes, [waves, P], the long ones larger; together `_WAVE_DEVIATION`."""
    side, channels = shape[0], shape[2]
    count = min(_WAVES, side)
    basis = fft.idct(np.eye(side), axis=0, norm="ortho")[:, :count]  # [S, waves of an axis]
    frequency = np.hypot(*np.meshgrid(np.arange(count), np.arange(count), indexing="ij"))
    sizes = (1 + frequency) ** -1.5
    sizes *= _WAVE_DEVIATION * side / np.sqrt((sizes**2).sum())
    waves = np.einsum("ip,jq,pq->pqij", basis, basis, sizes).reshape(count**2, side**2, 1)
    return np.repeat(waves, channels, axis=2).reshape(count**2, -1)


class Inversion:
    """The attack on a network with given weights.

    Args:
      model: of logits; its weights are those before the round.
      shared: places in `model.weights` of the weights that are seen.
      loss_fn: of the clients.
      optimizer: of the clients, one of `options.CLIENT_OPTIMIZERS`.
      rate: their learning rate.
      prior: see `Prior`.
      iterations: in all.
      restarts: from other random images; the one that fits best is taken.
      seed: of these.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        shared: Sequence[int],
        loss_fn: LossFn,
        optimizer: str,
        rate: float,
        prior: Prior,
        iterations: int,
        restarts: int,
        seed: int,
    ) -> None:
        self._model = model
        self._variables = [model.weights[place] for place in shared]
        self._loss_fn = loss_fn
        self._is_sign = optimizer in SIGNS
        self._rate = rate
        self._prior = prior
        self._iterations = iterations
        self._restarts = restarts
        self._seed = seed
        self._step = tf.function(self._traced_step, autograph=False)

    def invert(
        self,
        update: Sequence[np.ndarray],
        labels: np.ndarray,
        told: Callable[[int, int], None] = lambda done, of: None,
    ) -> np.ndarray:
        """The images that fit an update best.

        Args:
          update: the change of each of the shared weights.
          labels: of the images, float32 [B, F].
          told: gets how many iterations are done, and of how many.

        Returns:
          float32 [B, S, S, 1] in 0..1.
        """
        target = [tf.constant(-np.asarray(part) / self._rate, tf.float32) for part in update]
        count = len(self._prior.components)
        stages = [*(n for n in _STAGES[:-1] if n < count), count]
        per_stage = max(1, self._iterations // len(stages))
        best, least = None, np.inf
        for restart in range(self._restarts):
            random = np.random.default_rng([self._seed, restart])
            start = random.normal(scale=0.1, size=(len(labels), count))
            found = tf.constant(start * (np.arange(count) < stages[0]), tf.float32)
            for stage, finest in enumerate(stages):
                used = tf.constant(np.arange(count) < finest, tf.float32)
                first, second = tf.zeros_like(found), tf.zeros_like(found)
                for number in range(per_stage):
                    rate = _RATE * (0.5 * (1 + np.cos(np.pi * number / per_stage)) + 1e-3)
                    found, first, second, distance = self._step(
                        found,
                        first,
                        second,
                        used,
                        tf.constant(number + 1.0),
                        tf.constant(rate, tf.float32),
                        target,
                        tf.constant(labels, tf.float32),
                    )
                    if number % 20 == 19 or number == per_stage - 1:
                        done = (restart * len(stages) + stage) * per_stage + number + 1
                        told(done, self._restarts * len(stages) * per_stage)
            if best is None or float(distance) < least:
                best, least = found, float(distance)
        return np.clip(self._images(best).numpy(), 0.0, 1.0)

    def guess(self, count: int) -> np.ndarray:
        """What the attacker says without any update: the mean image, float32 [count, S, S, 1]."""
        mean = np.clip(self._prior.mean.reshape(1, *self._prior.shape), 0.0, 1.0)
        return np.repeat(mean, count, axis=0)

    def _images(self, found: tf.Tensor) -> tf.Tensor:
        flat = self._prior.mean + found @ self._prior.components
        return tf.reshape(flat, (-1, *self._prior.shape))

    def _traced_step(
        self,
        found: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
        used: tf.Tensor,
        number: tf.Tensor,
        rate: tf.Tensor,
        target: Any,
        labels: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """A step of Adam; returns the images' components, Adam's means and the distance."""
        with tf.GradientTape() as tape:
            tape.watch(found)
            gradients = self._gradients(self._images(found), labels)
            of_weight = _sign_distance if self._is_sign else _distance
            distances = [of_weight(a, b) for a, b in zip(gradients, target)]
            distance = tf.add_n(distances) / len(distances)
            objective = distance + _PRIOR * tf.reduce_mean(tf.reduce_sum(found**2, axis=1))
        slope = tape.gradient(objective, found)
        slope = used * tf.where(tf.math.is_finite(slope), slope, tf.zeros_like(slope))
        first = 0.9 * first + 0.1 * slope
        second = 0.99 * second + 0.01 * slope**2
        move = (first / (1 - 0.9**number)) / (tf.sqrt(second / (1 - 0.99**number)) + 1e-8)
        return found - rate * move, first, second, distance

    def _gradients(self, images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        """Of the clients' objective, by the weights that are seen."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            outputs = self._model(images, training=True)
            loss, known = self._loss_fn({"images": images, "labels": labels}, outputs)
            objective = tf.math.divide_no_nan(loss, known)
        return tape.gradient(
            objective, self._variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )


def _soft_sign(value: tf.Tensor) -> tf.Tensor:
    size = tf.sqrt(tf.reduce_mean(value**2)) + 1e-20
    return value / (tf.abs(value) + _SOFT * size)


def _sign_distance(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Between the signs of two gradients."""
    return _cosine_distance(_soft_sign(one), _soft_sign(other))


def _distance(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Between two gradients by direction, and a little by length, which tells the contrast."""
    longer = tf.math.log((tf.reduce_sum(one**2) + _TINY) / (tf.reduce_sum(other**2) + _TINY)) / 2
    return _cosine_distance(one, other) + _SIZE * longer**2


def _cosine_distance(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """0 in the same direction, 1 where one of them is zero."""
    lengths = tf.sqrt(tf.reduce_sum(one**2) * tf.reduce_sum(other**2) + _TINY)
    return 1.0 - tf.reduce_sum(one * other) / lengths


@dataclasses.dataclass(frozen=True)
class Likeness:
    """How well images were found again.

    Attributes:
      psnr: mean over the pairs, in dB.
      ssim: mean over the pairs, of at most 1.
      originals: the place of each found image's original.
    """

    psnr: float
    ssim: float
    originals: np.ndarray


def compare(found: np.ndarray, originals: np.ndarray) -> Likeness:
    """Gives each found image an original of its own, such that the PSNR is largest in all.

    Args:
      found: float32 [R, S, S, 1] in 0..1.
      originals: likewise, [N, S, S, 1], N at least R.
    """
    quality = np.stack([tf.image.psnr(one, originals, 1.0).numpy() for one in found])
    quality = np.minimum(quality, 100.0)  # Equal images have an infinite one.
    rows, columns = optimize.linear_sum_assignment(-quality)
    similarity = tf.image.ssim(
        tf.constant(found[rows]), tf.constant(originals[columns]), 1.0
    ).numpy()
    return Likeness(float(quality[rows, columns].mean()), float(similarity.mean()), columns)


def ranks(found: np.ndarray, originals: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The place of each original in a line-up with others, ordered by likeness to what was found.

    Likeness is the correlation of pixels, which brightness and contrast do not change.

    Args:
      found: float32 [R, S, S, 1].
      originals: of each.
      others: images of other people, [N, S, S, 1].

    Returns:
      [R], 1 if no other is more alike; by guessing (N + 2) / 2 on average.
    """
    ours = _standardised(found)
    own = (ours * _standardised(originals)).sum(axis=1)
    foreign = ours @ _standardised(others).T
    return 1 + (foreign > own[:, np.newaxis]).sum(axis=1)


def _standardised(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
