"""The columns of a table of results, the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
from typing import Any

from tffcxr.evaluation import bootstrap, registry
from tffcxr.evaluation.registry import Metric
from tffcxr.report import style

Row = Mapping[str, Any]
_OTHERS = (registry.CALIBRATION_SLOPE, registry.CALIBRATION_INTERCEPT)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
      heading: on the page.
      short: on the terminal.
      width: on the terminal, in characters.
      text: what it says of a row; a dash where that is undefined.
      on_page: what it says on the page, if there is more room there.
      page_heading: on the page, where that is another one.
      part: the heading of the table that it is in on the page; the first table has none.
      note: what the terminal says of it below the table.

    The first ones are those by which models are compared: they are seen on a narrow screen too.
    """

    heading: str
    short: str
    width: int
    text: Callable[[Row], str]
    on_page: Callable[[Row], str] | None = None
    page_heading: str | None = None
    part: str = ""
    note: str = ""

    @property
    def over_page(self) -> str:
        """What stands over it on the page."""
        return self.page_heading or self.heading

    def cell(self, row: Row) -> str:
        """What it says of a row on the page."""
        return (self.on_page or self.text)(row)


def number(heading: str, short: str, width: int, key: str, digits: int = 0) -> Column:
    """A number that is no metric, such as a count."""
    return Column(heading, short, width, lambda row: style.number(row.get(key), digits))


def images() -> Column:
    """On how many images the model was measured."""
    return number("Images", "images", 7, "images")


def plain(metric: Metric, rows: Sequence[Row] = (), what: str = "", part: str = "") -> Column:
    """A metric without an interval on the terminal, and with one on the page if rows have it.

    Args:
      metric: the metric.
      rows: of the table.
      what: that it is of, on the page.
      part: see `Column`.
    """
    heading = f"{metric.title}, {what}" if what else metric.title
    has_interval = any(f"{metric.name}_low" in row for row in rows)
    return Column(
        heading,
        metric.heading,
        max(6, len(metric.heading)),
        lambda row: style.number(row.get(metric.name), metric.digits),
        lambda row: style.with_interval(row, metric.name, metric.digits),
        style.interval_heading(heading, rows) if has_interval else None,
        part,
    )


def where_measured(metrics: Iterable[Metric], rows: Sequence[Row], part: str = "") -> list[Column]:
    """Columns of those metrics that some row has: runs of earlier versions lack the later ones."""
    return [
        plain(metric, rows, part=part)
        for metric in metrics
        if any(metric.name in row for row in rows)
    ]


def of_a_backdoor(rows: Sequence[Row]) -> list[Column]:
    """How often a rehearsed backdoor opens, of runs that have one."""
    metric = registry.BACKDOOR_SUCCESS
    return [with_interval(metric, rows)] if any(metric.name in row for row in rows) else []


def parts(columns: Iterable[Column]) -> list[tuple[str, list[Column]]]:
    """The tables that the columns are in on the page, each with its heading."""
    found: dict[str, list[Column]] = {}
    for column in columns:
        found.setdefault(column.part, []).append(column)
    return list(found.items())


def without_interval(results: Iterable[tuple[str, Sequence[Row]]]) -> str:
    """Says which numbers have no interval where others of the tables have one; "" for none.

    Args:
      results: (title, rows) of each block, see `results_table.blocks`.
    """
    blocks: dict[tuple[str, ...], list[str]] = {}
    has_others = False
    for title, rows in results:
        missing = []
        for metric in (*registry.METRICS, *_OTHERS):
            low, name = f"{metric.name}_low", metric.name
            cells = [(row.get(name), row[low]) for row in rows if low in row]
            has_others = has_others or any(style.is_number(end) for _, end in cells)
            if any(style.is_number(value) and not style.is_number(end) for value, end in cells):
                missing.append(metric.title)
        if missing:
            blocks.setdefault(tuple(missing), []).append(title.rpartition(" (")[0] or title)
    if not blocks or not has_others:
        return ""
    which = "; ".join(
        f"{', '.join(names)} of {', '.join(dict.fromkeys(titles))}"
        for names, titles in blocks.items()
    )
    few = f"fewer than {bootstrap.MINIMUM_PATIENTS}"
    return (
        f"A number without an interval is of {few} patients, of {few} with or without the finding, "
        f"or of images many samples of which leave it undefined: {which}."
    )


def with_interval(metric: Metric, rows: Sequence[Row]) -> Column:
    """A metric and its confidence interval, whose level is in the heading if all rows share it."""
    heading = style.interval_heading(metric.title, rows)
    short = f"{metric.short} (CI)" if metric.short else heading
    return Column(
        heading, short, 20, lambda row: style.with_interval(row, metric.name, metric.digits)
    )


def of_round(metric: Metric) -> Column:
    """A metric and, in brackets, the round that it was measured after."""

    def text(row: Row) -> str:
        after = row.get(f"{metric.name}_round")
        value = style.number(row.get(metric.name), metric.digits)
        return f"{value} ({after:.0f})" if style.is_number(after) else value

    return Column(f"{metric.title} (round)", metric.heading, 11, text)
