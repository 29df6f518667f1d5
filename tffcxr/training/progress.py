"""One line of text per round, with the time that is left."""

from __future__ import annotations

from collections.abc import Mapping
import math
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tffcxr.training.loop import RoundResult


class Progress:
    """Prints a line per round; an observer of `loop.Journal`.

    Args:
      title: what is being trained.
      rounds: the last round's number.
      stream: where to, the standard error by default.
    """

    def __init__(self, title: str, rounds: int, stream: TextIO | None = None):
        self._title = title
        self._rounds = rounds
        self._stream = stream or sys.stderr
        self._times = [time.monotonic()]

    def __call__(self, row: Mapping[str, Any], result: RoundResult, state: Any) -> None:
        """See `loop.Journal`."""
        del state
        self._times.append(time.monotonic())
        aurocs = [
            f"{name.rsplit('/', 1)[0]} {value:.3f}"
            for name, value in result.validation.items()
            if name.endswith("/auroc") and not math.isnan(value)
        ]
        seconds = self._times[-1] - self._times[-2]
        parts = [
            f"{self._title}: round {row['round']}/{self._rounds}",
            f"loss {row['train_loss']:.4f}",
            "validation AUROC " + ", ".join(aurocs) if aurocs else "",
            f"{row['images'] / max(seconds, 1e-9):.0f} images/s",
            f"{format_duration(self._left(int(row['round'])))} left",
        ]
        print("  ".join(part for part in parts if part), file=self._stream, flush=True)
        for client in result.clients:
            if client.status != "ok":
                print(
                    f"{self._title}: round {row['round']}: left out {client.client}: "
                    f"{client.status}",
                    file=self._stream,
                    flush=True,
                )

    def _left(self, done: int) -> float:
        # The first round also traces the graphs, so it tells little of the others.
        steady = self._times[1:] if len(self._times) > 2 else self._times
        per_round = (steady[-1] - steady[0]) / (len(steady) - 1)
        return per_round * (self._rounds - done)


def format_duration(seconds: float) -> str:
    """Seconds as "12 s", "3 min 20 s" or "2 h 5 min"."""
    seconds = int(round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
