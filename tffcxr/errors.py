"""The errors that programs print as one line, without a traceback."""

from __future__ import annotations

from collections.abc import Iterable
import difflib


class InputError(ValueError):
    """A flag, path, table, image or model that cannot be used.

    The message is one line that says what was expected and what was found. Programs print it
    and exit with status 2; it never needs a traceback.
    """


class RunError(RuntimeError):
    """A run with correct input that cannot continue.

    The message is one line with the reason and what may help. Programs print it and exit with
    status 1.
    """


def one_line(error: BaseException) -> str:
    """Returns what an error says without line breaks; its class if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Returns a hint for the end of a message, " (did you mean NAME?)"; empty if none is close."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(found.lower(), by_lower, 1)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""
