"""What a report says of the time and energy of a run, from `resources.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from tffcxr import errors, run_tables
from tffcxr.report import run_files, style

PER_KWH = 3.6e6  # Joules.


def starts(run_dir: pathlib.Path) -> list[dict[str, float | None]]:
    """Reads the record of each start of the program that ended by itself, none without a file.

    Raises:
      errors.InputError: the file is damaged.
    """
    path = run_dir / run_tables.RESOURCES
    if not path.exists():
        return []
    found = run_files.read_json(path).get("starts")
    if not isinstance(found, list) or not all(_is_start(start) for start in found):
        raise errors.InputError(f"expected a list of starts with numbers in {path}")
    return found


def sentence(found: Sequence[Mapping[str, float | None]]) -> str | None:
    """Says what the starts needed together, None without any."""
    if not found:
        return None
    wall, busy = (total(found, name) for name in ("seconds", "processor_seconds"))
    peak = peak_memory(found) or 0.0
    begun = f" in {len(found)} starts of the program" if len(found) > 1 else ""
    text = (
        f"Time of the whole run{begun}, with preparation, baselines and measuring: "
        f"{style.number((wall or 0.0) / 60, 1)} minutes, {style.number((busy or 0.0) / 60, 1)} "
        "minutes of processor time"
    )
    text += f", {style.number(peak / 1000, 1)} GB of memory at most. " if peak else ". "
    joules = total(found, "joules")
    if joules is None:
        return (
            f"{text}Energy: not measured, as this computer shows the program no counter of it "
            "(RAPL)."
        )
    return (
        f"{text}Energy: {joules / PER_KWH:.3g} kWh, of the processor packages with all that ran "
        "on them (RAPL), without graphics cards, memory and power supply."
    )


def total(found: Sequence[Mapping[str, float | None]], name: str) -> float | None:
    """The sum over the starts; None without any, or if one lacks it."""
    values = [start.get(name) for start in found]
    known = [value for value in values if value is not None]
    return sum(known) if values and len(known) == len(values) else None


def peak_memory(found: Sequence[Mapping[str, float | None]]) -> float | None:
    """The largest memory of a start in MB; None if none is known."""
    return max((start.get("peak_memory_mb") or 0.0 for start in found), default=0.0) or None


def _is_start(start: Any) -> bool:
    return isinstance(start, dict) and all(
        value is None or (style.is_number(value) and value >= 0) for value in start.values()
    )
