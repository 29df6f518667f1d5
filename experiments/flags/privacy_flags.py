"""The flags of --aggregator=dp: how much noise, or how much epsilon, and at which delta."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import checks
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from tffcxr.training.privacy_ledger import Privacy

FLAGS = flags.FLAGS

_NAMES = ("dp_noise_multiplier", "target_epsilon", "epsilon_budget", "dp_delta")
# Flag, least and greatest value; NaN is in no range.
_RANGES = (
    ("dp_noise_multiplier", 0.0, 1e6),
    ("target_epsilon", 1e-3, 1e3),
    ("epsilon_budget", 1e-3, 1e6),
    ("dp_delta", 1e-12, 1e-2),
)


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_float(
        "dp_noise_multiplier", 0.0, "Noise of --aggregator=dp, relative to the clipping norm."
    )
    flags.DEFINE_float(
        "target_epsilon",
        None,
        "Instead of --dp_noise_multiplier: takes the least noise with which the planned rounds "
        "cost no client more than this epsilon.",
    )
    flags.DEFINE_float(
        "epsilon_budget",
        None,
        "Training with --dp_noise_multiplier ends before a round that could cost a client more "
        "than this epsilon in all.",
    )
    flags.DEFINE_float(
        "dp_delta",
        options.DP_DELTA,
        "Delta of every epsilon: the probability with which the guarantee may fail altogether. It "
        "should be far below 1 / number of clients.",
    )


def check() -> None:
    """Checks the flags.

    Raises:
      InputError: one is out of range, has no effect, or contradicts another; --aggregator=dp
        without noise.
    """
    is_private = FLAGS.aggregator == "dp"
    for name in _NAMES:
        checks.used(is_private, name, "--aggregator=dp", "aggregator")
    for name, low, high in _RANGES:
        value = FLAGS[name].value
        if value is not None and not low <= value <= high:
            raise InputError(f"--{name}: expected {low:g} to {high:g}, found {value}")
    if not is_private:
        return
    noise, target = FLAGS.dp_noise_multiplier, FLAGS.target_epsilon
    if target is None and noise <= 0:
        raise InputError(
            "--aggregator=dp: expected --target_epsilon, or --dp_noise_multiplier above 0, "
            f"found {noise}"
        )
    if target is not None and noise > 0:
        raise InputError(
            "--target_epsilon: expected no --dp_noise_multiplier with it, which follows from it, "
            f"found {noise}"
        )
    if target is not None and FLAGS.epsilon_budget is not None:
        raise InputError(
            "--epsilon_budget: expected --dp_noise_multiplier with it, since a --target_epsilon is "
            f"a budget itself, found --target_epsilon={target}"
        )


def privacy() -> Privacy | None:
    """What the flags ask for; None without --aggregator=dp."""
    if FLAGS.aggregator != "dp":
        return None
    from tffcxr.training.privacy_ledger import Privacy

    return Privacy(
        FLAGS.dp_noise_multiplier or None,
        FLAGS.target_epsilon,
        FLAGS.epsilon_budget,
        FLAGS.dp_delta,
    )
