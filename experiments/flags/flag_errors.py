"""What is wrong with a flag, in words of this project instead of Python's and absl's."""

from __future__ import annotations

import re

from tffcxr.errors import one_line

_KINDS = (
    (r"invalid literal for int\(\) with base \d+: .*", "a whole number"),
    (r"could not convert string to float: .*", "a number"),
    (r"\('Non-boolean argument to boolean flag', .*", "true or false"),
)


def described(error: Exception) -> str:
    """A line on a flag that could not be read: what was expected and what was found.

    >>> described(flags.IllegalFlagValueError("flag --rounds=x: invalid literal for int() ..."))
    "--rounds: expected a whole number, found 'x'"
    """
    line = one_line(error)
    for words, kind in _KINDS:
        found = re.fullmatch(rf"flag --(\w+)=(.*?): {words}", line)
        if found:
            return f"--{found[1]}: expected {kind}, found {found[2]!r}"
    of_several = re.fullmatch(r"flag --(\w+)=(.*?): value should be one of <(.*)>", line)
    if of_several:
        known = of_several[3].replace("|", ", ")
        return f"--{of_several[1]}: expected one of {known}, found {of_several[2]!r}"
    return line
