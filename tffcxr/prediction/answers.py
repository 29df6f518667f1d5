"""What a model says of images, as rows of tables, by the kind of model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import csv
import io
import math
import os
import pathlib
from typing import TYPE_CHECKING, NamedTuple

from tffcxr import files
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from tffcxr.models.files.export import Exported


class Row(NamedTuple):
    """What the model says of one finding, class or region in one image.

    Attributes:
      file: the image's path, see `readable`.
      name: of the finding, class or region.
      number: its probability, or the share of the image that is marked, in 0..1.
      remark: for the table in the terminal.
      others: the further columns of the CSV file.
    """

    file: str
    name: str
    number: float
    remark: str
    others: tuple[object, ...] = ()


class Kind(NamedTuple):
    """How the answers of a kind of model are shown.

    Attributes:
      head: of the table in the terminal.
      columns: of the CSV file.
      rows: from the model, the file and the image, uint8 [H, W, 1].
    """

    head: tuple[str, str, str, str]
    columns: tuple[str, ...]
    rows: Callable[[Exported, str, np.ndarray], list[Row]]


def format_table(head: tuple[str, str, str, str], found: Sequence[Row]) -> str:
    """An aligned table with a line per row; a file's name stands in its first."""
    lines = [head]
    before = None
    for row in found:
        name = row.file if row.file != before else ""
        lines.append((name, row.name, f"{row.number:.3f}", row.remark))
        before = row.file
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [
        "  ".join(
            (
                line[0].ljust(widths[0]),
                line[1].ljust(widths[1]),
                line[2].rjust(widths[2]),
                line[3],
            )
        ).rstrip()
        for line in lines
    ]
    return "\n".join([texts[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *texts[1:]])


def write_csv(path: pathlib.Path, columns: Sequence[str], found: Sequence[Row]) -> None:
    """Writes the rows of a table; raises InputError if the file cannot be written."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in found:
        writer.writerow((row.file, row.name, row.number, *row.others))
    try:
        files.write_text(path, text.getvalue())
    except OSError as error:
        raise InputError(f"--csv: cannot write {path}: {error.strerror}") from error


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


def call(probability: float, operating_point: float) -> str:
    """Where a probability lies: "above" or "below" the operating point, or "-" without one."""
    if math.isnan(operating_point):
        return "-"
    return "above" if probability >= operating_point else "below"


def _findings(exported: Exported, file: str, picture: np.ndarray) -> list[Row]:
    rows = []
    for name, probability in exported.probabilities(exported.fitted(picture)).items():
        point = exported.metadata.operating_points.get(name, math.nan)
        where = call(probability, point)
        is_there = not math.isnan(point)
        remark = f"{where} {point:.3f}" if is_there else "none"
        rows.append(Row(file, name, probability, remark, (point if is_there else "", where)))
    return rows


def _classes(exported: Exported, file: str, picture: np.ndarray) -> list[Row]:
    by_class = exported.probabilities(exported.fitted(picture))
    named = max(by_class, key=lambda name: by_class[name])
    return [
        Row(file, name, probability, "named" if name == named else "", (named,))
        for name, probability in by_class.items()
    ]


def _masks(exported: Exported, file: str, picture: np.ndarray) -> list[Row]:
    share = float(exported.mask(picture).mean())
    return [Row(file, exported.metadata.outputs[0], share, "" if share else "nothing is marked")]


# By `metadata.KINDS`.
KINDS = {
    "findings": Kind(
        ("file", "finding", "probability", "operating point"),
        ("file", "finding", "probability", "operating_point", "call"),
        _findings,
    ),
    "classes": Kind(
        ("file", "class", "probability", ""),
        ("file", "class", "probability", "named"),
        _classes,
    ),
    "masks": Kind(
        ("file", "region", "share of the image", ""),
        ("file", "region", "share"),
        _masks,
    ),
}
