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
    if any(map(_has_several, described)):  # Their positives are in a table of their own.
        described = [_without_positives(site) for site in described]
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


def positives_of(run: run_reader.Run) -> Table | None:
    """Returns the table of positive images by finding and client, None where all have one finding.

    A cell has the images of training, validation and test, or is empty where the client's site does
    not label the finding.
    """
    sites = run.config.get("sites")
    clients = (
        [site for site in sites if isinstance(site, Mapping)] if isinstance(sites, list) else []
    )
    if not any(map(_has_several, clients)):
        return None
    counts = [_positives(client) for client in clients]
    findings = dict.fromkeys(name for of_client in counts for name in of_client)
    return Table(
        ["Finding", *(str(client.get("client", "")) for client in clients)],
        [
            [_cell(finding), *(Cell(of_client.get(finding, ""), True) for of_client in counts)]
            for finding in findings
        ],
    )


def _has_several(client: Mapping[str, Any]) -> bool:
    return isinstance(client.get("positive"), Mapping)


def _positives(client: Mapping[str, Any]) -> dict[str, str]:
    """Finding to its positive images by split, as text."""
    found = client.get("positive")
    if not isinstance(found, Mapping):
        of_one = {split: client.get(f"{split}_positive") for split in _SPLITS}
        found = {str(client.get("finding", "")): of_one}
    return {
        str(finding): " / ".join(style.number(of_splits.get(split), 0) for split in _SPLITS)
        for finding, of_splits in found.items()
        if isinstance(of_splits, Mapping)
    }


def _without_positives(client: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in client.items()
        if name not in ("positive", "negative") and not name.endswith("_positive")
    }
    if _has_several(client):
        kept["finding"] = style.counted(len(client["positive"]), "finding")
    return kept


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
