"""How a server combines the updates of its clients: what `--aggregator` names.

Its flags are those of `training_flags`, which defines them.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from tffcxr.errors import InputError

FLAGS = flags.FLAGS

NAMES = ("mean", "robust", "compression", "secure", "dp")


def check() -> None:
    """Checks the flags of differential privacy by themselves.

    Raises:
      InputError: it has no noise, or does not know how many clients take part in a round.
    """
    if FLAGS.aggregator != "dp":
        return
    if FLAGS.dp_noise_multiplier <= 0:
        raise InputError(
            "--aggregator=dp: expected --dp_noise_multiplier above 0, "
            f"found {FLAGS.dp_noise_multiplier}"
        )
    _dp_clients()


def make() -> Any:
    """The `tff.aggregators` factory that the flags name; None for the mean.

    Raises:
      InputError: see `check`.
    """
    if FLAGS.aggregator == "mean":
        return None
    import tensorflow_federated as tff

    if FLAGS.aggregator == "robust":
        return tff.learning.robust_aggregator()
    if FLAGS.aggregator == "compression":
        return tff.learning.compression_aggregator()
    if FLAGS.aggregator == "secure":
        return tff.learning.secure_aggregator()
    return differentially_private(FLAGS.dp_noise_multiplier, _dp_clients())


def differentially_private(noise_multiplier: float, clients: float) -> Any:
    """TFF's Gaussian noise with adaptive clipping (Andrew et al., NeurIPS 2021), for few clients.

    The noise of the count of clipped updates, by which the clipping adapts, must be more than half
    the noise multiplier; TFF's default of 0.05 per client is less where clients are few.

    Args:
      noise_multiplier: of the noise, relative to the clipping norm.
      clients: that take part in a round.
    """
    import tensorflow_federated as tff

    return tff.aggregators.DifferentiallyPrivateFactory.gaussian_adaptive(
        noise_multiplier, clients, clipped_count_stddev=max(0.05 * clients, noise_multiplier)
    )


def _dp_clients() -> float:
    try:
        return float(int(FLAGS.clients_per_round))
    except ValueError:
        raise InputError(
            "--aggregator=dp: expected a count in --clients_per_round, "
            f"found {FLAGS.clients_per_round!r}"
        ) from None
