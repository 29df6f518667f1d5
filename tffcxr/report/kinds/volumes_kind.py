"""Where is it in a volume? Models across domains, compared by the Dice of each case."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import TYPE_CHECKING, Any

from tffcxr.evaluation import registry
from tffcxr.report import column_builders, results_table, style
from tffcxr.report.kinds import remarks_common
from tffcxr.report.kinds.kind import Kind, Rows

if TYPE_CHECKING:
    from tffcxr.report.figures.roc_figure import Curve
    from tffcxr.report.run_reader import Run

_LITTLE_DICE = 0.5  # Below it false positives and negatives outnumber true positives by 2 : 1.


def _columns(rows: Rows) -> list[column_builders.Column]:
    return [
        column_builders.with_interval(registry.DICE, rows),
        *_overlaps(rows),
        column_builders.plain(registry.MISSED, rows),
        column_builders.number("Cases", "cases", 5, "cases"),
        column_builders.Column("Dice difference", "differ.", 7, _difference),
        column_builders.plain(registry.LOSS, rows),
        column_builders.Column("Interval of the difference", "its CI", 16, _interval_of_difference),
    ]


def _overlaps(rows: Rows) -> list[column_builders.Column]:
    """The paper's overlap, of boundaries, and ours, which runs of earlier versions have alone."""
    if not any(registry.BOUNDARY_OVERLAP.name in row for row in rows):
        return [column_builders.with_interval(registry.OVERLAP, rows)]
    ours = registry.OVERLAP
    return [
        column_builders.with_interval(registry.BOUNDARY_OVERLAP, rows),
        column_builders.plain(dataclasses.replace(ours, short="boxed"), rows),
    ]


def _difference(row: column_builders.Row) -> str:
    """How much better than the first federated model."""
    if "dice_difference" not in row:
        return style.NOT_COMPARED
    return style.signed(row["dice_difference"])


def _interval_of_difference(row: column_builders.Row) -> str:
    if "dice_difference" not in row:
        return style.NOT_COMPARED
    low, high = (row.get(f"dice_difference_{end}") for end in ("low", "high"))
    if style.is_number(low) and style.is_number(high):
        return f"{style.signed(low)} to {style.signed(high)}"
    return style.UNDEFINED


def _summary(rows: Rows) -> list[str]:
    """Returns a sentence per task: the federated Dice, that of other models, what was missed."""
    sentences = []
    for title, known in remarks_common.compared(rows, "dice"):
        federated = known["federated"]
        text = f"{title}: federated Dice {style.with_interval(federated, 'dice')}"
        if "site" in known:
            text += f"; each node alone {style.with_interval(known['site'], 'dice')}"
        for training, row in known.items():
            if training.startswith("federated_") and style.is_number(row.get("dice_difference")):
                text += f"; {row['name']} {style.signed(row['dice_difference'])}"
        missed: Any = federated.get("missed")
        cases: Any = federated.get("cases")
        if style.is_number(missed) and style.is_number(cases):
            text += f"; missed entirely in {missed:.0f} of {style.counted(cases, 'case')}"
        text += _by_stratum(federated.get("strata"))
        sentences.append(f"{text}.")
    return sentences


def _by_stratum(strata: Any) -> str:
    """The Dice of the federated model by stratum, such as a tumour's grade, where it is known."""
    known = strata.items() if isinstance(strata, dict) else ()
    return "".join(
        f"; {name}: Dice {style.number(of_name['dice'])}, missed {of_name['missed']} of "
        f"{style.counted(of_name['cases'], 'case')}"
        for name, of_name in known
    )


def _warnings(rows: Rows, unused_run: Run, unused_curves: Sequence[Curve]) -> list[str]:
    result = [
        warning
        for title, block in results_table.blocks(rows)
        for warning in remarks_common.chosen_on_the_same_images(title, block)
    ]
    return result + remarks_common.said_once(rows, _problems) + remarks_common.few_patients(rows)


def _problems(row: dict[str, Any]) -> list[str]:
    """Returns what is wrong with one row, without its name."""
    dice: Any = row.get("dice")
    if not style.is_number(dice):
        return ["Dice is undefined; the model diverged."]
    if dice >= _LITTLE_DICE:
        return []
    return [
        f"Dice is below {_LITTLE_DICE:g}: what is marked in error and missed is more than twice "
        "what is found."
    ]


KIND = Kind(
    name="volumes",
    main=registry.DICE,
    of_rounds=(registry.DICE, registry.OVERLAP, registry.BOUNDARY_OVERLAP),
    loss="Binary cross-entropy",
    columns=_columns,
    summary=_summary,
    warnings=_warnings,
    guide="guide_volumes.html.jinja",
    pictures="volumes",
    masks_caption=(
        "Each picture is the slice of a case that shows most of the region. Dice and overlap at a "
        "picture are of this slice alone; cases.csv has those of the whole case."
    ),
    takes_images=False,
)
