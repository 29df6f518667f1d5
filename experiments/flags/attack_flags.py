"""The flags of hostile clients: what becomes of them, and rehearsals of what they may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import checks
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from tffcxr.learning.robust_aggregators import RobustFactory
    from tffcxr.training.attack import Attack

FLAGS = flags.FLAGS

_NONE = "none"


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_enum(
        "quarantine",
        "report",
        options.QUARANTINES,
        "Lists clients that stood out in two of three rounds, in clients.csv, the terminal and the "
        "report: weights or losses that are no numbers, updates that are longer than their images "
        "and losses explain, or point against the others' although their losses are alike, and "
        "labels that are not those that the model learnt from the others. Four clients or more are "
        "compared. report: no more than that; exclude: leaves them out of all later rounds, as "
        "long as more than half of the clients remain, and as many as the --aggregator needs.",
    )
    flags.DEFINE_enum(
        "attack",
        _NONE,
        [_NONE, *options.ATTACKS],
        "Rehearses hostile clients, to see what an --aggregator bears. labels: the --attackers "
        "train on labels that are turned round; scale: multiply their updates by "
        "--attack_strength; sign: turn their updates round; noise: send noise in their place; "
        "backdoor: train half of their images with a white square in the lower right corner as "
        "absent, or as the first class, and multiply their updates by --attack_strength if given; "
        "the results then say how often the square misleads the model (no masks). The model is "
        "good for nothing else, and says so.",
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
        "for scale, 1 for others.",
    )


def check() -> None:
    """Checks the flags.

    Raises:
      InputError: one has no effect, is missing or is out of range.
    """
    if FLAGS.quarantine == options.EXCLUDE and FLAGS.aggregator in options.HIDING_UPDATES:
        raise InputError(
            "--quarantine=exclude: expected an --aggregator that shows the server each update, "
            f"found {FLAGS.aggregator}"
        )
    is_attacked = FLAGS.attack != _NONE
    expected = f"--attack={', '.join(options.ATTACKS)}"
    checks.used(is_attacked, "attackers", expected, "attack")
    checks.used(
        FLAGS.attack not in (_NONE, "labels"),
        "attack_strength",
        "--attack=scale, sign, noise or backdoor",
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


def hostile_proof() -> RobustFactory | None:
    """The aggregator, if it is one that bears hostile clients."""
    from tffcxr.learning import robust_aggregators

    if FLAGS.aggregator not in options.HOSTILE_PROOF:
        return None
    return robust_aggregators.RobustFactory(FLAGS.aggregator, FLAGS.hostile_clients)
