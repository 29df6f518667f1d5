"""All metrics of models, each once: what it is called, which way is better, how it is written.

Evaluators name their columns of `rounds.csv` by this list; progress, tables, figures, TensorBoard,
the choice of the best round and sweeps read it. A metric stands in a row of `metrics.json` by its
name, and in `rounds.csv` as `<task>/<name>`.

  >>> registry.AUROC.column("Pneumothorax")
  'Pneumothorax/auroc'
  >>> registry.is_lower_better("Pneumothorax/loss")
  True
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
import dataclasses

import numpy as np

from tffcxr.evaluation import segmentation

HIGHER, LOWER = "higher", "lower"


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number that says how good a model is.

    Attributes:
      name: in the files of a run.
      title: over a column or a panel.
      better: `HIGHER` or `LOWER`.
      function: computes it of a predicted and a true mask, both bool [H, W]; None where each kind
        of study has its own way, or several metrics are computed at once.
      short: over a column on the terminal; None for the title.
      progress: what the line of a round calls it; None if that does not show it.
      digits: after the decimal point.
    """

    name: str
    title: str
    better: str = HIGHER
    function: Callable[[np.ndarray, np.ndarray], float] | None = None
    short: str | None = None
    progress: str | None = None
    digits: int = 3

    def __post_init__(self) -> None:
        if self.better not in (HIGHER, LOWER):
            raise ValueError(f"expected {HIGHER!r} or {LOWER!r}, found {self.better!r}")

    @property
    def heading(self) -> str:
        """What stands over its column on the terminal."""
        return self.short or self.title

    def column(self, task: str) -> str:
        """Returns its column of `rounds.csv`."""
        return f"{task}/{self.name}"

    def is_of(self, column: str) -> bool:
        """Whether a column of `rounds.csv` is of this metric, whatever the task."""
        return column.endswith(f"/{self.name}")


ACCURACY = Metric("accuracy", "Accuracy", progress="accuracy")
AUROC = Metric("auroc", "AUROC", progress="AUROC")
JACCARD = Metric("jaccard", "Jaccard", function=segmentation.jaccard, progress="Jaccard")
DICE = Metric("dice", "Dice", function=segmentation.dice, progress="Dice")
OVERLAP = Metric("overlap", "Overlap with boxes", short="overlap")
BOUNDARY_OVERLAP = Metric("boundary_overlap", "Overlap of boundary and box", short="b. overlap")
LOSS = Metric("loss", "Loss", LOWER, short="loss")
AUPR = Metric("aupr", "AUPR")
SENSITIVITY = Metric("sensitivity", "Sensitivity", short="sens.")
SPECIFICITY = Metric("specificity", "Specificity", short="spec.")
PPV = Metric("ppv", "Positive predictive value", short="PPV")
NPV = Metric("npv", "Negative predictive value", short="NPV")
F1 = Metric("f1", "F1 score", short="F1")
KAPPA = Metric("kappa", "Cohen's kappa", short="kappa")
ACCURACY_HALF = Metric("accuracy_half", "Accuracy at 0.5", short="acc.0.5")
BRIER = Metric("brier", "Brier score", LOWER, short="Brier")
ECE = Metric("ece", "Calibration error", LOWER, short="ECE")
MAXIMUM_ACCURACY = Metric("maximum_accuracy", "Maximum accuracy", short="max. acc.")
MINIMUM_LOSS = Metric("minimum_loss", "Minimum loss", LOWER, short="min. loss")
MISSED = Metric("missed", "Missed cases", LOWER, short="missed", digits=0)
TRAIN_LOSS = Metric("train_loss", "Training loss", LOWER)
# Of a rehearsed attack: images that its trigger makes a model read as the target.
BACKDOOR_SUCCESS = Metric("backdoor_success", "Backdoor success", LOWER, short="backdoor")
# Best at 1 and at 0, so neither more nor less is better: they rank nothing, and are no `METRICS`.
CALIBRATION_SLOPE = Metric("calibration_slope", "Calibration slope", short="slope")
CALIBRATION_INTERCEPT = Metric("calibration_intercept", "Calibration intercept", short="interc.")
# Means over clients of what each measures on its own images, however few it has.
CLIENT_LOSS = Metric("client_loss", "Loss, mean of clients", LOWER, short="client loss")
CLIENT_DICE = Metric("client_dice", "Dice, mean of clients", short="client Dice")

# In the order in which tables of several kinds have them.
METRICS = (
    ACCURACY, AUROC, JACCARD, DICE, OVERLAP, BOUNDARY_OVERLAP, LOSS, AUPR, SENSITIVITY, SPECIFICITY,
    PPV, NPV, F1, KAPPA, ACCURACY_HALF, BRIER, ECE, MAXIMUM_ACCURACY, MINIMUM_LOSS, MISSED,
    TRAIN_LOSS, CLIENT_LOSS, CLIENT_DICE, BACKDOOR_SUCCESS,
)  # fmt: skip
MEANS_OF_CLIENTS = {LOSS: CLIENT_LOSS, DICE: CLIENT_DICE}
BY_NAME = {metric.name: metric for metric in METRICS}
# By which models are compared where nobody says by what. Dice ranks masks as Jaccard does, so it
# is for models that have none of the others.
_COMPARED = (ACCURACY, AUROC, JACCARD)
_COMPARED_OTHERWISE = (DICE,)


def of_column(column: str) -> Metric | None:
    """Returns the metric of a column of `rounds.csv`, None of "round" and others that are none."""
    return BY_NAME.get(column.rpartition("/")[2])


def is_lower_better(column: str) -> bool:
    """Whether less of a column of `rounds.csv`, or of a metric by its name, is better.

    Raises:
      ValueError: it is no metric.
    """
    metric = of_column(column)
    if metric is None:
        raise ValueError(f"expected one of the metrics {', '.join(BY_NAME)}, found {column!r}")
    return metric.better == LOWER


def main_column(columns: Iterable[str]) -> str | None:
    """Returns the first column by which models are compared by default, None if there is none."""
    columns = list(columns)
    for compared in (_COMPARED, _COMPARED_OTHERWISE):
        for column in columns:
            if of_column(column) in compared:
                return column
    return None
