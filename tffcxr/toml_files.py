"""TOML files that people write: what is wrong in one is said in a line with its name and key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import pathlib
import sys
from typing import Any

from tffcxr.errors import InputError, did_you_mean, one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read(path: pathlib.Path) -> dict[str, Any]:
    """The tables and values of a file.

    Raises:
      InputError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: expected a file to read, found {error.strerror}") from None
    except ValueError as error:  # Of the encoding, too.
        raise InputError(f"{path}: expected TOML in UTF-8, found {one_line(error)}") from None


def check_keys(
    path: pathlib.Path, where: str, table: Mapping[str, Any], known: Iterable[str]
) -> None:
    """Raises InputError if a table has a key that is not known.

    Args:
      path: the file, for the error message.
      where: the table's name with a dot after it; empty for the whole file.
      table: its values by key.
      known: the keys that it may have.
    """
    known = list(known)
    for key in table:
        if key not in known:
            raise InputError(
                f"{path}: expected the keys {', '.join(known)}, found {where}{key}"
                f"{did_you_mean(key, known)}"
            )


def integer(path: pathlib.Path, key: str, value: Any, least: int, greatest: int) -> int:
    """Returns a value that is an integer in a range.

    Raises:
      InputError: another value.
    """
    if type(value) is not int or not least <= value <= greatest:
        raise InputError(
            f"{path}: {key}: expected an integer of {least} to {greatest}, found {value!r}"
        )
    return value
