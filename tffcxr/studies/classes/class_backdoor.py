"""How often a rehearsed backdoor moves an image to the first class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tffcxr.evaluation import class_metrics
from tffcxr.studies import backdoor_success, trainings
from tffcxr.training.backdoor import TARGET_CLASS, StampedImages
from tffcxr.training.evaluators.validation import Scorer, Scores

if TYPE_CHECKING:
    from tffcxr.clients.client_data import ClientData
    from tffcxr.studies.classes.class_study import ClassStudy


def measured(
    study: ClassStudy,
    scorer: Scorer,
    data: ClientData,
    weights: trainings.Weights,
    test: Scores,
) -> dict[str, Any]:
    """What `metrics.json` says of the share of images that the trigger moves to the first class.

    Args:
      study: has the clients.
      scorer: of logarithms of probabilities.
      data: the clients' images.
      weights: of the federated model.
      test: scores of the test images without the trigger; scaling changes no order of classes.
    """
    if not (study.attackers and study.attackers.is_backdoor):
        return {}
    stamped = scorer.over(StampedImages(data))
    clients = list(dict.fromkeys(test.clients))
    scores = Scores.join([stamped.score(weights, client, "test") for client in clients])
    return backdoor_success.about(
        study,
        scores.scores.argmax(axis=1) == TARGET_CLASS,
        test.scores.argmax(axis=1) == TARGET_CLASS,
        class_metrics.true_classes(scores.labels) != TARGET_CLASS,
        study.patients(scores),
    )
