"""The space that a search draws its trials from: lists of values and ranges of numbers.

>>> rate, norm = parse(["learning_rate=1e-4..1e-1", "batch_norm=aggregate,local"])
>>> rate.ends, rate.is_logarithmic
(('1e-4', '1e-1'), True)
>>> norm.ends
('aggregate', 'local')
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import itertools
import math
import re

from tffcxr.errors import InputError
from tffcxr.sweeps import sweep_plan

# A range is searched on a logarithmic scale if its ends differ by this factor at least, but for the
# rounding of 0.3 and 0.03.
_LOGARITHMIC_FROM = 10.0 - 1e-9
# Numbers are rounded, so that tables and command lines are short: on a logarithmic scale to so many
# significant digits, otherwise to a power of ten that divides the range into so many steps or more.
_SIGNIFICANT_DIGITS = 4
_STEPS = 1000
# With more combinations than this, the recipe checks each value in one combination only.
_MOST_CORNERS = 256
_INTEGER = re.compile(r"[+-]?\d+")


@dataclasses.dataclass(frozen=True)
class Choice:
    """A flag that takes one of several values.

    Attributes:
      name: of the flag.
      values: as on a command line, two at least.
    """

    name: str
    values: tuple[str, ...]

    @property
    def ends(self) -> tuple[str, ...]:
        """The values that the recipe must accept: all of them."""
        return self.values

    @property
    def size(self) -> int:
        """How many different values there are."""
        return len(self.values)

    @property
    def described(self) -> str:
        """The axis as it is typed, without the name."""
        return ",".join(self.values)


@dataclasses.dataclass(frozen=True)
class Range:
    """A flag that takes a number from `low` to `high`, both included.

    Attributes:
      name: of the flag.
      low: the least value.
      high: the greatest value, above `low`.
      is_integer: whether only whole numbers are taken.
      ends: both ends as they were typed.
    """

    name: str
    low: float
    high: float
    is_integer: bool
    ends: tuple[str, str]

    @property
    def is_logarithmic(self) -> bool:
        """Whether equal factors, not equal differences, are equally likely."""
        return self.low > 0 and self.high / self.low >= _LOGARITHMIC_FROM

    @property
    def size(self) -> int:
        """How many different values there are, for floats at least."""
        if self.is_integer:
            return int(self.high - self.low) + 1
        if self.is_logarithmic:
            per_decade = 9 * 10 ** (_SIGNIFICANT_DIGITS - 1)
            return per_decade * round(math.log10(self.high / self.low))
        return _STEPS

    @property
    def described(self) -> str:
        """The axis as it is typed, without the name."""
        return "..".join(self.ends)

    def rounded(self, value: float) -> float:
        """A number of the range with as many digits as are worth a trial of their own."""
        if self.is_integer:
            return int(value)
        if self.is_logarithmic:
            short = float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
        else:
            short = round(value, -math.floor(math.log10((self.high - self.low) / _STEPS)))
        return min(max(short, self.low), self.high)


Axis = Choice | Range


def parse(texts: Sequence[str]) -> list[Axis]:
    """Reads the `--grid` flags of a search: NAME=A,B,C or NAME=LOW..HIGH each.

    A range whose ends are both integers has integers alone.

    Raises:
      InputError: another form, or an axis with fewer than two values.
    """
    axes: list[Axis] = []
    for (name, values), text in zip(sweep_plan.parse_grid(texts), texts):
        low, separator, high = values[0].partition("..")
        if len(values) > 1:
            axes.append(Choice(name, values))
        elif low and separator:
            axes.append(_range(name, low, high, text))
        else:
            raise InputError(
                f"--grid: expected LOW..HIGH or two values at least to search, found {text!r}"
            )
    return axes


def reject_ranges(texts: Sequence[str]) -> None:
    """Checks that no axis is a range, which a sweep without a search cannot run.

    Raises:
      InputError: one is; `--search` is named.
    """
    for text in texts:
        low, separator, high = text.partition("=")[2].partition("..")
        if separator and _is_number(low) and _is_number(high):
            raise InputError(
                f"--grid: expected NAME=VALUE,VALUE,… without --search, found the range {text!r}"
            )


def size(axes: Sequence[Axis]) -> int:
    """How many different settings a space has, at least."""
    return math.prod(axis.size for axis in axes)


def corners(axes: Sequence[Axis]) -> list[tuple[sweep_plan.Setting, ...]]:
    """Settings that the recipe must accept before anything runs.

    All combinations of the lists' values and the ranges' ends; if there are too many of these,
    every value and end once, with the first of all other axes.
    """
    ends = [[(axis.name, text) for text in axis.ends] for axis in axes]
    if math.prod(map(len, ends)) <= _MOST_CORNERS:
        return list(itertools.product(*ends))
    first = tuple(each[0] for each in ends)
    found = [
        (*first[:place], setting, *first[place + 1 :])
        for place, each in enumerate(ends)
        for setting in each[1:]
    ]
    return [first, *found]


def _range(name: str, low: str, high: str, text: str) -> Range:
    if not (_is_number(low) and _is_number(high)):
        raise InputError(f"--grid: expected two numbers in NAME=LOW..HIGH, found {text!r}")
    if not float(low) < float(high):
        raise InputError(f"--grid: expected LOW below HIGH in NAME=LOW..HIGH, found {text!r}")
    is_integer = all(_INTEGER.fullmatch(end.strip()) for end in (low, high))
    return Range(name, float(low), float(high), is_integer, (low.strip(), high.strip()))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
