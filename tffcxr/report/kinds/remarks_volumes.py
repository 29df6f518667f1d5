"""What a comparison of models across domains says and cannot say, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tffcxr.report import style
from tffcxr.report.kinds import remarks_common

_LITTLE_DICE = 0.5  # Below it false positives and negatives outnumber true positives by 2 : 1.


def summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a sentence per task: the federated Dice, that of other models, what was missed.

    Args:
      rows: of `table.in_order`.
    """
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
        sentences.append(f"{text}.")
    return sentences


def warnings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns what makes the numbers doubtful.

    Args:
      rows: of `table.in_order`.
    """
    result = [
        f"{row['title']}, {row['name']}: Dice is undefined; the model diverged."
        for row in rows
        if not style.is_number(row.get("dice"))
    ]
    result += [
        f"{row['title']}, {row['name']}: Dice {row['dice']:.3f}; what it marks in error and misses "
        "is more than twice what it finds."
        for row in rows
        if style.is_number(row.get("dice")) and row["dice"] < _LITTLE_DICE
    ]
    return result + remarks_common.few_patients(rows)
