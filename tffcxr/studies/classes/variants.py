"""The models that a study of classes compares, and what a trained one says.

A variant is a network, and a kind of images where there are several: "resnet50 segmented".
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tffcxr import options
from tffcxr.studies import trainings
from tffcxr.training.evaluators.validation import Scores

FULL, SEGMENTED = options.IMAGE_KINDS
TRAININGS = (trainings.FEDERATED, trainings.POOLED)


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of the models that are compared.

    Attributes:
      model: a name of `options.CLASSIFIERS`.
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
    weights: trainings.Weights
    round_number: int
    scores: Scores
    train_scores: Scores | None

    @property
    def probabilities(self) -> np.ndarray:
        """Of the test images: float32 [N, C]."""
        return np.exp(self.scores.scores)
