"""What a comparison of models across domains says and cannot say, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tffcxr.report import remarks_common, style


def summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a sentence per task: the federated Dice, that of each node alone, what was missed.

    Args:
      rows: of `table.in_order`.
    """
    sentences = []
    for title, known in remarks_common.compared(rows, "dice"):
        federated = known["federated"]
        text = f"{title}: federated Dice {style.with_interval(federated, 'dice')}"
        if "site" in known:
            text += f"; each node alone {style.with_interval(known['site'], 'dice')}"
        missed, cases = federated.get("missed"), federated.get("cases")
        if style.is_number(missed) and style.is_number(cases):
            text += f"; missed entirely in {missed:.0f} of {cases:.0f} cases"
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
    return result + remarks_common.few_patients(rows)
