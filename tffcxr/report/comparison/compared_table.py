"""Every metric of every model of several runs, and how the others differ from the first run.

Differences are given where two runs were measured on the same test cases. Of the AUROC they have
the interval and the test of DeLong, see `evaluation.delong`; of other metrics the intervals of
`evaluation.paired`, and where the kind of study is judged by such a metric, its test. These tests
are one family, whose p-values are adjusted by Holm's method, see `evaluation.comparisons`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import math
from typing import Any
import warnings

import numpy as np
from sklearn import exceptions

from tffcxr.evaluation import comparisons, delong, paired, registry, undefined
from tffcxr.report import results_table, style
from tffcxr.report.comparison import compared_cases
from tffcxr.report.comparison.compared_cases import BY_CLASS, Cases
from tffcxr.report.comparison.compared_runs import ComparedRun
from tffcxr.report.comparison.image_names import ImageNames, NotPairedError

# What tells the rows of one run apart. The last two only where a run has several of them.
_ALWAYS = ("task", "split", "client", "training")
_IF_SEVERAL = ("model", "images_kind")
_BY_CLASS = "sensitivity_by_class"
_FOUND_BY = (*registry.METRICS, registry.CALIBRATION_SLOPE, registry.CALIBRATION_INTERCEPT)
_OTHER_IMAGES = "other test images"
_OTHER_LABELS = "other labels of the same images"
_Measured = tuple[float, float, float, float]  # A difference, its ends, and p.
_ALIKE = "no other sample of these cases would give another difference"


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much larger a metric is in another run than in the first.

    Attributes:
      value: the difference on the same cases; NaN where there is none.
      low: lower end of its interval, NaN for none.
      high: upper end of it.
      p: of the test that there is no difference, NaN for none.
      p_holm: adjusted for all tests of the table.
      reason: why there is no difference, None if there is one or nothing to compare.
      missing: why a difference has no interval and no test, None if it has them.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    reason: str | None = None
    missing: str | None = None


@dataclasses.dataclass(frozen=True)
class Line:
    """A model, or what stands for it in each run, on one test set.

    Attributes:
      key: task, split, client and training, and what else tells the rows of a run apart.
      title: of the block of lines that it is in.
      name: what tells it from the others of the block.
      colour: of its training, #RRGGBB.
      rows: of each run's `metrics.json`, None where it has none.
      differences: by metric, of each run after the first.
    """

    key: Mapping[str, str]
    title: str
    name: str
    colour: str
    rows: Sequence[Mapping[str, Any] | None]
    differences: Mapping[str, Sequence[Difference]]


@dataclasses.dataclass(frozen=True)
class Table:
    """All lines.

    Attributes:
      metrics: those that some row has, the one by which models are compared first.
      lines: in the order in which they are read.
      tests: how many p-values there are.
    """

    metrics: Sequence[registry.Metric]
    lines: Sequence[Line]
    tests: int


def make(runs: Sequence[ComparedRun], replicates: int = 1000) -> Table:
    """Compares the rows of all runs, but for those of images that models were trained on.

    The rows of external sites follow those of the sites that were trained on.

    Args:
      runs: of one kind, see `compared_runs.read`.
      replicates: of the bootstrap.
    """
    kind = runs[0].run.kind
    rows_of = [
        [_flat(row) for row in (*one.run.rows, *one.run.external) if row["split"] != "train"]
        for one in runs
    ]
    several = [key for key in _IF_SEVERAL if any(_count(rows, key) > 1 for rows in rows_of)]
    keys = (*_ALWAYS, *several)
    by_key = [{_key(row, keys): row for row in rows} for rows in rows_of]
    # What a line is called, it is called by the first run that has it, without what it leaves open.
    first: dict[tuple[str, ...], dict[str, Any]] = {}
    for of_run in by_key:
        for key, row in of_run.items():
            open_keys = [name for name in _IF_SEVERAL if name not in several]
            named = {name: value for name, value in row.items() if name not in open_keys}
            first.setdefault(key, {**named, "place": key})
    ordered = results_table.in_order(first.values(), kind)
    metrics = _metrics(kind.main, [row for rows in rows_of for row in rows])
    names = [ImageNames(one.run) for one in runs]
    lines = []
    for row in ordered:
        rows = [of_run.get(row["place"]) for of_run in by_key]
        found = {metric.name: [Difference() for _ in runs[1:]] for metric in metrics}
        for place, of_metric in _differences(runs, names, rows, kind.main, replicates):
            for metric in found.keys() & of_metric.keys():
                found[metric][place] = of_metric[metric]
        name = row["name"]
        if not name or name.startswith(","):
            name = style.training_name(str(row["training"]))
        told_by = dict(zip(keys, row["place"]))
        lines.append(Line(told_by, row["title"], name, row["colour"], rows, found))
    return _adjusted(Table(metrics, lines, 0), kind.main)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the sensitivities of its classes as metrics of their own."""
    flat = dict(row)
    for end in ("", "_low", "_high"):
        of_classes = row.get(f"{_BY_CLASS}{end}")
        for name, value in of_classes.items() if isinstance(of_classes, Mapping) else ():
            flat[f"{BY_CLASS}{name}{end}"] = math.nan if value is None else value
    return flat


def _count(rows: Sequence[Mapping[str, Any]], key: str) -> int:
    return len({row.get(key) for row in rows})


def _key(row: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(row[key]) if isinstance(row.get(key), str) else "" for key in keys)


def _metrics(main: registry.Metric, rows: Sequence[Mapping[str, Any]]) -> list[registry.Metric]:
    """Returns the metrics of some row, the main one first, sensitivities of classes last."""
    known = [metric for metric in _FOUND_BY if any(metric.name in row for row in rows)]
    classes = dict.fromkeys(
        key
        for row in rows
        for key in row
        if key.startswith(BY_CLASS) and not key.endswith(("_low", "_high"))
    )
    of_classes = [
        registry.Metric(key, f"Sensitivity, {key.removeprefix(BY_CLASS)}") for key in classes
    ]
    return [main, *(metric for metric in known if metric != main), *of_classes]


def _differences(
    runs: Sequence[ComparedRun],
    names: Sequence[ImageNames],
    rows: Sequence[Mapping[str, Any] | None],
    main: registry.Metric,
    replicates: int,
) -> Iterator[tuple[int, dict[str, Difference]]]:
    """Yields the differences of each run after the first, with its place among these."""
    if rows[0] is None or not any(row is not None for row in rows[1:]):
        return
    with warnings.catch_warnings():
        # A difference without a value says so in its cell.
        warnings.simplefilter("ignore", exceptions.UndefinedMetricWarning)
        try:
            first: Cases | NotPairedError = compared_cases.of_row(runs[0].run, names[0], rows[0])
        except NotPairedError as reason:
            first = NotPairedError(f"{runs[0].letter}: {reason}")
        for place, row in enumerate(rows[1:]):
            if row is None:
                continue
            other = runs[place + 1]
            try:
                if isinstance(first, NotPairedError):
                    raise first
                cases = _cases(other, names[place + 1], row, first)
                yield place, _measured(cases, first, main, replicates)
            except NotPairedError as reason:
                yield place, {main.name: Difference(reason=str(reason))}


def _cases(other: ComparedRun, names: ImageNames, row: Mapping[str, Any], first: Cases) -> Cases:
    """Returns the cases of another run's row, which are those of the first run.

    Raises:
      NotPairedError: they are not.
    """
    try:
        cases = compared_cases.of_row(other.run, names, row)
    except NotPairedError as reason:
        raise NotPairedError(f"{other.letter}: {reason}") from reason
    if not np.array_equal(cases.names, first.names):
        both = len(set(cases.names) & set(first.names))
        raise NotPairedError(
            f"{_OTHER_IMAGES} ({both} of {len(first.names)} and {len(cases.names)} in common)"
        )
    # NaN, which is no label, differs from itself.
    if any(a != b and a == a and b == b for a, b in zip(cases.truth, first.truth)):
        raise NotPairedError(_OTHER_LABELS)
    return cases


def _measured(
    cases: Cases, first: Cases, main: registry.Metric, replicates: int
) -> dict[str, Difference]:
    """Returns the differences that two runs have on the same cases, by metric."""
    patients = first.patients

    def of_means(metric: str) -> _Measured:
        a, b = cases.values[metric], first.values[metric]
        mean = paired.mean_difference(a, b, patients, replicates)
        p = paired.randomisation_test(a, b, patients) if metric == main.name else math.nan
        return *mean, p

    def of_statistics(metric: str) -> _Measured:
        a, b = cases.statistics[metric], first.statistics[metric]
        return *paired.statistic_difference(a, b, patients, replicates), math.nan

    def of_areas(unused_metric: str) -> _Measured:
        truth = first.truth.astype(float)
        value, low, high, _, p = delong.delong_difference(
            truth, cases.scores, first.scores, patients
        )
        return value, low, high, p

    ways: dict[str, Callable[[str], _Measured]] = {
        **dict.fromkeys(cases.values.keys() & first.values.keys(), of_means),
        **dict.fromkeys(cases.statistics.keys() & first.statistics.keys(), of_statistics),
    }
    if cases.scores is not None and first.scores is not None:
        ways[registry.AUROC.name] = of_areas
    return {metric: _explained(way, metric) for metric, way in ways.items()}


def _explained(measure: Callable[[str], _Measured], metric: str) -> Difference:
    """What is measured of a metric; without an interval, it says what `measure` warned of."""
    warned = undefined.Gathered()
    with warned.about(metric):
        found = Difference(*measure(metric))
    if math.isnan(found.value) or not math.isnan(found.low):
        return found
    return dataclasses.replace(found, missing="; ".join(warned.messages) or _ALIKE)


def _adjusted(table: Table, main: registry.Metric) -> Table:
    """Returns the table with adjusted p-values."""
    tested = [
        difference.p
        for line in table.lines
        for difference in line.differences[main.name]
        if not math.isnan(difference.p)
    ]
    values = iter(comparisons.holm(tested))
    lines = []
    for line in table.lines:
        of_main = [
            difference
            if math.isnan(difference.p)
            else dataclasses.replace(difference, p_holm=next(values))
            for difference in line.differences[main.name]
        ]
        lines.append(
            dataclasses.replace(line, differences={**line.differences, main.name: of_main})
        )
    return Table(table.metrics, lines, len(tested))
