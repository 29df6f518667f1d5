"""What a run costs: time, processor time, memory, and energy where the computer measures it.

Energy is read from Intel's and AMD's running average power limit (RAPL) counters, which Linux shows
in `/sys/class/powercap`, on many computers to the superuser alone. They count whole processor
packages, whatever else runs on them, and no graphics cards. Nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import json
import pathlib
import threading
import time
from typing import Any

import psutil

from tffcxr import files, run_tables

_COUNTERS = pathlib.Path("/sys/class/powercap")
_PACKAGES = "intel-rapl:[0-9]"
_MICRO = 1e-6
# Counters start again from 0, that of a usual package at 200 W after 20 minutes.
_SECONDS_BETWEEN_READINGS = 60.0


@contextlib.contextmanager
def recorded(run_dir: pathlib.Path, counters: pathlib.Path = _COUNTERS) -> Iterator[None]:
    """Adds what is done inside to `resources.json`, a record per start of the program.

    A start that is killed leaves none.

    Args:
      run_dir: the run's folder.
      counters: of the energy.
    """
    process = psutil.Process()
    wall, busy, meter = time.monotonic(), _processor_seconds(process), _Meter(counters)
    try:
        yield
    finally:
        start = {
            "seconds": time.monotonic() - wall,
            "processor_seconds": _processor_seconds(process) - busy,
            "peak_memory_mb": _peak_megabytes(process),
            "joules": meter.stop(),
        }
        path = run_dir / run_tables.RESOURCES
        if run_dir.is_dir():  # Or what is wrong with it would be hidden.
            files.write_json(path, {"starts": [*_starts(path), start]})


class _Meter:
    """Adds up the energy of all packages until it is stopped.

    Args:
      counters: the folder that has a folder for each.
    """

    def __init__(self, counters: pathlib.Path):
        self._counters = counters
        self._last = _readings(counters)
        self._joules: float | None = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read_often, daemon=True)
        if self._last:
            self._thread.start()

    def stop(self) -> float | None:
        """Returns the joules since the start; None if a counter could not be read."""
        if not self._last:
            return None
        self._ended.set()
        self._thread.join()
        self._add()
        return self._joules

    def _read_often(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_READINGS):
            self._add()

    def _add(self) -> None:
        now = _readings(self._counters)
        if self._joules is None or now.keys() != self._last.keys():
            self._joules = None
            return
        self._joules += sum(
            (value - self._last[name][0]) % largest for name, (value, largest) in now.items()
        )
        self._last = now


def _starts(path: pathlib.Path) -> list[Any]:
    """The records of earlier starts."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    starts = found.get("starts") if isinstance(found, dict) else None
    return starts if isinstance(starts, list) else []


def _processor_seconds(process: psutil.Process) -> float:
    """Of this program and of children that have ended."""
    times = process.cpu_times()
    return sum(
        getattr(times, name, 0.0) for name in ("user", "system", "children_user", "children_system")
    )


def _peak_megabytes(process: psutil.Process) -> float | None:
    """The largest resident set of this program so far, in 10**6 bytes; None off Linux."""
    try:
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024 / 1e6


def _readings(counters: pathlib.Path) -> dict[str, tuple[float, float]]:
    """The counter of each package in joules, and at which it starts again; empty if unreadable."""
    found = {}
    for package in sorted(counters.glob(_PACKAGES)):
        try:
            value, largest = (
                float((package / name).read_text()) * _MICRO
                for name in ("energy_uj", "max_energy_range_uj")
            )
        except (OSError, ValueError):
            return {}
        if largest <= 0:
            return {}
        found[package.name] = value, largest
    return found
