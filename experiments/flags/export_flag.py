"""The flag that also writes a run's exported models for programs without Keras."""

from __future__ import annotations

import pathlib
import sys

from absl import flags

from tffcxr import options

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flag."""
    known = ", ".join(options.EXPORT_FORMATS)
    flags.DEFINE_list(
        "export",
        [],
        f"Also write the models of models/*.keras as some of {known}, with the preprocessing "
        "inside: pixels of uint8 or uint16 in, probabilities out. The same command with other "
        "formats adds them to a complete run.",
    )
    flags.register_validator(
        "export",
        lambda names: set(names) <= set(options.EXPORT_FORMATS),
        f"expected some of {known}",
    )


def write_missing(run: pathlib.Path) -> None:
    """Writes a run's exported models in the formats of the flag, unless they are there.

    Raises:
      InputError: a model cannot be read.
      RunError: what was written differs from Keras.
    """
    if not FLAGS.export:
        return
    from tffcxr.models.files import portable

    folder = run / "models"
    if not any(folder.glob("*.keras")):
        print("--export: this run has no exported model", file=sys.stderr)
    portable.write_missing(folder, tuple(FLAGS.export), lambda line: print(line, file=sys.stderr))
