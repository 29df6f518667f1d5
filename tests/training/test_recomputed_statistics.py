"""--batch_norm=recompute in both kinds of training: whose images the statistics are of."""

import functools

import numpy as np
import pytest

from tests.training import example
from tffcxr import runtime
from tffcxr.clients.sampling import Sampler
from tffcxr.learning.schedules import Schedule
from tffcxr.models import losses
from tffcxr.training.centralised import CentralisedTraining
from tffcxr.training.evaluators.validation import FindingsEvaluator, Scorer
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.plan import Plan, Stage

RATE = Schedule("constant", 1e-3, 1)
ALL = Stage("all", 1, RATE)
HEAD = Stage("head", 1, RATE, "representation")


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return example.client_data(tmp_path_factory.mktemp("clients"), north=12, south=8)


def _plan(stage, batch_norm="recompute"):
    source = example.NormSpec("standard", example.SIZE, 2, batch_norm)
    return Plan(source, (stage,), losses.batch_loss, local_epochs=2)


def _statistics(weights):
    named = dict(zip((weight.name for weight in example.norm_model().keras.weights), weights))
    return float(named["norm/moving_mean:0"][0]), float(named["norm/moving_variance:0"][0])


def _of_images(data, *clients):
    pixels = [batch["images"].numpy() for c in clients for batch in data.train_dataset(c, 1, 1)]
    pixels = np.concatenate(pixels)
    # Batches of 4 images: Keras' n / (n - 1) is of 4096 pixels.
    return pytest.approx((pixels.mean(), pixels.var()), rel=1e-3)


def _evaluator(data):
    return FindingsEvaluator(Scorer(example.norm_model().keras, data), example.FINDINGS)


@functools.cache
def _processes(plan):
    """Those of a plan, by their stage; each is traced once."""
    return {}


def _federated(data, plan, stage, per_round=None):
    sampler = Sampler(("north", "south"), per_round, seed=0)
    training = FederatedTraining(plan, data, sampler, _evaluator(data))
    training._processes = _processes(plan)
    state, result = training.advance(training.initial_state(1), 1, stage, 1e-3)
    (weights, *_) = training.client_weights(state, 1).values()
    return _statistics(weights), [client.client for client in result.clients]


def test_after_a_federated_round_they_are_those_of_its_clients_images(data):
    for per_round in (None, 1):
        found, clients = _federated(data, _plan(ALL), ALL, per_round)
        assert len(clients) == (per_round or 2)
        assert found == _of_images(data, *clients)
    averaged, _ = _federated(data, _plan(ALL, "aggregate"), ALL)
    assert averaged[1] > 1.1 * _of_images(data, "north", "south").expected[1]  # Still near 1.


def test_a_frozen_block_keeps_its_own(data):
    assert _federated(data, _plan(HEAD), HEAD)[0] == (0.0, 1.0)


def test_after_a_pooled_round_they_are_those_of_all_images(data):
    training = CentralisedTraining(_plan(ALL), data, ("north", "south"), _evaluator(data))
    state, _ = training.advance(training.initial_state(1), 1, ALL, 1e-3)
    assert _statistics(state["weights"]) == _of_images(data, "north", "south")
