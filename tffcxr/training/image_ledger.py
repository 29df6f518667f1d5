"""How much privacy single images have lost at each client, with `--dp_sgd_noise`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
import pathlib
from typing import Any

from tffcxr.learning import privacy_accounting
from tffcxr.learning.dp_sgd import DpSgd
from tffcxr.training import privacy_ledger


class ImageLedger:
    """Accounts for the passes over a client's images; see `learning.dp_sgd`.

    In each pass an image is in one batch, whatever the order, so that a pass is one Gaussian
    release of it, and no chance of being absent is counted. A client that failed has made its
    passes. The number of images is no secret: neighbours differ in one image that is replaced.

    Args:
      settings: of the steps.
      local_epochs: passes of a round.
      delta: of every epsilon.
    """

    def __init__(self, settings: DpSgd, local_epochs: int, delta: float) -> None:
        self._settings = settings
        self._local_epochs = local_epochs
        self._delta = delta

    def epsilon(self, rows: Sequence[Mapping[str, Any]], client: str) -> float:
        """The epsilon of each image of a client.

        Args:
          rows: of `clients.csv`.
          client: its id.
        """
        return _epsilon(self._settings.noise_multiplier, self._passes(rows, client), self._delta)

    def summary(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What `privacy.json` says of the training.

        Args:
          rows: of `clients.csv`.
        """
        settings = self._settings
        names = sorted({row["client"] for row in rows})
        return {
            "noise_multiplier": settings.noise_multiplier,
            "clip": settings.clip,
            "batch_size": settings.batch_size,
            "local_epochs": self._local_epochs,
            "clients": {client: self._of_client(rows, client) for client in names},
        }

    def write(
        self, directory: pathlib.Path, training: str, rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Writes the summary into the run's `privacy.json`, and returns it.

        See `privacy_ledger.write`.
        """
        summary = self.summary(rows)
        privacy_ledger.write(directory, "images", training, summary, self._delta)
        return summary

    def _of_client(self, rows: Sequence[Mapping[str, Any]], client: str) -> dict[str, Any]:
        settings, passes = self._settings, self._passes(rows, client)
        of_rounds = [int(row["images"]) for row in rows if row["client"] == client]
        images = max(of_rounds) // self._local_epochs
        releases = {settings.noise_multiplier: passes}
        return {
            "images": images,
            "passes": passes,
            "epsilon": self.epsilon(rows, client),
            "epsilon_left_out": privacy_accounting.epsilon(
                releases, self._delta, privacy_accounting.LEFT_OUT
            ),
            "epsilon_of_poisson_batches": privacy_accounting.epsilon_of_poisson_batches(
                settings.noise_multiplier, images, settings.batch_size, passes, self._delta
            ),
            "right_guesses": privacy_accounting.right_guesses(releases),
        }

    def _passes(self, rows: Sequence[Mapping[str, Any]], client: str) -> int:
        rounds = [
            row for row in rows if row["client"] == client and not privacy_ledger.is_left_out(row)
        ]
        return len(rounds) * self._local_epochs


@functools.lru_cache(maxsize=4096)
def _epsilon(noise_multiplier: float, passes: int, delta: float) -> float:
    return privacy_accounting.epsilon({noise_multiplier: passes}, delta)
