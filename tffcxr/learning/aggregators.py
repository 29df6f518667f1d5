"""How a server combines the updates of its clients, by the names of `options.AGGREGATORS`."""

from __future__ import annotations

import functools
import logging
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.learning import keyed_noise, robust_aggregators


def make(
    name: str,
    noise_multiplier: float = 0.0,
    clients: float = 0.0,
    hostile: int = 1,
    clip: float = options.DP_CLIP,
) -> Any:
    """The `tff.aggregators` factory of a name; None for the mean.

    "secure" is TFF's clipping, quantisation and secure sums. What these take is masked
    between hospitals and between Ray's workers (`runtime.masking`); in one process they are plain
    sums of the same integers.

    Args:
      name: one of `options.AGGREGATORS`.
      noise_multiplier: of "dp", relative to the clipping norm.
      clients: of "dp", how many take part in a round.
      hostile: of `options.HOSTILE_PROOF`, how many of them may be hostile.
      clip: of "dp", the clipping norm of the first round.

    Raises:
      InputError: another name.
    """
    if name == "mean":
        return None
    if name == "robust":
        return tff.learning.robust_aggregator()
    if name == "compression":
        return tff.learning.compression_aggregator()
    if name == "secure":
        _drop_messages_of_assertions()
        return tff.learning.secure_aggregator()
    if name == "dp":
        return differentially_private(noise_multiplier, clients, clip)
    if name in options.HOSTILE_PROOF:
        return robust_aggregators.RobustFactory(name, hostile)
    raise InputError(f"aggregator: expected one of {options.AGGREGATORS}, found {name!r}")


@functools.cache
def _drop_messages_of_assertions() -> None:
    """Keeps TensorFlow from an error of some lines for each bound that TFF asserts and never runs.

    TFF makes `tf.debugging.assert_less_equal` in the graphs of its secure sums without using it.
    """

    def is_other(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return "Object was never used" not in text or "assert_less_equal" not in text

    tf.get_logger().addFilter(is_other)


def differentially_private(
    noise_multiplier: float, clients: float, clip: float = options.DP_CLIP
) -> Any:
    """Gaussian noise with adaptive clipping (Andrew et al., NeurIPS 2021), for few clients.

    As `DifferentiallyPrivateFactory.gaussian_adaptive`, but a seed decides the noise, see
    `keyed_noise`. Every client counts the same, whatever its images, and the sum is divided by
    `clients`, however many have sent an update.

    Args:
      noise_multiplier: of updates and count together, see `split_noise`.
      clients: that take part in a round.
      clip: the clipping norm of the first round.
    """
    of_updates, of_count = split_noise(noise_multiplier, clients)
    query = keyed_noise.KeyedAdaptiveClipQuery(clip, of_updates, of_count, clients)
    return tff.aggregators.DifferentiallyPrivateFactory(query)


def split_noise(noise_multiplier: float, clients: float) -> tuple[float, float]:
    """The noise of updates, and that of the count of clipped updates, by which the clipping adapts.

    A client that is left out moves the count by 1/2, see `keyed_noise`, so noise of the count of
    standard deviation b has the noise multiplier 2 b. It must be more than that of both together;
    TFF's default of b = 0.05 per client is less where clients are few. What the count reveals is
    made up for by more noise on the updates, such that 1 / z^2 = 1 / updates^2 + 1 / (2 b)^2.

    Args:
      noise_multiplier: z, of both together; above 0.
      clients: that take part in a round.

    Returns:
      The noise multiplier of the updates, relative to the clipping norm, and b.
    """
    of_count = max(0.05 * clients, noise_multiplier)
    of_updates = (noise_multiplier**-2 - (2 * of_count) ** -2) ** -0.5
    return of_updates, of_count
