"""The columns of a table of results, the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Any

from tffcxr.report import style
from tffcxr.report.kinds import kinds

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
      heading: on the page.
      short: on the terminal.
      width: on the terminal, in characters.
      text: what it says of a row; a dash where that is undefined.
    """

    heading: str
    short: str
    width: int
    text: Callable[[Row], str]


def of(rows: Sequence[Row]) -> list[Column]:
    """Returns the columns for the rows of a `metrics.json`, by their kind."""
    kind = kinds.of_rows(rows)
    images = _number("Images", "images", 7, "images", digits=0)
    loss = _number("Loss", "loss", 6, "loss")
    if kind == kinds.MASKS:
        return [
            images,
            loss,
            _with_interval("Jaccard", "jaccard", rows),
            _with_interval("Dice", "dice", rows),
            *_detection(rows),
            _number("Round", "round", 5, "round", digits=0),
            _number("Jaccard, last round", "last J.", 7, "last_jaccard"),
        ]
    if kind == kinds.VOLUMES:
        return [
            _number("Cases", "cases", 5, "cases", digits=0),
            loss,
            _with_interval("Dice", "dice", rows),
            _overlap(rows),
            _number("Missed", "missed", 6, "missed", digits=0),
            *_difference(),
        ]
    if kind == kinds.CLASSES:
        return [
            images,
            _of_round("Maximum accuracy (round)", "max. acc.", "maximum_accuracy"),
            _of_round("Minimum loss (round)", "min. loss", "minimum_loss"),
            _with_interval("Accuracy", "accuracy", rows),
            *(
                Column(
                    f"Sensitivity, {name}",
                    f"sens. {letter(position)}",
                    7,
                    functools.partial(_sensitivity, name),
                )
                for position, name in enumerate(class_names(rows))
            ),
        ]
    return [
        images,
        loss,
        _number("Sensitivity", "sens.", 6, "sensitivity"),
        _number("Specificity", "spec.", 6, "specificity"),
        _number("AUPR", "AUPR", 6, "aupr"),
        _with_interval("AUROC", "auroc", rows),
        Column("p, t-test", "p t-test", 9, lambda row: style.p_value(row.get("p_ttest"))),
        Column("p, DeLong", "p DeLong", 9, lambda row: style.p_value(row.get("p_delong"))),
    ]


def tells_detection(rows: Sequence[Row]) -> bool:
    """Returns whether rows of masks are of images some of which are free of the region."""
    return any("specificity" in row for row in rows)


def _detection(rows: Sequence[Row]) -> list[Column]:
    if not tells_detection(rows):
        return []
    return [
        _number("Sensitivity, any pixel", "sens.", 6, "sensitivity"),
        _number("Specificity, no pixel", "spec.", 6, "specificity"),
    ]


def class_names(rows: Sequence[Row]) -> list[str]:
    """Returns the classes of all rows, in their order."""
    return list(dict.fromkeys(name for row in rows for name in row.get("classes", ())))


def letter(position: int) -> str:
    """Returns the letter that stands for a class where its name is too long: "A" for the first."""
    return chr(ord("A") + position)


def _number(heading: str, short: str, width: int, key: str, digits: int = 3) -> Column:
    return Column(heading, short, width, lambda row: style.number(row.get(key), digits))


def _with_interval(name: str, metric: str, rows: Sequence[Row]) -> Column:
    heading = style.interval_heading(name, rows)
    return Column(heading, heading, 20, lambda row: style.with_interval(row, metric))


def _overlap(rows: Sequence[Row]) -> Column:
    heading = style.interval_heading("Overlap with boxes", rows)
    return Column(heading, "overlap (CI)", 20, lambda row: style.with_interval(row, "overlap"))


def _difference() -> list[Column]:
    """How much better than the first federated model, and between what that may be."""

    def signed(value: Any) -> str:
        return f"{value:+.3f}" if style.is_number(value) else style.UNDEFINED

    def interval(row: Row) -> str:
        low, high = (row.get(f"dice_difference_{end}") for end in ("low", "high"))
        if style.is_number(low) and style.is_number(high):
            return f"{signed(low)} to {signed(high)}"
        return style.UNDEFINED

    return [
        Column("Dice difference", "differ.", 7, lambda row: signed(row.get("dice_difference"))),
        Column("Interval of the difference", "its CI", 16, interval),
    ]


def _of_round(heading: str, short: str, key: str) -> Column:
    """A number and, in brackets, the round that it was measured after."""

    def text(row: Row) -> str:
        after = row.get(f"{key}_round")
        number = style.number(row.get(key))
        return f"{number} ({after:.0f})" if style.is_number(after) else number

    return Column(heading, short, 11, text)


def _sensitivity(name: str, row: Row) -> str:
    by_class = row.get("sensitivity_by_class")
    return style.number(by_class.get(name) if isinstance(by_class, Mapping) else None)
