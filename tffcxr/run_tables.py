"""The CSV files of a run directory: their columns, as what writes and what reads them has them."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib
import re
from typing import TYPE_CHECKING

from tffcxr import files

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Table:
    """The schema of a CSV file.

    Attributes:
      file: its name.
      columns: in order.
      texts: those that hold text. All others hold numbers; an empty cell is undefined.
      optional: those that only some runs have.
      free: a regular expression of the further columns that may stand between these, with numbers,
        such as a metric of a task; None for none.
      needed: those that readers cannot do without; None for all that are not optional.
    """

    file: str
    columns: tuple[str, ...]
    texts: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    free: str | None = None
    needed: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        unknown = {*self.texts, *self.optional, *(self.needed or ())} - {*self.columns}
        if unknown:
            raise ValueError(f"{self.file}: expected columns of {self.columns}, found {unknown}")

    @property
    def always(self) -> tuple[str, ...]:
        """The columns that every run has."""
        return tuple(name for name in self.columns if name not in self.optional)

    @property
    def needed_by_readers(self) -> tuple[str, ...]:
        """The columns without which the file cannot be read."""
        return self.always if self.needed is None else self.needed

    def check(self, found: Sequence[str]) -> None:
        """Checks the columns of a table that is to be written.

        Raises:
          ValueError: one is missing, unknown or out of order.
        """
        fixed = [name for name in found if self.free is None or not re.fullmatch(self.free, name)]
        expected = [name for name in self.columns if name in fixed or name not in self.optional]
        if fixed != expected:
            raise ValueError(f"{self.file}: expected columns {expected}, found {fixed}")

    def write(self, directory: pathlib.Path, table: pd.DataFrame, file: str | None = None) -> None:
        """Writes the table into a run's folder, whole or not at all.

        Args:
          directory: the run's.
          table: a row per row of the file.
          file: where there are several of the kind, the name of this one.

        Raises:
          ValueError: it has other columns.
          OSError: it cannot be written.
        """
        self.check(list(table.columns))
        files.write_table(directory / (file or self.file), table)


# A row per round; `epsilon` is there with --aggregator=dp. `rounds_<training>.csv` and the logs of
# single models have the same columns; where models are joined, each has columns of its own.
ROUNDS = Table(
    "rounds.csv",
    (
        "round", "seconds", "images", "clients", "failed_clients", "learning_rate", "train_loss",
        "epsilon", "stage",
    ),
    texts=frozenset({"stage"}),
    optional=frozenset({"learning_rate", "train_loss", "epsilon"}),
    free=r".+/.+",
    needed=("round",),
)  # fmt: skip
# What the status of a client that had no part in its round begins with, before the reason.
LEFT_OUT = "left out: "
# What is measured of each client's update, NaN where the aggregator hides it from the server; what
# is suspicious about the client in this round, and what it was listed for by now.
_REASONS = ("suspicion", "quarantine")
# The reasons that these columns may have, joined by "+", in words.
SUSPICIONS = {
    "not finite": "weights or losses that are no numbers",
    "norm": "updates longer than its images and losses explain",
    "direction": "updates against those of the others, although its losses are alike",
    "loss": "labels that are not those that the model learnt from the others",
}
OF_UPDATES = ("update_norm", "cosine", "cosine_others", "clipped", "counted", *_REASONS)
# A row per round and client that takes part; `epsilon`, of its single images so far, is there with
# --dp_sgd_noise; a segmentation also has what the client measures of the round's model on its own
# images, by the names of `rounds.csv`.
CLIENTS = Table(
    "clients.csv",
    ("round", "client", "images", "train_loss", "status", *OF_UPDATES, "epsilon", "variant"),
    texts=frozenset({"client", "status", *_REASONS, "variant"}),
    optional=frozenset({*OF_UPDATES, "epsilon", "variant"}),
    free=r".+/.+",
)
# A row per round and hospital of a run over hospitals: whether its clients took part, how long it
# worked and waited, and the bytes that the coordinator received from it and sent to it.
HOSPITALS = Table(
    "hospitals.csv",
    (
        "round", "site", "took_part", "work_seconds", "wait_seconds", "received_bytes",
        "sent_bytes", "variant",
    ),
    texts=frozenset({"site", "took_part", "variant"}),
    optional=frozenset({"variant"}),
)  # fmt: skip
# A row per model and image; `row` is the image's position in its client's records table.
PREDICTIONS = Table(
    "predictions.csv",
    ("task", "model", "training", "client", "split", "row", "label", "score"),
    texts=frozenset({"task", "model", "training", "client", "split", "row"}),
    optional=frozenset({"model"}),
)
CLASS_PREDICTIONS = Table(
    "class_predictions.csv",
    ("model", "images_kind", "training", "client", "row", "class"),
    texts=frozenset({"model", "images_kind", "training", "client", "row", "class"}),
    free=r"probability: .+",
)
# Areas are shares of the image.
MASKS = Table(
    "masks.csv",
    (
        "task", "training", "client", "row", "loss", "jaccard", "dice", "truth_area",
        "predicted_area",
    ),
    texts=frozenset({"task", "training", "client", "row"}),
)  # fmt: skip
# A row per model and volume, numbered in its task.
CASES = Table(
    "cases.csv",
    ("task", "training", "case", "stratum", "overlap", "boundary_overlap", "dice", "missed"),
    texts=frozenset({"task", "training", "stratum"}),
    optional=frozenset({"stratum", "boundary_overlap"}),
)
# A row per model and image that a report shows; `file` has its arrays. Older runs do not say the
# image's client and row.
_IMAGE = frozenset({"client", "row"})
SEGMENTATIONS = Table(
    "segmentations.csv",
    ("task", "case", "kind", "training", "jaccard", "dice", "overlap", "file", "client", "row"),
    texts=frozenset({"task", "case", "kind", "training", "file", "client", "row"}),
    optional=_IMAGE,
)
EXPLANATIONS = Table(
    "explanations.csv",
    (
        "task", "case", "training", "score", "file", "heat_in_lungs", "heat_in_annotation",
        "client", "row",
    ),
    texts=frozenset({"task", "case", "training", "file", "client", "row"}),
    optional=_IMAGE,
)  # fmt: skip
# Of one heat map: shares of the heat and of the image, and its entropy in nats.
HEAT_MEANS = ("heat_in_lungs", "heat_in_annotation", "entropy", "half_area")
HEAT_MEASURES = (*HEAT_MEANS, "lungs_area", "annotation_area")
# A row per model and image that it calls positive; `row` is as in the predictions.
HEAT_IMAGES = Table(
    "heat_images.csv",
    ("task", "model", "training", "site", "cases", "client", "row", "score", *HEAT_MEASURES),
    texts=frozenset({"task", "model", "training", "site", "cases", "client", "row"}),
)
# A row per model and site's images: means with their intervals. Where `compared_with` names another
# training: means of the differences to that, over the images that both models call positive. Images
# `without_heat`, in either of the two, are in no mean. `<mean>_p` is of a difference of 0, and
# `<mean>_p_holm` is adjusted for all such tests of the file; both are undefined in other rows.
HEAT = Table(
    "heat.csv",
    (
        "task", "model", "training", "compared_with", "site", "cases", "images", "patients",
        "without_heat", *(f"{name}{end}" for name in HEAT_MEANS for end in ("", "_low", "_high")),
        "lungs_images", "lungs_area", "annotation_images", "annotation_area", "pixels",
        *(f"{name}{end}" for name in HEAT_MEANS for end in ("_p", "_p_holm")),
    ),
    texts=frozenset({"task", "model", "training", "compared_with", "site", "cases"}),
    optional=frozenset(f"{name}{end}" for name in HEAT_MEANS for end in ("_p", "_p_holm")),
)  # fmt: skip
# A row per model, site's images and group of their patients. `too_small` is 1 of a group with few
# images (of findings and classes: with few of either label); `<metric>_gap` is how much higher that
# of the best group of the attribute is. Findings and classes have AUROC, sensitivity and
# specificity; masks Jaccard and Dice; volumes Dice and overlap, and `images` counts their cases.
OF_GROUPS = (
    "auroc", "auroc_gap", "sensitivity", "specificity", "jaccard", "jaccard_gap", "dice",
    "dice_gap", "overlap", "overlap_gap",
)  # fmt: skip
_OF_GROUPS = tuple(f"{name}{end}" for name in OF_GROUPS for end in ("", "_low", "_high"))
SUBGROUPS = Table(
    "subgroups.csv",
    (
        "task", "model", "images_kind", "training", "client", "attribute", "group", "images",
        "patients", "positives", "too_small", *_OF_GROUPS,
    ),
    texts=frozenset({"task", "model", "images_kind", "training", "client", "attribute", "group"}),
    optional=frozenset({"images_kind", "client", "positives", *_OF_GROUPS}),
)  # fmt: skip
# A row per image whose lungs were predicted.
LUNGS = Table(
    "lungs.csv",
    ("client", "row", "plausible", "reason", "area", "jaccard"),
    texts=frozenset({"client", "row", "plausible", "reason"}),
)
# A row per point of an ROC curve, in a copy that has no predictions.
ROC = Table(
    "roc.csv",
    ("task", "model", "training", "client", "split", "false_positive_rate", "sensitivity"),
    texts=frozenset({"task", "model", "training", "client", "split"}),
)
# Kept sealed, see `kept_names`: the file and the patient of every image, by the row of
# its client's records table.
IMAGES = Table(
    "images.csv",
    ("client", "row", "split", "image", "patient"),
    texts=frozenset({"client", "row", "split", "image", "patient"}),
)
# Kept sealed, too: the patient of every volume of `cases.csv`, and the files that it was read from.
CASE_FILES = Table(
    "case_files.csv",
    ("task", "case", "site", "patient", "files"),
    texts=frozenset({"task", "case", "site", "patient", "files"}),
)
# No table: time, memory and energy of every start of the program that ended by itself.
RESOURCES = "resources.json"
# No table: epsilon, delta and what they follow from, of a run with --aggregator=dp.
PRIVACY = "privacy.json"
# What has a row per image of a patient.
OF_IMAGES = (
    PREDICTIONS, CLASS_PREDICTIONS, MASKS, CASES, EXPLANATIONS, SEGMENTATIONS, LUNGS, HEAT_IMAGES,
)  # fmt: skip


def suspicions(text: str) -> list[str]:
    """The reasons in a cell, of `SUSPICIONS`."""
    given = text.split("+")
    return [reason for reason in SUSPICIONS if reason in given]


def client_columns(of_updates: bool) -> list[str]:
    """The columns of `CLIENTS` of one network, without metrics of the clients."""
    kept = {*CLIENTS.always, *(OF_UPDATES if of_updates else ())}
    return [name for name in CLIENTS.columns if name in kept]
