"""Reads what tables write for present, absent, uncertain and unknown findings."""

from __future__ import annotations

from collections.abc import Iterable
import math

from tffcxr import options

_PRESENT = ("1", "yes", "y", "true", "positive", "pos", "present", "ja", "wahr")
_ABSENT = ("0", "no", "n", "false", "negative", "neg", "absent", "nein", "falsch")
_UNCERTAIN = ("-1", "uncertain")
_UNKNOWN = ("", "na", "n/a", "#n/a", "nan", "null", "unknown")
_VALUES = {
    **dict.fromkeys(_PRESENT, 1.0),
    **dict.fromkeys(_ABSENT, 0.0),
    **dict.fromkeys(_UNKNOWN, math.nan),
}
_OF_UNCERTAIN: dict[options.Uncertain, float] = {
    "ignore": math.nan,
    "positive": 1.0,
    "negative": 0.0,
}
EXPECTED = "1 or 0 (or yes/no, true/false, positive/negative, present/absent), -1 or nothing"


def is_empty(text: str) -> bool:
    """Whether a cell says nothing."""
    return text.casefold() in _UNKNOWN


def parse(text: str, uncertain: options.Uncertain = "ignore") -> float:
    """Returns 1 for present, 0 for absent, NaN for unknown.

    Args:
      text: of the cell, in any case.
      uncertain: what -1 means, as CheXpert writes it: unknown ("ignore"), present or absent.

    Raises:
      ValueError: it is no label.
    """
    plain = _without_decimals(text.strip().casefold())
    if plain in _UNCERTAIN:
        return _OF_UNCERTAIN[uncertain]
    try:
        return _VALUES[plain]
    except KeyError:
        raise ValueError(f"expected {EXPECTED}, found {text!r:.60}") from None


def share_of_labels(texts: Iterable[str]) -> float:
    """Returns the fraction of labels among the cells that say something, NaN if none does."""
    found = [_is_label(text) for text in texts if not is_empty(text)]
    return sum(found) / len(found) if found else math.nan


def _is_label(text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _without_decimals(text: str) -> str:
    """Returns "1" for "1.0" and for "1,0"."""
    for ending in (".0", ",0"):
        if text.endswith(ending) and text[: -len(ending)] in ("1", "0", "-1"):
            return text[: -len(ending)]
    return text
