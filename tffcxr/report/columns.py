"""The columns of a table of results, the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import functools
from typing import Any

from tffcxr.report import style
from tffcxr.report.kinds import kinds

Row = Mapping[str, Any]
BASELINES = ("site", "pooled")  # With which federated models of findings are compared.


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
      heading: on the page.
      short: on the terminal.
      width: on the terminal, in characters.
      text: what it says of a row; a dash where that is undefined.

    The first ones are those by which models are compared: they are seen on a narrow screen too.
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
            _with_interval("Jaccard", "jaccard", rows),
            _with_interval("Dice", "dice", rows),
            images,
            loss,
            *_detection(rows),
            _number("Round", "round", 5, "round", digits=0),
            _number("Jaccard, last round", "last J.", 7, "last_jaccard"),
        ]
    if kind == kinds.VOLUMES:
        return [
            _with_interval("Dice", "dice", rows),
            _overlap(rows),
            _number("Missed", "missed", 6, "missed", digits=0),
            _number("Cases", "cases", 5, "cases", digits=0),
            loss,
            *_difference(),
        ]
    if kind == kinds.CLASSES:
        return [
            _with_interval("Accuracy", "accuracy", rows),
            _of_round("Maximum accuracy (round)", "max. acc.", "maximum_accuracy"),
            _of_round("Minimum loss (round)", "min. loss", "minimum_loss"),
            images,
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
    baselines = compared_with(rows)
    return [
        _with_interval("AUROC", "auroc", rows),
        *(_p_value(f"p vs {name}", f"p {name}", "delong", name) for name in baselines),
        images,
        loss,
        _number("Sensitivity", "sens.", 6, "sensitivity"),
        _number("Specificity", "spec.", 6, "specificity"),
        _number("AUPR", "AUPR", 6, "aupr"),
        *(_p_value(f"t-test vs {name}", f"t {name}", "ttest", name) for name in baselines),
    ]


def compared_with(rows: Iterable[Row]) -> list[str]:
    """Returns the trainings that some row was tested against."""
    keys = {key for row in rows for key in row}
    named = {row.get("baseline") for row in rows}
    return [name for name in BASELINES if name in named or f"p_delong_{name}" in keys]


def p_key(row: Row, test: str, against: str) -> str | None:
    """Returns the name of the p-value of a test, or None if the row was not tested so.

    Args:
      row: of a `metrics.json`.
      test: "delong" or "ttest".
      against: the training of the other model.
    """
    if row.get("baseline") == against:
        return f"p_{test}"
    key = f"p_{test}_{against}"
    return key if key in row else None


def _p_value(heading: str, short: str, test: str, against: str) -> Column:
    def text(row: Row) -> str:
        key = p_key(row, test, against)
        return style.NOT_COMPARED if key is None else style.p_value(row[key])

    return Column(heading, short, 9, text)


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

    def difference(row: Row) -> str:
        if "dice_difference" not in row:
            return style.NOT_COMPARED
        return style.signed(row["dice_difference"])

    def interval(row: Row) -> str:
        if "dice_difference" not in row:
            return style.NOT_COMPARED
        low, high = (row.get(f"dice_difference_{end}") for end in ("low", "high"))
        if style.is_number(low) and style.is_number(high):
            return f"{style.signed(low)} to {style.signed(high)}"
        return style.UNDEFINED

    return [
        Column("Dice difference", "differ.", 7, difference),
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
