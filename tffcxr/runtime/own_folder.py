"""Temporary folders that go with their program, or with the next one if it was killed.

A program locks a file in its folder for as long as it lives; the kernel unlocks it however it ends.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile

import filelock

_PREFIX = "tffcxr-"
_LOCK = "owner.lock"


class OwnFolder:
    """A new folder of mode 0700. Those that killed programs have left beside it are removed.

    Args:
      base: where to make it.
    """

    def __init__(self, base: str) -> None:
        _remove_abandoned(pathlib.Path(base))
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        unlocked = self.path / f"{_LOCK}.new"
        self._lock = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        filelock.lock_descriptor(self._lock)
        unlocked.rename(self.path / _LOCK)  # From now on others would look at the lock.

    def remove(self) -> None:
        """Removes the folder. To be called once."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _remove_abandoned(base: pathlib.Path) -> None:
    for path in base.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            if path.parent.is_symlink() or path.parent.stat().st_uid != os.getuid():
                continue
            lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # Another program was faster.
            continue
        try:
            if filelock.lock_descriptor(lock, blocking=False):
                shutil.rmtree(path.parent, ignore_errors=True)
        finally:
            os.close(lock)
