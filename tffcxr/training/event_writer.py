"""TensorBoard curves of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import math
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr import run_tables
from tffcxr.evaluation import registry
from tffcxr.training.loop import ClientResult, RoundResult


class TensorBoard:
    """Writes a round's numbers for TensorBoard; an observer of `loop.Journal`.

    Tags: `loss/train`, `loss/train/<client>`, `update_norm/<client>` and `cosine/<client>` where
    updates are measured, `suspicions/<client>` (how many reasons there are to suspect it in the
    round), `<finding>/<metric>` (all clients), `<finding>/<metric>/<client>`, `learning_rate`,
    `images_per_second`, `epsilon` with differential privacy, and with `weights_of` a histogram per
    weight.

    Args:
      folder: of this training's event files.
      weights_of: `(state, round) -> {name: array}` for histograms, or None for none.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        weights_of: Callable[[Any, int], Mapping[str, np.ndarray]] | None = None,
    ):
        self._writer = tf.summary.create_file_writer(str(folder))
        self._weights_of = weights_of

    def __call__(self, row: Mapping[str, Any], result: RoundResult, state: Any) -> None:
        """See `loop.Journal`."""
        step = int(row["round"])
        scalars: list[tuple[str, float]] = [
            ("loss/train", result.train_loss),
            ("learning_rate", row["learning_rate"]),
            ("images_per_second", row["images"] / max(row["seconds"], 1e-3)),
            *([("epsilon", row["epsilon"])] if "epsilon" in row else []),
            *((f"loss/train/{client.client}", client.train_loss) for client in result.clients),
            *((f"update_norm/{client.client}", client.update_norm) for client in result.clients),
            *((f"cosine/{client.client}", client.cosine) for client in result.clients),
            *((f"suspicions/{client.client}", _suspicions(client)) for client in result.clients),
            *result.validation.items(),
        ]
        for client, values in result.validation_by_client.items():
            scalars.extend(
                (f"{name}/{client}", value)
                for name, value in values.items()
                if registry.of_column(name) not in registry.MEANS_OF_CLIENTS.values()
            )
        with self._writer.as_default(step=step):
            for name, value in scalars:
                if not math.isnan(value):
                    tf.summary.scalar(name, value)
            if self._weights_of:
                for name, array in self._weights_of(state, step).items():
                    tf.summary.histogram(name, array)
        self._writer.flush()


def _suspicions(client: ClientResult) -> float:
    """How many reasons there are to suspect a client; NaN where nobody looked for any."""
    if math.isnan(client.update_norm) and not client.suspicion:
        return math.nan
    return float(len(run_tables.suspicions(client.suspicion)))


def name_weights(names: Sequence[str], values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Pairs weights with their names for `weights_of`."""
    return dict(zip(names, values))
