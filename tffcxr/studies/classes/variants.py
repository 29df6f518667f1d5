"""The models that a study of classes compares, and what a trained one says.

A variant is a network, and a kind of images where there are several: "resnet50 segmented".
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

from tffcxr import options
from tffcxr.evaluation import calibration
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
    """One trained model and what it says of images, after the round that is reported.

    Attributes:
      variant: what was trained.
      training: "federated" or "pooled".
      weights: of that round.
      rounds: what `metrics.json` says of its rounds.
      scaling: that the scores have been through; the weights do not have it.
      scores: of the test images, logarithms of probabilities [N, C].
      train_scores: of the training images; None if they were not measured.
      external: the same of the images of external sites, by site.
    """

    variant: Variant
    training: str
    weights: trainings.Weights
    rounds: Mapping[str, Any]
    scaling: calibration.Scaling
    scores: Scores
    train_scores: Scores | None
    external: Mapping[str, Scores] = dataclasses.field(default_factory=dict)

    @property
    def probabilities(self) -> np.ndarray:
        """Of the test images: float32 [N, C]."""
        return np.exp(self.scores.scores)
