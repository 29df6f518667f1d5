"""A folder that appears under its name only when it is complete, with the settings it was made by.

It is filled under a temporary name beside the target and renamed. What a killed run left behind is
recognised by its settings file, which a living writer keeps locked, and removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import json
import pathlib
import shutil
import tempfile

import filelock

from tffcxr.errors import InputError

SETTINGS = "phantom.json"


@contextlib.contextmanager
def create(root: pathlib.Path, settings: Mapping[str, object]) -> Iterator[pathlib.Path | None]:
    """Yields a temporary folder to fill, or None if `root` already holds these settings.

    Args:
      root: where the folder appears when the block ends without an error.
      settings: recorded in `phantom.json`; must survive JSON.

    Raises:
      InputError: `root` holds something else, or cannot be written. Nothing is overwritten.
    """
    if _holds(root, settings):
        yield None
        return
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
        partial = pathlib.Path(tempfile.mkdtemp(prefix=_prefix(root), dir=root.parent))
    except OSError as error:
        raise InputError(f"expected a folder that can be written, found {root}: {error}") from error
    try:
        with (partial / SETTINGS).open("w") as lock:
            filelock.lock_descriptor(lock.fileno())
            json.dump(dict(settings), lock, indent=2)
            lock.flush()
            yield partial
            partial.chmod(0o755)
            _publish(partial, root, settings)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write phantoms to {root}: {error}") from error
        raise


def _publish(partial: pathlib.Path, root: pathlib.Path, settings: Mapping[str, object]) -> None:
    """Renames the folder; another process that finished the same one first wins."""
    try:
        partial.rename(root)
    except OSError:
        if not _holds(root, settings):
            raise
        shutil.rmtree(partial)


def _holds(root: pathlib.Path, settings: Mapping[str, object]) -> bool:
    """True if the folder was made by these settings, False if there is nothing yet."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / SETTINGS).read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"expected no folder or one with phantoms, found other files in {root}")
    differing = [key for key in {**settings, **found} if settings.get(key) != found.get(key)]
    if differing:
        key = sorted(differing)[0]
        raise InputError(
            f"{root}: expected phantoms with {key}={settings.get(key)}, "
            f"found {key}={found.get(key)}; choose another folder"
        )
    return True


def _prefix(root: pathlib.Path) -> str:
    return f".{root.name}.partial-"


def _remove_abandoned(root: pathlib.Path) -> None:
    """Removes what killed runs left beside `root`: settings file there, and no process holds it."""
    for partial in root.parent.glob(_prefix(root) + "*"):
        try:
            with (partial / SETTINGS).open() as lock:
                if filelock.lock_descriptor(lock.fileno(), blocking=False):
                    shutil.rmtree(partial, ignore_errors=True)
        except OSError:
            continue
