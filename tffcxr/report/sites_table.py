"""The table of who holds what data, for the page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import json
from typing import Any

from tffcxr.report import results_table, run_reader, style
from tffcxr.report.figures import clients_figure

# The order of the columns; what is not named here comes between the names and the numbers.
_NAMES = ("client", "site", "source", "task", "finding")
_SPLITS = ("train", "validation", "test")
_COUNTS = ("images", "patients", "positive")
_LAST = ("rejected_files",)
NOT_REPORTED = "not reported"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A text, and whether it is a number."""

    text: str
    is_number: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """Headings and rows of cells.

    Attributes:
      headings: of the columns.
      cells: a row per client or site.
      has_kept: whether a hospital keeps some of the counts to itself.
    """

    headings: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    has_kept: bool = False


def of(run: run_reader.Run) -> Table | None:
    """Returns the table of sites, or None if nothing is known of them.

    The configuration's `sites` ({name: {property: value}} or a list of such properties) go before
    what the results tell.
    """
    sites = run.config.get("sites")
    if isinstance(sites, Mapping):
        described = [
            {"site": name, **(about if isinstance(about, Mapping) else {"description": about})}
            for name, about in sites.items()
        ]
    elif isinstance(sites, list):
        described = [dict(site) if isinstance(site, Mapping) else {"site": site} for site in sites]
    else:
        described = _of_results(run)
    properties = in_order(list(dict.fromkeys(str(key) for site in described for key in site)))
    if all("client" in site and site.get("site") == site["client"] for site in described):
        properties = [name for name in properties if name != "site"]
    if not properties:
        return None
    counts = {name for name in properties for site in described if style.is_number(site.get(name))}
    cells = [
        [_cell(site.get(name, _missing(site, name, counts))) for name in properties]
        for site in described
    ]
    has_kept = any(cell.text == NOT_REPORTED for row in cells for cell in row)
    return Table([_heading(name) for name in properties], cells, has_kept)


def _missing(site: Mapping[str, Any], name: str, counts: Collection[str]) -> str:
    """The text for a property that a site does not have."""
    return NOT_REPORTED if site.get("source") == "hospital" and name in counts else ""


def in_order(properties: Sequence[str]) -> list[str]:
    """Sorts properties: who, what, then counts in the order of training, validation, test."""
    counts = [f"{split}_{what}" for split in _SPLITS for what in _COUNTS]
    classes = [name for name in properties if name.startswith(clients_figure.PREFIX)]
    # The classes divide the training images.
    counts[len(_COUNTS) : len(_COUNTS)] = classes
    known = [*_NAMES, *counts, *_LAST]
    others = [name for name in properties if name not in known]
    order = [*_NAMES, *others, *counts, *_LAST]
    return [name for name in order if name in properties]


def _heading(name: str) -> str:
    """Returns the name of a property as a heading; that of a finding in it stays as it is."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def _cell(value: Any) -> Cell:
    return Cell(value if isinstance(value, str) else as_text(value), style.is_number(value))


def as_text(value: Any) -> str:
    """Returns a setting or a property as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _of_results(run: run_reader.Run) -> list[dict[str, Any]]:
    """Returns what the results tell of each test set."""
    described: dict[str, dict[str, Any]] = {}
    for row in results_table.in_order(run.rows, run.kind):
        if not style.is_number(row.get("images")):
            continue
        described.setdefault(
            row["title"],
            {
                "site": results_table.client(row),
                "finding": row["task"],
                "images evaluated": f"{row['images']:.0f} ({row['split']})",
                **({"positive": style.number(row["positives"], 0)} if "positives" in row else {}),
                "patients": style.number(row.get("patients"), 0),
            },
        )
    return list(described.values())
