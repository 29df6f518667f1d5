"""A run's folder: its recipe and settings, and a lock against other programs.

Paths in settings and command are concealed, see `concealed`; `kept_names` has them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import os
import pathlib
import shutil
from typing import Any

import filelock

from tffcxr import concealed, kept_names
from tffcxr.errors import InputError
from tffcxr.files import remove_unfinished, write_json

_MINIMUM_FREE_BYTES = 200 * 2**20
_LOCK = ".lock"


class RunDirectory:
    """A folder that belongs to one run.

    Use `RunDirectory.open`. The folder stays locked until the program ends, however it ends.
    """

    def __init__(
        self,
        path: pathlib.Path,
        lock: int,
        settings: Mapping[str, Any],
        command: Sequence[str] | None,
    ):
        self.path = path
        self._lock = lock
        self._settings, self._command = settings, command

    @classmethod
    def open(
        cls,
        path: pathlib.Path,
        recipe: str,
        settings: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> RunDirectory:
        """Opens an empty folder for a run, or resumes the run in it.

        Args:
          path: made if it does not exist.
          recipe: the program's name.
          settings: everything that the results depend on, as JSON values; must be the same for a
            run to be resumed. A run that stopped before its images were prepared has no results,
            so its settings give way to these.
          facts: further content of `config.json` (versions, the command).

        Raises:
          InputError: the folder holds something else, a run with other settings (the first
            difference is named), or cannot be written; or the disk is almost full.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            _check_not_foreign(path)
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise InputError(
                f"--output_dir: expected a folder that can be written, found {path}: "
                f"{error.strerror}"
            ) from error
        try:
            _take(path, lock, recipe, json.loads(json.dumps(settings)), facts)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock, settings, facts.get("command"))

    def record_data(
        self,
        fingerprint: str,
        sites: Sequence[Mapping[str, Any]],
        derived: Mapping[str, Any] | None = None,
        kind: str | None = None,
    ) -> None:
        """Notes in `config.json` which images a run uses, once they are prepared.

        Args:
          fingerprint: of the shards.
          sites: what the report shows of each site; no patient ids.
          derived: values that were chosen where the settings leave them open.
          kind: kind of study; None for other runs.

        Raises:
          InputError: the run that is resumed used other images.
        """
        plain = {"settings": dict(self._settings), "command": self._command}
        if concealed.config(plain) != plain:
            kept_names.write_settings(self.path, self._settings, self._command)
        config = _read_config(self.path / "config.json")
        before = config.get("data_fingerprint")
        if before is None:
            config.update(data_fingerprint=fingerprint, sites=[dict(site) for site in sites])
            config.update(derived=dict(derived or {}))
        elif before != fingerprint:
            raise InputError(
                f"--output_dir: {self.path} holds a run on other images (fingerprint {before}, "
                f"found {fingerprint}); files or labels have changed since: use another folder"
            )
        # A run that an earlier version started has no kind yet.
        if before is None or (kind is not None and "kind" not in config):
            config.update({} if kind is None else {"kind": kind})
            write_json(self.path / "config.json", config)

    def record_fact(self, name: str, value: Any) -> bool:
        """Notes in `config.json` what changes no result; returns whether another value was there.

        Args:
          name: of a fact that `open` wrote.
          value: as JSON has it.
        """
        config = _read_config(self.path / "config.json")
        if config.get(name) == value:
            return False
        write_json(self.path / "config.json", {**config, name: value})
        return True

    @property
    def is_complete(self) -> bool:
        """Whether the run has written its final results and its report."""
        return is_complete(self.path)

    @property
    def has_finished_rounds(self) -> bool:
        """Whether a new start resumes from a finished round: of its own, or as a hospital."""
        return any(
            any(self.path.glob(pattern)) for pattern in ("checkpoints/*/*.npz", "states/*/*/*.npz")
        )

    @property
    def is_gone(self) -> bool:
        """Whether the folder was removed, moved away or replaced since it was opened."""
        try:
            return not os.path.samestat(os.stat(self.path / _LOCK), os.fstat(self._lock))
        except FileNotFoundError:
            return True

    def close(self) -> None:
        """Unlocks the folder for other programs."""
        os.close(self._lock)


def is_complete(path: pathlib.Path) -> bool:
    """Whether a folder holds a run that has written its final results and its report."""
    try:
        complete = json.loads((path / "metrics.json").read_text())["complete"]
        return bool(complete) and (path / "report.html").exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _take(
    path: pathlib.Path,
    lock: int,
    recipe: str,
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    try:
        # On a descriptor of our own: a `FileLock` would let go in every fork of this program, and
        # children that outlive a killed program must keep others away from what they write.
        is_free = filelock.lock_descriptor(lock, blocking=False)
    except OSError as error:
        raise InputError(
            f"--output_dir: expected a folder on a file system with locks, found {path}: "
            f"{error.strerror}"
        ) from error
    if not is_free:
        raise InputError(f"--output_dir: {path} is in use by another run")
    remove_unfinished(path)
    free = shutil.disk_usage(path).free
    if free < _MINIMUM_FREE_BYTES:
        raise InputError(
            f"--output_dir: expected at least {_MINIMUM_FREE_BYTES >> 20} MiB free, "
            f"found {free >> 20} MiB in {path}"
        )
    config = path / "config.json"
    if config.exists():
        before = _read_config(config)
        _check_recipe(path, before, recipe)
        if "data_fingerprint" in before:
            _check_settings(path, before.get("settings", {}), settings)
            return
    write_json(config, concealed.config({"recipe": recipe, "settings": settings, **facts}))


def _check_not_foreign(path: pathlib.Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    # A kill may have come while `config.json` was first written.
    others = sorted(n for n in names if n != _LOCK and not n.startswith(".config.json."))
    if others and "config.json" not in names:
        raise InputError(
            f"--output_dir: expected an empty folder or an earlier run, found {others[0]!r} "
            f"in {path}"
        )


def _read_config(config: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{config}: expected the settings of a run, found {error}") from error


def _check_recipe(path: pathlib.Path, found: Mapping[str, Any], recipe: str) -> None:
    if found.get("recipe") != recipe:
        raise InputError(
            f"--output_dir: {path} holds a run of {found.get('recipe')}, expected one of {recipe}"
        )


def _check_settings(path: pathlib.Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    # Those of an earlier version are not concealed yet.
    known, wanted = concealed.settings(before), concealed.settings(now)
    for name in sorted({*before, *now}):
        if known.get(name) != wanted.get(name):
            raise InputError(
                f"--output_dir: {path} holds a run with {name}={before.get(name)!r}, found "
                f"{name}={now.get(name)!r}; use the same settings to resume or another folder"
            )
