"""The flags of recipes that measure on the server's images: what part of the patients these are."""

from __future__ import annotations

from absl import flags

from tffcxr.errors import InputError

FLAGS = flags.FLAGS


def define(*, test: float) -> None:
    """Defines the flags for recipes that measure on the server's images after every round.

    Args:
      test: default of `--test_fraction`.
    """
    flags.DEFINE_float("test_fraction", test, "Fraction of patients held out for testing.")
    flags.DEFINE_float(
        "validation_fraction",
        0.0,
        "Fraction of patients held out for validation. Their images measure every round and choose "
        "the best round, the end of training, the rates of --schedule=plateau and the calibration. "
        "With 0, rounds are measured on the test images, which choose nothing by default.",
    )


def fractions() -> dict[str, float]:
    """The fraction of patients in each split."""
    validation, test = FLAGS.validation_fraction, FLAGS.test_fraction
    shares = {"train": 1.0 - test - validation, "validation": validation, "test": test}
    return {split: share for split, share in shares.items() if share}


def measured_split() -> str:
    """The split that models are measured on after every round."""
    return "validation" if FLAGS.validation_fraction else "test"


def check() -> None:
    """Checks the fractions of the splits, and that test images steer no learning rate.

    Raises:
      InputError: a fraction is out of range, or missing.
    """
    test, value = FLAGS.test_fraction, FLAGS.validation_fraction
    if not 0 < test < 1:
        raise InputError(f"--test_fraction: expected above 0 and below 1, found {test}")
    if not 0 <= value < 1 - test:
        raise InputError(f"--validation_fraction: expected 0 to below {1 - test:g}, found {value}")
    if FLAGS.schedule == "plateau" and not value:
        raise InputError(
            "--schedule=plateau: expected a --validation_fraction above 0, since test images may "
            f"not steer the training, found {value}"
        )
