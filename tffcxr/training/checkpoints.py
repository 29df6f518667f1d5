"""Checkpoints of a training: any nest of arrays, one file per round.

A `.npz` file has a checksum of every array, so a damaged file is detected when it is read, and the
previous one is used. TFF's `FileProgramStateManager` is not used because it writes a SavedModel
without checksums and rebuilds its graph in every round.
"""

from __future__ import annotations

from collections.abc import Callable
import logging
import pathlib
import re
from typing import Any
import zipfile

import numpy as np
import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.files import remove_unfinished, write_atomically

_NAME = re.compile(r"round_(\d{6})\.npz")


class Checkpoints:
    """The latest checkpoints of one training.

    Args:
      folder: holds this training's checkpoints and nothing else.
      keep: how many of the latest to keep, at least 2, so that one damaged file loses one round.
    """

    def __init__(self, folder: pathlib.Path, keep: int = 2):
        if keep < 2:
            raise ValueError(f"keep: expected at least 2, found {keep}")
        self._folder = folder
        self._keep = keep

    def save(self, round_number: int, state: Any, best: int | None = None) -> None:
        """Saves the state after a round, then removes the oldest.

        Args:
          round_number: counted from 1.
          state: a nest of arrays.
          best: a round whose checkpoint is always kept, or None.

        Raises:
          OSError: the disk is full or not writable; earlier checkpoints are untouched.
        """
        leaves = {f"leaf_{i:05d}": np.asarray(v) for i, v in enumerate(tf.nest.flatten(state))}
        write_atomically(
            self._folder / f"round_{round_number:06d}.npz",
            lambda file: np.savez(file, **leaves),
        )
        for old in self.rounds()[: -self._keep]:
            if old != best:
                self._path(old).unlink()

    def load_latest(self, template_of: Callable[[int], Any]) -> tuple[int, Any] | None:
        """The latest checkpoint that can be read whole.

        Args:
          template_of: `(round number) -> state` with the structure and shapes of that round's.

        Returns:
          `(round number, state)`, or None if there is no checkpoint.

        Raises:
          InputError: there are checkpoints, but none of them can be read.
        """
        remove_unfinished(self._folder)
        rounds = self.rounds()
        for number in reversed(rounds):
            try:
                return number, self._load(self._path(number), template_of(number))
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                logging.warning("checkpoint %s is damaged: %s", self._path(number), error)
        if rounds:
            raise InputError(
                f"{self._folder}: expected a checkpoint that can be read, found {len(rounds)} "
                "damaged ones; use another folder"
            )
        return None

    def load(self, round_number: int, template_of: Callable[[int], Any]) -> Any:
        """The state after one round; see `load_latest`.

        Raises:
          InputError: there is no whole checkpoint of that round.
        """
        path = self._path(round_number)
        try:
            return self._load(path, template_of(round_number))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: expected the checkpoint of the best round, found {error}; use another "
                "folder"
            ) from error

    def _load(self, path: pathlib.Path, template: Any) -> Any:
        expected = tf.nest.flatten(template)
        with np.load(path, allow_pickle=False) as file:
            if len(file.files) != len(expected):
                raise ValueError(f"expected {len(expected)} arrays, found {len(file.files)}")
            leaves = [file[f"leaf_{i:05d}"] for i in range(len(expected))]
        for leaf, like in zip(leaves, expected):
            if leaf.shape != np.shape(like):
                raise ValueError(f"expected shape {np.shape(like)}, found {leaf.shape}")
        return tf.nest.pack_sequence_as(template, leaves)

    def rounds(self) -> list[int]:
        """The rounds that have one, in order."""
        if not self._folder.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def _path(self, round_number: int) -> pathlib.Path:
        return self._folder / f"round_{round_number:06d}.npz"
