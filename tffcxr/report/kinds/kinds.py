"""What kind of question a run asks, which decides its table, its figures and its remarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

FINDINGS = "findings"  # is a finding there? AUROC
MASKS = "masks"  # where is an organ? Jaccard
CLASSES = "classes"  # which one of several classes? Accuracy
VOLUMES = "volumes"  # where is it in a volume? Dice of each case

# The metric by which models of a kind are compared.
MAIN_METRIC = {FINDINGS: "auroc", MASKS: "jaccard", CLASSES: "accuracy", VOLUMES: "dice"}
METRIC_NAMES = {
    "auroc": "AUROC",
    "jaccard": "Jaccard",
    "dice": "Dice",
    "accuracy": "Accuracy",
    "overlap": "Overlap with boxes",
}


def of_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns the kind of the rows of a `metrics.json`; those of findings have accuracies too."""
    for row in rows:
        if "jaccard" in row:
            return MASKS
        if "classes" in row:
            return CLASSES
        if "missed" in row:
            return VOLUMES
    return FINDINGS


def of_rounds(rounds: pd.DataFrame) -> str:
    """Returns the kind of a `rounds.csv`, all that an unfinished run has."""
    metrics = {column.rpartition("/")[2] for column in rounds.columns if "/" in column}
    for kind, metric in MAIN_METRIC.items():
        if metric in metrics:
            return kind
    return FINDINGS
