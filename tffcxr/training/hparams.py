"""Runs for TensorBoard's HParams dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math
import pathlib

from tensorboard.plugins.hparams import api as hp
import tensorflow as tf

_EVENTS = "events.out.tfevents.*"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run.

    Attributes:
      name: of its folder below that of the dashboard.
      hparams: the settings that distinguish it from other runs; numeric text is written as a
        number.
      results: numbers of the whole run; an undefined one (NaN) is left out.
      curves: numbers by round.
      title: what the dashboard calls it; its name if that is empty.
    """

    name: str
    hparams: Mapping[str, str]
    results: Mapping[str, float]
    curves: Mapping[str, Mapping[int, float]]
    title: str = ""


def write(folder: pathlib.Path, trials: Sequence[Trial]) -> None:
    """Writes a record per run; those that an earlier call wrote are replaced.

    Args:
      folder: for `tensorboard --logdir`.
      trials: all runs that have results.
    """
    for trial in trials:
        place = folder / trial.name
        before = sorted(place.glob(_EVENTS))
        writer = tf.summary.create_file_writer(str(place))
        with writer.as_default(step=0):
            hparams = {name: _value(text) for name, text in trial.hparams.items()}
            hp.hparams(hparams, trial_id=trial.title or trial.name)
            for name, value in trial.results.items():
                if not math.isnan(value):
                    tf.summary.scalar(name, value)
            for name, values in trial.curves.items():
                for step, value in values.items():
                    if not math.isnan(value):
                        tf.summary.scalar(name, value, step=step)
        writer.close()
        for path in before:
            path.unlink()


def _value(text: str) -> str | float:
    """A number where a text is one, so that the dashboard has an axis for it."""
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else text
