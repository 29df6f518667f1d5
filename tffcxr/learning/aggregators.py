"""How a server combines the updates of its clients, by the names of `options.AGGREGATORS`."""

from __future__ import annotations

from typing import Any

import tensorflow_federated as tff

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.learning import keyed_noise

_FIRST_CLIP = 0.1  # As TFF starts from.


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
    """Gaussian noise with adaptive clipping (Andrew et al., NeurIPS 2021), for few clients.

    As `DifferentiallyPrivateFactory.gaussian_adaptive`, but a seed decides the noise, see
    `keyed_noise`. The noise of the count of clipped updates, by which the clipping adapts, must be
    more than half the noise multiplier; TFF's default of 0.05 per client is less where clients are
    few. What the count reveals is made up for by more noise on the updates.

    Args:
      noise_multiplier: of both together, relative to the clipping norm; above 0.
      clients: that take part in a round.
    """
    of_count = max(0.05 * clients, noise_multiplier)
    of_updates = (noise_multiplier**-2 - (2 * of_count) ** -2) ** -0.5
    query = keyed_noise.KeyedAdaptiveClipQuery(_FIRST_CLIP, of_updates, of_count, clients)
    return tff.aggregators.DifferentiallyPrivateFactory(query)
