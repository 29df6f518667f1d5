"""What a study of classes that exclude each other is about, and what a trained model says.

A variant is a network, and a kind of images where there are several: "resnet50 segmented".
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses

import numpy as np

from tffcxr.studies import study as study_lib
from tffcxr.training.evaluators.validation import Scores
from tffcxr.training.plan import Plan

FULL, SEGMENTED = "full", "segmented"
POOLED = "pooled"
TRAININGS = (study_lib.FEDERATED, POOLED)


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of the models that are compared.

    Attributes:
      model: a name of `tffcxr.models.build.NAMES`.
      images: `FULL` or `SEGMENTED`; empty where a recipe knows full images alone.
    """

    model: str
    images: str = ""

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        return f"{self.model} {self.images}".rstrip()

    @property
    def is_cut_out(self) -> bool:
        """Whether it sees the lungs alone."""
        return self.images == SEGMENTED

    @property
    def file_name(self) -> str:
        """The name as a part of file names."""
        return self.name.replace(" ", "_")


@dataclasses.dataclass(frozen=True)
class ClassStudy(study_lib.Study):
    """One run of a recipe of classes; its records have a column per class.

    Attributes:
      task: what is asked, for tables.
      classes: their names, in the order of the outputs.
      variants: what is compared, in order.
      plans: how each network is trained, by its name and one of `TRAININGS`: across the clients, or
        on all images in one place. A pair that is not there is not trained, but each network of the
        variants is in one way at least, and one of them across the clients. All plans of a training
        have equally many rounds; everything is shared.
      segmentation_model: what `lungs.segment` takes, or None for outlines that come with the data.
      split: "test", or "validation" if there are such images: what is measured after every round,
        and by which the best round is chosen.
      with_train_scores: whether the training images are measured, too, at the end.
      explained: the classes whose images are explained.
      explanation: "gradcam" or "gradcam++".
      heatmaps: test images to explain, of each of these classes.
      class_balance: "none", "weights" (of the loss, from the images of all clients) or "sampling"
        (of the images of each client).
      width: of all networks, see `tffcxr.models.build.build`.
    """

    task: str
    classes: tuple[str, ...]
    variants: tuple[Variant, ...]
    plans: Mapping[tuple[str, str], Plan]
    segmentation_model: str | None
    split: str
    with_train_scores: bool
    explained: tuple[str, ...]
    explanation: str
    heatmaps: int
    class_balance: str
    width: float

    def plans_of(self, variant: Variant) -> dict[str, Plan]:
        """How a variant is trained, by training."""
        return {
            training: self.plans[variant.model, training]
            for training in TRAININGS
            if (variant.model, training) in self.plans
        }

    def trained(self, training: str) -> list[Variant]:
        """The variants that are trained in a way, in order."""
        return [variant for variant in self.variants if training in self.plans_of(variant)]


@dataclasses.dataclass(frozen=True)
class Result:
    """One trained model and what it says of images, after its best round.

    Attributes:
      variant: what was trained.
      training: "federated" or "pooled".
      weights: of the best round.
      round_number: of the best round, from 1.
      scores: of the test images, logarithms of probabilities [N, C].
      train_scores: of the training images; None if they were not measured.
    """

    variant: Variant
    training: str
    weights: study_lib.Weights
    round_number: int
    scores: Scores
    train_scores: Scores | None

    @property
    def probabilities(self) -> np.ndarray:
        """Of the test images: float32 [N, C]."""
        return np.exp(self.scores.scores)
