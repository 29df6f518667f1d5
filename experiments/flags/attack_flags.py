"""The flags by which some clients turn hostile, as a rehearsal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import checks
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from tffcxr.training.attack import Attack

FLAGS = flags.FLAGS

_NONE = "none"


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_enum(
        "attack",
        _NONE,
        [_NONE, *options.ATTACKS],
        "Rehearses hostile clients, to see what an --aggregator bears. labels: the --attackers "
        "train on labels that are turned round; scale: multiply their updates by "
        "--attack_strength; sign: turn their updates round; noise: send noise in their place. The "
        "model is good for nothing else, and says so.",
    )
    flags.DEFINE_list(
        "attackers",
        [],
        "Who makes the --attack: clients or sites, separated by commas. clients.csv of a run "
        "without attack has their names.",
    )
    flags.DEFINE_float(
        "attack_strength",
        None,
        "Factor of the attackers' updates, or length of their noise relative to these. Default: 10 "
        "for scale, 1 for sign and noise.",
    )


def check() -> None:
    """Checks the flags.

    Raises:
      InputError: one has no effect, is missing or is out of range.
    """
    is_attacked = FLAGS.attack != _NONE
    expected = f"--attack={', '.join(options.ATTACKS)}"
    checks.used(is_attacked, "attackers", expected, "attack")
    checks.used(
        FLAGS.attack not in (_NONE, "labels"),
        "attack_strength",
        "--attack=scale, sign or noise",
        "attack",
    )
    if not is_attacked:
        return
    if not FLAGS.attackers:
        raise InputError("--attackers: expected clients or sites with --attack, found none")
    if FLAGS.engine != "local":
        raise InputError(
            "--attack: expected --engine=local with it, since it is a rehearsal, found "
            f"--engine={FLAGS.engine}"
        )
    strength = FLAGS.attack_strength
    if strength is not None and not 0 < strength <= 1e6:
        raise InputError(f"--attack_strength: expected above 0 and at most 1e6, found {strength}")


def attack() -> Attack | None:
    """What the flags ask for; None for none."""
    if FLAGS.attack == _NONE:
        return None
    from tffcxr.training.attack import Attack

    return Attack(FLAGS.attack, tuple(FLAGS.attackers), FLAGS.attack_strength)
