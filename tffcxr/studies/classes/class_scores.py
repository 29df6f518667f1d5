"""What the models of a study of classes say of images, scaled on the validation images."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import TYPE_CHECKING

from scipy import special

from tffcxr.clients.client_data import ClientData
from tffcxr.evaluation import calibration, class_metrics
from tffcxr.studies import trainings
from tffcxr.training.evaluators.validation import Scorer, Scores

if TYPE_CHECKING:
    from tffcxr.studies.classes.class_study import ClassStudy


def score(
    study: ClassStudy, scorer: Scorer, weights: Mapping[str, trainings.Weights]
) -> tuple[calibration.Scaling, dict[str, Scores]]:
    """Scores the test images, and perhaps those trained on, scaled on the validation images.

    The scaling is fitted on the validation images of all clients together; see `calibration` on
    what clients would send.
    """

    def scores_of(split: str) -> Scores:
        return Scores.join(
            [scorer.score(weights[client], client, split) for client in sorted(weights)]
        )

    scaling, method = calibration.Scaling(), study.settings.calibration
    if method != "none":
        validation = scores_of("validation")
        truth = class_metrics.true_classes(validation.labels)
        scaling = calibration.fit_classes(truth, validation.scores, method)
    splits = ("test", "train") if study.with_train_scores else ("test",)
    return scaling, {split: _scaled(scores_of(split), scaling) for split in splits}


def score_elsewhere(
    scorer: Scorer,
    external: ClientData | None,
    weights: trainings.Weights,
    scaling: calibration.Scaling,
) -> dict[str, Scores]:
    """Scores the images of external sites, by site.

    Args:
      scorer: of the images of the study's clients.
      external: the images; None without any.
      weights: of the model, which is the same for all clients.
      scaling: of `score`.
    """
    if external is None:
        return {}
    elsewhere = scorer.over(external)
    return {
        site: _scaled(elsewhere.score(weights, site, "test"), scaling)
        for site in external.store.client_ids
    }


def _scaled(found: Scores, scaling: calibration.Scaling) -> Scores:
    """Logarithms of probabilities after scaling."""
    if scaling.method == "none":
        return found
    return dataclasses.replace(
        found, scores=special.log_softmax(scaling.apply(found.scores), axis=1)
    )
