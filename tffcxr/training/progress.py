"""One line of text per round, with the remaining time."""

from __future__ import annotations

from collections.abc import Mapping
import math
import re
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from tffcxr import run_tables
from tffcxr.evaluation import registry

if TYPE_CHECKING:
    from tffcxr.training.loop import RoundResult


_MOST_TASKS = 6  # Of more, a line does not name all.
_ROUND = re.compile(r".+: round \d+/\d+  loss ")


class Progress:
    """Prints a line per round; an observer of `loop.Journal`.

    Args:
      title: what is being trained.
      rounds: the last round's number.
      split: the images that the metrics are of, such as "validation".
      stream: where to, the standard error by default.
    """

    def __init__(self, title: str, rounds: int, split: str, stream: TextIO | None = None):
        self._title = title
        self._rounds = rounds
        self._split = split
        self._stream = stream or sys.stderr
        self._times = [time.monotonic()]

    def __call__(self, row: Mapping[str, Any], result: RoundResult, state: Any) -> None:
        """See `loop.Journal`."""
        del state
        self._times.append(time.monotonic())
        shown: dict[tuple[str, int], dict[str, float]] = {}
        for column, value in result.validation.items():
            task, _, name = column.rpartition("/")
            metric = registry.BY_NAME.get(name)
            if metric is registry.DICE and registry.JACCARD.column(task) in result.validation:
                continue  # It says the same.
            if metric and metric.progress and not math.isnan(value):
                shown.setdefault((metric.progress, metric.digits), {})[task] = value
        seconds = self._times[-1] - self._times[-2]
        parts = [
            f"{self._title}: round {row['round']}/{self._rounds}",
            f"loss {row['train_loss']:.4f}",
            *(
                f"{self._split} {name} {_of_tasks(values, digits)}"
                for (name, digits), values in shown.items()
            ),
            *([f"epsilon {row['epsilon']:.3g}"] if "epsilon" in row else []),
            f"{row['images'] / max(seconds, 1e-9):.0f} images/s",
        ]
        left = self._left(int(row["round"]))
        if left is not None:
            parts.append(f"about {format_duration(left)} left")
        print("  ".join(parts), file=self._stream, flush=True)
        for client in result.clients:
            if client.status != "ok":
                print(
                    f"{self._title}: round {row['round']}: left out {client.client}: "
                    f"{client.status.removeprefix(run_tables.LEFT_OUT)}",
                    file=self._stream,
                    flush=True,
                )

    def _left(self, done: int) -> float | None:
        """The remaining seconds; None at the end, or if there is no estimate yet."""
        # The first round also traces the graphs, so its time says little about the others.
        steady = self._times[1:]
        if len(steady) < 2 or done == self._rounds:
            return None
        return (steady[-1] - steady[0]) / (len(steady) - 1) * (self._rounds - done)


def _of_tasks(values: Mapping[str, float], digits: int) -> str:
    """The values of all tasks; of many, their mean and the two ends."""
    named = {task: f"{task} {value:.{digits}f}" for task, value in values.items()}
    if len(named) <= _MOST_TASKS:
        return ", ".join(named.values())
    mean = sum(values.values()) / len(values)
    low, high = (named[choose(values, key=values.__getitem__)] for choose in (min, max))
    return f"mean of {len(values)} {mean:.{digits}f}, {low} to {high}"


def is_round(line: str) -> bool:
    """Whether a line is one that `Progress` prints for a round."""
    return _ROUND.match(line) is not None


def format_duration(seconds: float) -> str:
    """Seconds as "12 s", "3 min 20 s" or "2 h 5 min"."""
    seconds = int(round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
