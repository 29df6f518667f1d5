"""Adjusts the p-values of a table for the number of its tests.

S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
Statistics 6(2), 1979, from statsmodels. Its adjusted p-values keep the probability of any false
alarm in the table at the level that they are compared with, however the tests depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import math
from typing import Any

SUFFIX = "_holm"
TESTS = "holm_tests"
# The paired t-test is there for the comparison with its paper alone, see `bootstrap.paired_ttest`.
_TEST = "p_delong"


def adjusted(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows with an adjusted p-value beside each of DeLong's test.

    The family is all of these tests that are defined in all rows. Undefined ones stay undefined and
    do not count.

    Args:
      rows: of a `metrics.json`.

    Returns:
      The same rows; to a row with `p_delong…` is added `p_delong…_holm` and, if one of its tests is
      defined, `holm_tests`, the number of tests in the family. What was there of an earlier
      adjustment is replaced.
    """
    plain = [
        {name: v for name, v in row.items() if name != TESTS and not name.endswith(SUFFIX)}
        for row in rows
    ]
    places = [
        (row, name)
        for row in plain
        for name in row
        if name.startswith(_TEST) and isinstance(row[name], float) and not math.isnan(row[name])
    ]
    for row in plain:
        row.update({f"{name}{SUFFIX}": math.nan for name in list(row) if name.startswith(_TEST)})
    for (row, name), value in zip(places, holm([row[name] for row, name in places])):
        row[f"{name}{SUFFIX}"] = value
        row[TESTS] = len(places)
    return plain


def holm(values: Sequence[float]) -> list[float]:
    """Returns the adjusted p-values of a family of tests, without any that is undefined."""
    if not values:
        return []
    from statsmodels.stats import multitest  # Takes a second that reports need not wait for.

    return [float(value) for value in multitest.multipletests(list(values), method="holm")[1]]
