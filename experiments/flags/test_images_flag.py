"""The flag of a test set with so many images of each class, as papers publish theirs."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from experiments.flags import checks
from tffcxr.datasets import findings
from tffcxr.errors import InputError

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flag."""
    flags.DEFINE_string(
        "test_images",
        "",
        "Test images of every class and site, as CLASS=NUMBER,CLASS=NUMBER, instead of "
        "--test_fraction. No patient is in two splits. Default: none, the fraction.",
    )


def check(classes: Sequence[str]) -> None:
    """Checks the flag, and that --test_fraction is not given beside it.

    Raises:
      InputError: see `counts`; or both are given.
    """
    checks.used(not counts(classes), "test_fraction", "no --test_images", "test_images")


def counts(classes: Sequence[str]) -> dict[str, int]:
    """The test images of each class; empty without the flag.

    Raises:
      InputError: the flag has another form, lacks a class, has an unknown one, or one twice.
    """
    text = FLAGS.test_images if "test_images" in FLAGS else ""
    if not text:
        return {}
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        try:
            name = findings.find(name, classes, "the recipe")
        except InputError as error:
            raise InputError(f"--test_images: {error}") from None
        if not number.strip().isdecimal() or int(number) < 1 or name in found:
            raise InputError(
                f"--test_images: expected CLASS=NUMBER once for each class, found {text!r}"
            )
        found[name] = int(number)
    missing = [name for name in classes if name not in found]
    if missing:
        raise InputError(
            f"--test_images: expected a number for each of {', '.join(classes)}, found none for "
            f"{', '.join(missing)}"
        )
    return found
