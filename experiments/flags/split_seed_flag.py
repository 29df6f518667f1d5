"""The flag that keeps images and splits the same while the training's seed changes."""

from __future__ import annotations

from absl import flags

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flag."""
    flags.DEFINE_integer(
        "split_seed",
        None,
        "Seed of what images there are and who has them: phantoms, splits, division among clients. "
        "Runs with different --seed and the same --split_seed differ in their training alone. "
        "Default: --seed.",
        lower_bound=0,
    )


def value() -> int:
    """The seed of phantoms, splits and the division among clients."""
    return int(FLAGS.seed if FLAGS.split_seed is None else FLAGS.split_seed)
