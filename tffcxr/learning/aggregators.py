"""How a server combines the updates of its clients, by the names of `options.AGGREGATORS`."""

from __future__ import annotations

from typing import Any

import tensorflow_federated as tff

from tffcxr import options
from tffcxr.errors import InputError


def make(name: str, noise_multiplier: float = 0.0, clients: float = 0.0) -> Any:
    """The `tff.aggregators` factory of a name; None for the mean.

    "secure" adds in the clear: TFF's native compiler and this project's executors replace its
    secure sums by plain sums. Only TFF's clipping and quantisation remain.

    Args:
      name: one of `options.AGGREGATORS`.
      noise_multiplier: of "dp", relative to the clipping norm.
      clients: of "dp", how many take part in a round.

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
        return tff.learning.secure_aggregator()
    if name == "dp":
        return differentially_private(noise_multiplier, clients)
    raise InputError(f"aggregator: expected one of {options.AGGREGATORS}, found {name!r}")


def differentially_private(noise_multiplier: float, clients: float) -> Any:
    """TFF's Gaussian noise with adaptive clipping (Andrew et al., NeurIPS 2021), for few clients.

    The noise of the count of clipped updates, by which the clipping adapts, must be more than half
    the noise multiplier; TFF's default of 0.05 per client is less where clients are few.

    Args:
      noise_multiplier: of the noise, relative to the clipping norm.
      clients: that take part in a round.
    """
    return tff.aggregators.DifferentiallyPrivateFactory.gaussian_adaptive(
        noise_multiplier, clients, clipped_count_stddev=max(0.05 * clients, noise_multiplier)
    )
