"""Where is an organ or a finding? Masks, compared by the Jaccard of each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tffcxr.evaluation import registry
from tffcxr.report import column_builders, results_table, style
from tffcxr.report.figures import jaccard_figure
from tffcxr.report.kinds import remarks_common
from tffcxr.report.kinds.kind import Kind, Rows

if TYPE_CHECKING:
    from tffcxr.report.figures.roc_figure import Curve
    from tffcxr.report.run_reader import Run

_LAST_JACCARD = registry.Metric("last_jaccard", "Jaccard, last round", short="last J.")
# A larger difference than rounding makes between two computations of a mean.
_TOLERANCE = 1e-3


def _columns(rows: Rows) -> list[column_builders.Column]:
    detection = (
        column_builders.plain(registry.SENSITIVITY, rows, "any pixel"),
        column_builders.plain(registry.SPECIFICITY, rows, "no pixel"),
    )
    round_ = (column_builders.number("Round", "round", 5, "round"),)
    return [
        column_builders.with_interval(registry.JACCARD, rows),
        column_builders.with_interval(registry.DICE, rows),
        column_builders.images(),
        *column_builders.where_measured((registry.LOSS,), rows),
        *(detection if _tells_detection(rows) else ()),
        *(round_ if any("round" in row for row in rows) else ()),
        *column_builders.where_measured((_LAST_JACCARD,), rows),
    ]


def _tells_detection(rows: Rows) -> bool:
    """Whether the rows are of images some of which are free of the region."""
    return any(registry.SPECIFICITY.name in row for row in rows)


def _facts(rows: Rows) -> dict[str, Any]:
    return {"tells_detection": _tells_detection(rows)}


def _notes(rows: Rows) -> list[str]:
    if not any(_LAST_JACCARD.name in row for row in rows):  # Elsewhere.
        return []
    return ["last J.: Jaccard of the last round's model."]


def _summary(rows: Rows) -> list[str]:
    """Returns a sentence per federated row: its Jaccard, the pooled model's, the difference."""
    sentences = []
    for title, known in remarks_common.compared(rows, "jaccard"):
        federated = known["federated"]
        text = f"{title}: federated Jaccard {style.with_interval(federated, 'jaccard')}"
        if "pooled" in known:
            pooled = known["pooled"]
            difference = federated["jaccard"] - pooled["jaccard"]
            text += (
                f"; all sites pooled {style.with_interval(pooled, 'jaccard')}; federated minus "
                f"pooled {style.signed(difference)}"
            )
        if style.is_number(federated.get("specificity")):
            sensitivity, false = federated.get("sensitivity"), 1 - federated["specificity"]
            text += (
                f"; something is marked in {style.percent(sensitivity)} of the images with it and "
                f"in {style.percent(false)} of those without"
            )
        sentences.append(f"{text}.")
    return sentences


def _warnings(rows: Rows, run: Run, unused_curves: Sequence[Curve]) -> list[str]:
    result = []
    for title, block in results_table.blocks(rows):
        result += _chosen_on_the_same_images(title, block)
    result += remarks_common.said_once(rows, lambda row: _problems(row, _masks_of(row, run.masks)))
    return result + remarks_common.few_patients(rows, with_images=True) + _empty_truths(run)


def _chosen_on_the_same_images(title: str, block: Sequence[dict[str, Any]]) -> list[str]:
    """Returns that warning, and what the model of the last round has."""
    last = ", ".join(
        f"{row['name'].lower()} {style.number(row.get('last_jaccard'))}" for row in block
    )
    return [
        f"{warning} Without a choice, Jaccard of the last round's model: {last}."
        for warning in remarks_common.chosen_on_the_same_images(title, block)
    ]


def _problems(row: dict[str, Any], masks: pd.DataFrame) -> list[str]:
    """Returns what is wrong with one row, without its name."""
    jaccard: Any = row.get("jaccard")
    if not style.is_number(jaccard):
        return ["Jaccard is undefined: no image has a true mask, or the model diverged."]
    problems = []
    if not (style.is_number(row.get("jaccard_low")) and style.is_number(row.get("jaccard_high"))):
        problems.append("too few patients for a confidence interval.")
    elif row["jaccard_low"] == row["jaccard_high"]:
        problems.append(
            "Jaccard is the same in all images, so its interval has no width. That does not mean "
            "that it is exact."
        )
    known = masks["jaccard"].dropna()
    failures = int((known < jaccard_figure.FAILURE).sum())
    if failures:
        problems.append(
            f"Jaccard is below {jaccard_figure.FAILURE} in {failures} of "
            f"{style.counted(len(known), 'image')}; look at the worst masks."
        )
    if len(known) and abs(float(known.mean()) - jaccard) > _TOLERANCE:
        problems.append(
            f"metrics.json states Jaccard {jaccard:.3f}, but the mean of masks.csv is "
            f"{known.mean():.3f}. They are not of the same evaluation."
        )
    return problems


def _masks_of(row: dict[str, Any], masks: pd.DataFrame) -> pd.DataFrame:
    """Returns the images that a row was computed from; those of one client if it is about one."""
    mine = (masks["task"] == row["task"]) & (masks["training"] == row["training"])
    if results_table.client(row):
        mine &= masks["client"] == results_table.client(row)
    return masks[mine]


def _empty_truths(run: Run) -> list[str]:
    """Returns a warning if there are images whose true mask is empty."""
    if "truth_area" not in run.masks:
        return []
    # Every model is measured on the same images.
    images = run.masks.drop_duplicates(["task", "client", "row"])
    all_images = style.counted(len(images), "image")
    empty = int(np.count_nonzero(images["truth_area"] == 0))
    if not empty:
        return []
    if images.loc[images["truth_area"] == 0, "jaccard"].isna().all():
        return [
            f"In {empty} of {all_images} the true mask is empty. Jaccard and Dice are of "
            "the others; what is marked in these counts in the specificity alone."
        ]
    return [
        f"In {empty} of {all_images} the true mask is empty. There Jaccard and Dice are 1 "
        "if the predicted mask is empty too and 0 if a single pixel is marked."
    ]


KIND = Kind(
    name="masks",
    main=registry.JACCARD,
    of_rounds=(registry.JACCARD, registry.DICE),
    loss="BCE-Dice loss",
    columns=_columns,
    summary=_summary,
    warnings=_warnings,
    guide="guide_masks.html.jinja",
    facts=_facts,
    notes=_notes,
    rounds_caption=(
        "After every round the model was measured on the {split} images. A loss that rises again "
        "there means overfitting. A dot is the model of the table. A mean of clients gives every "
        "client the same weight, the other curves every image."
    ),
    exported=(
        "with the threshold and the image size in the JSON file beside it. One image in, the "
        "probability of every pixel out."
    ),
)
