"""What a hospital's clients keep from round to round: private weights, and optimizers' moments.

The state after a round is on the hospital's disk before the round's answer leaves. The coordinator
names the round whose state counts; states of later rounds, in which it left the client out, are
dropped then. States that its checkpoints may return to are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import pathlib
import re
import zipfile

import numpy as np

from tffcxr.errors import RunError
from tffcxr.files import remove_unfinished, write_atomically

_NAME = re.compile(r"round_(\d{6})\.npz")


class PrivateStates:
    """The states of some clients.

    Args:
      folder: a folder per client is made there.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        for of_client in folder.glob("*"):
            remove_unfinished(of_client)

    def save(self, client: str, round_number: int, arrays: Sequence[np.ndarray]) -> None:
        """Saves a client's state after a round.

        Raises:
          OSError: it cannot be written.
        """
        leaves = {f"leaf_{place:05d}": array for place, array in enumerate(arrays)}
        path = self._path(client, round_number)
        write_atomically(path, lambda file: np.savez(file, **leaves))

    def load(self, client: str, round_number: int) -> list[np.ndarray]:
        """A client's state after a round.

        Raises:
          RunError: it is not there, or damaged.
        """
        path = self._path(client, round_number)
        try:
            with np.load(path, allow_pickle=False) as file:
                return [file[name] for name in sorted(file.files)]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(
                f"{path}: expected the private state of round {round_number}, found {error}"
            ) from error

    def settle(self, client: str, counts: int, kept: Iterable[int]) -> None:
        """Drops the states that nobody will ask for again.

        Args:
          client: whose.
          counts: the round after which the state counts; later ones are void.
          kept: rounds that the training may return to: of each, the state that counted then stays.
        """
        found = self._rounds(client)
        valid = [number for number in found if number <= counts]
        needed = {counts}
        for number in kept:
            needed.update([before for before in valid if before <= number][-1:])
        for number in found:
            if number not in needed:
                self._path(client, number).unlink()

    def _rounds(self, client: str) -> list[int]:
        folder = self._folder / client
        if not folder.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def _path(self, client: str, round_number: int) -> pathlib.Path:
        return self._folder / client / f"round_{round_number:06d}.npz"
