"""Trains a run's model again under a protection, by the project's own loop, for its final model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr import options
from tffcxr.audit.audited_run import AuditedRun
from tffcxr.audit.seen import DP, Protection
from tffcxr.clients import seeds
from tffcxr.clients.sampling import Sampler
from tffcxr.training import loop
from tffcxr.training.evaluators.class_validation import ClassEvaluator
from tffcxr.training.evaluators.validation import Evaluator, FindingsEvaluator, Scorer
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.image_ledger import ImageLedger
from tffcxr.training.noise_key import NoiseKey
from tffcxr.training.plan import Plan
from tffcxr.training.privacy_ledger import Ledger, Privacy
from tffcxr.training.progress import Progress

_EPSILON = "epsilon"
_CLASSES = "classes"


class KnownNoise(NoiseKey):
    """Noise that follows from a public seed, so that an audit gives the same results again.

    It protects nobody: whoever knows the seed can take it off. An attack here does not.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._public = seed

    def seed(self, round_number: int, client: str = "") -> np.ndarray:
        """See `NoiseKey`."""
        drawn = seeds.derive_seed(self._public, "noise of an audit", round_number, client)
        return np.array(drawn, np.int64)


@dataclasses.dataclass(frozen=True)
class Protected:
    """A model that was trained under a protection.

    Attributes:
      weights: of the first client that was attacked, in the order of `model.weights`.
      utility: on validation images after the last round.
      utility_name: what that is.
      epsilon: of a client (of "dp") or of an image (of "dp_sgd"); infinity without noise.
    """

    weights: Sequence[np.ndarray]
    utility: float
    utility_name: str
    epsilon: float


def train(
    run: AuditedRun, protection: Protection, rounds: int, folder: pathlib.Path, seed: int
) -> Protected:
    """Trains, or takes the training up where it was stopped.

    Args:
      run: with its plan and its images; all of its clients take part in every round.
      protection: of the training.
      rounds: how many.
      folder: for the files of this training and of others.
      seed: of the noise.

    Raises:
      InputError: the network cannot be trained with the protection.
      loop.TrainingFailed: training broke off.
    """
    plan = _with_rounds(protection.apply(run.plan, run.batch_size, len(run.clients)), rounds)
    folder = folder / f"{protection.name}-{_digest(run, protection, rounds, seed)}"
    sampler = Sampler(tuple(run.clients), None, seed)
    data = run.data(run.batch_size)
    evaluator = _evaluator(run, plan.model.measuring_model().keras, data)
    training = FederatedTraining(plan, data, sampler, evaluator, noise_key=KnownNoise(seed))
    ledger = None
    if protection.name == DP:
        ledger = Ledger(Privacy(noise_multiplier=protection.noise), sampler, rounds)
    images = None
    if plan.dp_sgd:
        images = ImageLedger(plan.dp_sgd, plan.local_epochs, options.DP_DELTA)
    journal = loop.Journal(
        rounds=folder / "rounds.csv",
        clients=folder / "clients.csv",
        checkpoints=folder / "checkpoints",
        observers=(Progress(f"model under {protection.title}", rounds, "validation"),),
        ledger=ledger,
        image_ledger=images,
    )
    folder.mkdir(parents=True, exist_ok=True)
    end = loop.run(training, plan, evaluator.columns, journal)
    weights = training.client_weights(end.state, end.number)[run.clients[0]]
    last = end.rounds[-1]
    utility = [float(last[column]) for column in evaluator.columns if _is_utility(column)]
    epsilon = np.inf
    if ledger:
        epsilon = float(last[_EPSILON])
    elif images:
        epsilon = max(float(row[_EPSILON]) for row in end.clients if row[_EPSILON] != "")
    name = "the accuracy" if run.kind == _CLASSES else "the AUROC, the mean over findings,"
    return Protected(weights, float(np.mean(utility)), name, epsilon)


def _with_rounds(plan: Plan, rounds: int) -> Plan:
    (stage,) = plan.stages
    schedule = dataclasses.replace(stage.schedule, rounds=rounds)
    return dataclasses.replace(
        plan, stages=(dataclasses.replace(stage, rounds=rounds, schedule=schedule),)
    )


def _evaluator(run: AuditedRun, model: tf.keras.Model, data: Any) -> Evaluator:
    if run.kind == _CLASSES:
        return ClassEvaluator(Scorer(model, data, tf.nn.log_softmax), _CLASSES, "validation")
    return FindingsEvaluator(Scorer(model, data), run.store.spec.findings)


def _is_utility(column: str) -> bool:
    return column.rpartition("/")[2] in ("auroc", "accuracy")


def _digest(run: AuditedRun, protection: Protection, rounds: int, seed: int) -> str:
    settings: Mapping[str, Any] = run.settings
    parts = run.store.root.name, sorted(settings.items()), protection, rounds, seed
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
