"""What `hospital status` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lines(status: Mapping[str, Any], now: float) -> list[str]:
    """A line for the run and one per hospital.

    Args:
      status: see `link.status`.
      now: in seconds since 1970.
    """
    found = [f"run: {_standing(status['report'])}"]
    for site, member in status["members"].items():
        if member["is_connected"]:
            state = (
                f"connected for {_duration(now - member['since'])}, heard of "
                f"{_duration(now - member['seen'])} ago, {member['doing'] or 'starting'}"
            )
        else:
            state = "not connected" + (f", {member['doing']}" if member["doing"] else "")
        error = f"; last error: {member['error']}" if member.get("error") else ""
        found.append(f"{site}: {state}{error}")
    return found


def _standing(report: Mapping[str, Any]) -> str:
    """How far the run is, see `hospital_log.Standing` and `coordinator.Coordinator`."""
    if not report:
        return "no round yet"
    if "waiting" in report:
        answered = ", ".join(report["answered"]) or "none"
        if not report["waiting"]:
            return f"finished; results: {answered}"
        return (
            f"measuring results; answered: {answered}; waiting for {', '.join(report['waiting'])}"
        )
    took_part = ", ".join(report["took_part"]) or "none"
    return (
        f"training {report['training']}, round {report['round']} of {report['rounds']} done; "
        f"took part: {took_part}"
    )


def _duration(seconds: float) -> str:
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
