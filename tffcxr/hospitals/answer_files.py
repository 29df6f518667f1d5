"""What hospitals answer in a round, on the coordinator's disk instead of in its memory.

An answer of a round is as large as the shared weights, and all are kept until the round ends, so
that it can be tried again without a hospital that is late. Each is written here as it arrives and
read array by array when it is aggregated: the coordinator's memory does not depend on the number
of hospitals. The files are for the coordinator's user alone and go with the round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import hashlib
import itertools
import os
import pathlib
import secrets
import stat
from typing import BinaryIO, overload
import weakref

from tffcxr.errors import InputError, RunError
from tffcxr.hospitals import wire

_SUFFIX = ".answer"
_TO_USER_ALONE = 0o600


class AnswerFolder:
    """A `wire.Store` in a folder of mode 0700. One program at a time uses it.

    Files that a killed program has left there are removed.

    Args:
      path: of the folder, which is made if it is missing.

    Raises:
      InputError: it cannot be made, emptied or kept from others.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        try:
            path.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
            path.chmod(stat.S_IRWXU)
            self.clear()
        except OSError as error:
            raise InputError(
                f"{path}: expected a folder for answers of hospitals, found {error.strerror}"
            ) from error

    def __call__(
        self, layouts: Sequence[wire.Layout], take: Callable[[int], Iterator[memoryview]]
    ) -> Sequence[wire.Field]:
        """See `wire.Store`.

        Raises:
          RunError: they cannot be written; nothing is left of them.
        """
        if not layouts:
            return ()
        path = self._path / f"{secrets.token_hex(8)}{_SUFFIX}"
        try:
            with open(path, "xb", opener=_for_user_alone) as file:
                digests = [_copied(take(layout.size), file) for layout in layouts]
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise RunError(
                    f"{path}: expected room for the answer of a hospital, found {error.strerror}; "
                    "the same command resumes the run"
                ) from error
            raise
        return StoredFields(path, layouts, digests)

    def clear(self) -> None:
        """Removes all answers. One that is still being written is removed, too.

        Raises:
          OSError: one cannot be removed.
        """
        for path in self._path.glob(f"*{_SUFFIX}"):
            path.unlink(missing_ok=True)


class StoredFields(Sequence[wire.Field]):
    """The fields of an answer. Each is read when it is asked for, and not kept.

    The file is removed with the last reference to this object.

    Args:
      path: of the file, which has nothing but the arrays.
      layouts: of all.
      digests: the SHA-256 of each.
    """

    def __init__(
        self, path: pathlib.Path, layouts: Sequence[wire.Layout], digests: Sequence[bytes]
    ) -> None:
        self._path = path
        self._layouts = layouts
        self._digests = digests
        self._starts = list(itertools.accumulate((each.size for each in layouts), initial=0))
        weakref.finalize(self, path.unlink, missing_ok=True)

    def __len__(self) -> int:
        return len(self._layouts)

    @overload
    def __getitem__(self, place: int) -> wire.Field: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[wire.Field]: ...

    def __getitem__(self, place: int | slice) -> wire.Field | Sequence[wire.Field]:
        """Reads a field, or some.

        Raises:
          RunError: the file is not there, or does not hold what was written.
        """
        if isinstance(place, slice):
            return tuple(self[each] for each in range(*place.indices(len(self))))
        layout, start, digest = self._layouts[place], self._starts[place], self._digests[place]
        content = bytearray(layout.size)
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                found = file.readinto(content)
        except OSError as error:
            raise self._damaged(layout, error.strerror or "none") from error
        if found != layout.size or hashlib.sha256(content).digest() != digest:
            raise self._damaged(layout, "other bytes")
        return layout.field(content)

    def _damaged(self, layout: wire.Layout, found: str) -> RunError:
        return RunError(
            f"{self._path}: expected {layout.name} as a hospital has sent it, found {found}; the "
            "same command resumes the run"
        )


def _for_user_alone(path: str, flags: int) -> int:
    return os.open(path, flags, _TO_USER_ALONE)


def _copied(pieces: Iterator[memoryview], file: BinaryIO) -> bytes:
    """Writes the bytes of an array; their SHA-256."""
    digest = hashlib.sha256()
    for piece in pieces:
        file.write(piece)
        digest.update(piece)
    return digest.digest()
