"""The flag that names the published tables beside which a report sets the results."""

from __future__ import annotations

from absl import flags

from tffcxr.errors import InputError
from tffcxr.report.published import published_tables

FLAGS = flags.FLAGS


def define(recipe: str | None = None) -> None:
    """Defines the flag.

    Args:
      recipe: the program whose tables it takes; None for all, see `check`.
    """
    known = published_tables.of_recipe(recipe) if recipe else tuple(published_tables.BY_NAME)
    if not known:
        return
    flags.DEFINE_list(
        "published",
        [],
        "Published tables beside which the report sets the results; the papers' presets name "
        f"theirs. Some of {', '.join(known)}.",
    )
    flags.register_validator(
        "published", lambda names: set(names) <= set(known), f"expected some of {', '.join(known)}"
    )


def names() -> list[str]:
    """The tables; none where the program has no such flag."""
    return list(FLAGS.published) if "published" in FLAGS else []


def check(recipe: str) -> None:
    """Checks that a recipe's runs have the numbers of the tables.

    Raises:
      InputError: they have not.
    """
    known = published_tables.of_recipe(recipe)
    for name in names():
        if name not in known:
            expected = f"some of {', '.join(known)}" if known else f"none with {recipe}"
            raise InputError(f"--published: expected {expected}, found {name!r}")
