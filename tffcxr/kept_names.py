"""The names that a run keeps: of its files and patients, and the paths of its settings.

They stand in `cache/` of the run's folder, sealed: see `sealed_files`. All else that a run writes
is without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import io
import json
import pathlib
from typing import TYPE_CHECKING, Any
import warnings

from tffcxr import errors, sealed_files
from tffcxr.run_tables import Table

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "cache"
_SETTINGS = "settings.json"


def path_of(run: pathlib.Path, table: Table) -> pathlib.Path:
    """Where a table is, or would be; one of a run of an earlier version is not sealed."""
    sealed = _sealed(run, table.file)
    plain = run / FOLDER / table.file
    return plain if plain.exists() and not sealed.exists() else sealed


def write(run: pathlib.Path, table: Table, rows: pd.DataFrame) -> None:
    """Writes a table of names; without a key, which a warning says, there is none.

    Args:
      run: the run's folder.
      table: its schema.
      rows: of the table.

    Raises:
      ValueError: it has other columns.
      OSError: it cannot be written.
    """
    table.check(list(rows.columns))
    _write(run, table.file, rows.to_csv(index=False, lineterminator="\n"))


def read(run: pathlib.Path, table: Table) -> pd.DataFrame | None:
    """Reads a table of names, every cell as it is written; None if the run has none.

    Raises:
      errors.InputError: it cannot be read, was sealed with another key, or is no table.
    """
    import pandas as pd

    path = path_of(run, table)
    if not path.exists():
        return None
    try:
        content = sealed_files.read(path) if path.suffix == sealed_files.SUFFIX else (
            path.read_bytes()
        )  # fmt: skip
        found = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except errors.InputError:
        raise
    except (OSError, ValueError) as error:
        raise errors.InputError(
            f"expected a table in {path}, found {errors.one_line(error)}"
        ) from error
    missing = [name for name in table.always if name not in found]
    if missing:
        raise errors.InputError(f"expected the column {missing[0]} in {path}, found none")
    return found


def write_settings(
    run: pathlib.Path, settings: Mapping[str, Any], command: Sequence[str] | None
) -> None:
    """Writes the settings and the command with the paths in them, as `write` does a table.

    Raises:
      OSError: it cannot be written.
    """
    _write(run, _SETTINGS, json.dumps({"settings": dict(settings), "command": command}))


def read_settings(run: pathlib.Path) -> dict[str, Any]:
    """Reads what `write_settings` wrote: `settings` and `command`; empty if the run has none.

    Raises:
      errors.InputError: it cannot be read, or was sealed with another key.
    """
    path = _sealed(run, _SETTINGS)
    return json.loads(sealed_files.read(path)) if path.exists() else {}


def _sealed(run: pathlib.Path, file: str) -> pathlib.Path:
    return run / FOLDER / f"{file}{sealed_files.SUFFIX}"


def _write(run: pathlib.Path, file: str, text: str) -> None:
    try:
        sealed_files.write(_sealed(run, file), text.encode("utf-8", "surrogateescape"))
    except errors.InputError as error:
        warnings.warn(f"names of files are not kept: {error}", stacklevel=3)
        return
    (run / FOLDER / file).unlink(missing_ok=True)  # Of an earlier version, not sealed.
