"""Checks of flags that several programs need."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from experiments.flags import typed
from tffcxr import options
from tffcxr.errors import InputError

FLAGS = flags.FLAGS


def names(name: str, values: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Reads a list flag whose values are names, in the order of `known`.

    Raises:
      InputError: no value, an unknown one, or one twice.
    """
    if not values or not set(values) <= set(known) or len(set(values)) != len(values):
        raise InputError(
            f"--{name}: expected some of {', '.join(known)}, each once, found {','.join(values)!r}"
        )
    return tuple(value for value in known if value in values)


def baselines(values: Sequence[str]) -> tuple[str, ...]:
    """Reads `--baseline`.

    Raises:
      InputError: expected site, pooled, both, or none alone.
    """
    if list(values) == ["none"]:
        return ()
    if not values or not set(values) <= set(options.BASELINES):
        raise InputError(
            f"--baseline: expected site, pooled, both or none, found {','.join(values)!r}"
        )
    return tuple(name for name in options.BASELINES if name in values)


def at_least(minimum: int, *names: str) -> None:
    """Raises InputError if one of the named flags is less than `minimum`; None is not."""
    for name in names:
        if FLAGS[name].value is not None and FLAGS[name].value < minimum:
            raise InputError(f"--{name}: expected at least {minimum}, found {FLAGS[name].value}")


def segmentation_model() -> None:
    """Loads the model of `--segmentation_model`, if one is given.

    Raises:
      InputError: it cannot be used, or it does not segment lungs.
    """
    if not FLAGS.segmentation_model:
        return
    from tffcxr.studies import predicted_lungs  # TensorFlow, which --help does not wait for.

    try:
        predicted_lungs.load_model(FLAGS.segmentation_model)
    except InputError as error:
        raise InputError(f"--segmentation_model: {error}") from error


def used(
    is_used: bool, name: str, expected: str, partner: str, may_be_taken_back: bool = False
) -> None:
    """Rejects a flag that was given but has no effect without its partner.

    Args:
      is_used: whether the flag has an effect.
      name: of the flag.
      expected: what the flag needs.
      partner: name of the flag whose value is not the expected one.
      may_be_taken_back: whether the partner may be typed on the command line to override a preset
        that has the flag; then the flag is ignored.

    Raises:
      InputError: the flag was given and has no effect.
    """
    command = typed.current()
    is_taken_back = may_be_taken_back and command.has(partner) and not command.has(name)
    if FLAGS[name].present and not is_used and not is_taken_back:
        raise InputError(
            f"--{name}: expected {expected} with it, found --{partner}={FLAGS[partner].value}"
        )
