"""The secret of a run from which the noise of --aggregator=dp and --dp_sgd_noise is drawn.

A function of the run's public seed would protect nobody: whoever knows the settings could draw the
same noise and take it off. So the key comes from the operating system. It lies in the run's folder,
readable by its owner alone, so that a run that was killed goes on with the same noise: if a round
that is repeated had other noise, the mean of both tries would have less.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import pathlib
import secrets
from typing import BinaryIO

import numpy as np

from tffcxr.errors import InputError
from tffcxr.files import write_atomically

FILE = "noise_key"
_BYTES = 32


class NoiseKey:
    """The key of one training, read or drawn when it is needed first.

    Args:
      path: its file, made if missing; None for a key that is kept in memory alone.
      training: a name, different for the trainings that share the file.
    """

    def __init__(self, path: pathlib.Path | None = None, training: str = "") -> None:
        self._path = path
        self._training = training
        self._key: bytes | None = None

    def seed(self, round_number: int, client: str = "") -> np.ndarray:
        """The seed of a round's noise, see `keyed_noise` and `dp_sgd`: int64 [2], not zero.

        Args:
          round_number: counted from 1.
          client: that draws the noise; empty for the server.

        Raises:
          InputError: the file cannot be read or written, or holds something else.
        """
        if self._key is None:
            self._key = secrets.token_bytes(_BYTES) if self._path is None else _read(self._path)
        by = f"/{client}" if client else ""
        message = f"{self._training}/{round_number}{by}".encode()
        digest = hmac.digest(self._key, message, hashlib.sha256)
        return np.frombuffer(digest[:16], "<i8").astype(np.int64)


def _read(path: pathlib.Path) -> bytes:
    try:
        if not path.exists():
            write_atomically(path, _write_key)
        key = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: expected a key that can be read or written, found {error.strerror or error}"
        ) from error
    if len(key) != _BYTES:
        raise InputError(
            f"{path}: expected the {_BYTES} bytes of the noise's key, found {len(key)}; "
            "use another folder"
        )
    return key


def _write_key(file: BinaryIO) -> None:
    os.fchmod(file.fileno(), 0o600)  # Before there is anything to read.
    file.write(secrets.token_bytes(_BYTES))
