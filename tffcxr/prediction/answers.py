"""What a model says of a file, and how that stands in tables, by the kind of model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
import os
from typing import Any, NamedTuple

import numpy as np

from tffcxr.models.files.metadata import Metadata
from tffcxr.prediction import reading


class Row(NamedTuple):
    """What the model says of one finding, class or region in one file.

    Attributes:
      name: of the finding, class or region.
      number: its probability or the share that is marked, in 0..1, or a volume in ml.
      remark: for the table in the terminal.
      others: the values of the kind's further columns.
      is_called: whether the model calls it present; None where it has no operating point.
    """

    name: str
    number: float
    remark: str
    others: tuple[Any, ...] = ()
    is_called: bool | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of one file.

    Attributes:
      file: its path, see `readable`.
      rows: what the model says; none if the file was not predicted.
      status: as of `reading.Image`.
      error: why it was not predicted.
      warnings: in what it differs from the training images.
      distance: from the training images, 1 at the limit; NaN where it is not measured.
    """

    file: str
    rows: tuple[Row, ...] = ()
    status: str = reading.OK
    error: str = ""
    warnings: tuple[str, ...] = ()
    distance: float = math.nan


class Kind(NamedTuple):
    """How the answers of a kind of model are shown.

    Attributes:
      head: of the table in the terminal.
      columns: of a row: its name, its number, and others.
    """

    head: tuple[str, str, str, str]
    columns: tuple[str, ...]


# By `metadata.KINDS`.
KINDS = {
    "findings": Kind(
        ("file", "finding", "probability", "operating point"),
        ("finding", "probability", "operating_point", "call"),
    ),
    "classes": Kind(("file", "class", "probability", ""), ("class", "probability", "named")),
    "masks": Kind(("file", "region", "share of the image", ""), ("region", "share")),
    "volumes": Kind(("file", "region", "ml", ""), ("region", "ml", "share")),
}


def not_calibrated(about: Metadata) -> str:
    """Says which outputs give scores that are no probabilities, and why; empty if none does."""
    if about.marks_pixels:
        return ""
    reasons: dict[str, list[str]] = {}
    for name in about.outputs:
        how = about.calibration.get(name, {})
        if how.get("calibration", "none") == "none":
            reasons.setdefault(str(how.get("calibration_remark") or ""), []).append(name)
    which = "; ".join(
        f"{', '.join(names)} ({why})" if why else ", ".join(names) for why, names in reasons.items()
    )
    if not which:
        return ""
    return f"Scores that are not calibrated, so they are no probabilities: {which}."


def call(probability: float, operating_point: float) -> str:
    """Where a probability lies: "above" or "below" the operating point, or "-" without one."""
    if math.isnan(operating_point):
        return "-"
    return "above" if probability >= operating_point else "below"


def of_findings(about: Metadata, found: np.ndarray) -> tuple[Row, ...]:
    """Rows from probabilities [outputs]."""
    rows = []
    for name, value in zip(about.outputs, found.tolist()):
        point = about.operating_points.get(name, math.nan)
        where = call(value, point)
        if math.isnan(point):
            rows.append(Row(name, value, "none", (None, where)))
        else:
            remark = f"{where} {point:.3f}"
            rows.append(Row(name, value, remark, (point, where), where == "above"))
    return tuple(rows)


def of_classes(about: Metadata, found: np.ndarray) -> tuple[Row, ...]:
    """Rows from probabilities [outputs]."""
    best = int(found.argmax())
    return tuple(
        Row(
            name, value, "named" if place == best else "", (about.outputs[best],), place == best
        )  # fmt: skip
        for place, (name, value) in enumerate(zip(about.outputs, found.tolist()))
    )


# By kind: from the metadata and one image's probabilities to rows.
OF_IMAGES: Mapping[str, Callable[[Metadata, np.ndarray], tuple[Row, ...]]] = {
    "findings": of_findings,
    "classes": of_classes,
}


def of_mask(about: Metadata, mask: np.ndarray) -> tuple[Row, ...]:
    """The row of what is marked in an image, bool [H, W]."""
    share = float(mask.mean())
    return (Row(about.outputs[0], share, "" if share else "nothing is marked"),)


def format_table(head: Sequence[str], found: Sequence[Answer]) -> str:
    """An aligned table with a line per row; a file's name and warnings stand in its first."""
    lines = [(*head, "warning")]
    for answer in found:
        for place, row in enumerate(answer.rows):
            file, warning = ("", "") if place else (answer.file, "; ".join(answer.warnings))
            lines.append((file, row.name, f"{row.number:.3f}", row.remark, warning))
    if not any(line[-1] for line in lines[1:]):
        lines = [line[:-1] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines)]
    texts = []
    for line in lines:
        cells = [
            cell.rjust(width) if place == 2 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths))
        ]
        texts.append("  ".join(cells).rstrip())
    return "\n".join([texts[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *texts[1:]])


def readable(path: str | os.PathLike[str]) -> str:
    r"""Returns a path as text of one line that UTF-8 can encode.

    Bytes that are not UTF-8 and characters that are not printable become \x and two digits, or \u
    and four: `caf\xe9.png`.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
