"""Whether trainings suspect honest clients with unlike data, and find those that attack.

`TFFCXR_SEEDS=12 uv run pytest -s tests/training/test_honest_clients.py` trains with so many seeds,
and says how many clients were listed.
"""

from __future__ import annotations

import collections
import dataclasses
import os

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.training import example
from tffcxr import runtime
from tffcxr.clients import partition
from tffcxr.clients.sampling import Sampler
from tffcxr.learning.schedules import Schedule
from tffcxr.models import losses
from tffcxr.training.attack import Attack
from tffcxr.training.evaluators.validation import Scores
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.plan import Plan, Stage
from tffcxr.training.quarantine import Quarantine

SEEDS = int(os.environ.get("TFFCXR_SEEDS", "1"))
SIZE, BATCH, ROUNDS, TRAINED, MEASURED = 16, 8, 6, 80, 40  # Images of each client.
STAGE = Stage("all", ROUNDS, Schedule("constant", 5e-3, ROUNDS))
PLAN = Plan(example.SmallSpec("standard", SIZE, 1), (STAGE,), losses.batch_loss, share="all")


class _Discs:
    """Noisy pictures in memory, of which those with the finding have a faint bright square.

    They are clients' data and the evaluator in one.
    """

    columns: tuple[str, ...] = ()

    def __init__(self, tables):
        self.element_spec = collections.OrderedDict(
            images=tf.TensorSpec([None, SIZE, SIZE, 1]), labels=tf.TensorSpec([None, 1])
        )
        self._labels = {
            client: table["finding"].to_numpy(np.float32)[:, None]
            for client, table in tables.items()
        }
        self._images = {
            client: _pictures(table["patient"].to_numpy(), self._labels[client])
            for client, table in tables.items()
        }
        self._model = PLAN.structure().keras

    def train_images(self, client):
        return len(self._labels[client]) - MEASURED

    def train_dataset(self, client, round_number, passes):
        order = np.random.default_rng(round_number).permutation(self.train_images(client))
        order = np.tile(order, passes) + MEASURED
        parts = collections.OrderedDict(
            images=self._images[client][order], labels=self._labels[client][order]
        )
        return tf.data.Dataset.from_tensor_slices(parts).batch(BATCH)

    def score(self, weights, client):
        self._model.set_weights(weights)
        logits = self._model(self._images[client][:MEASURED], training=False).numpy()
        clients = np.full(MEASURED, client, object)
        return Scores(np.arange(MEASURED), clients, self._labels[client][:MEASURED], logits)

    def metrics(self, parts):
        return {}


def _pictures(patients, labels):
    noise = [np.random.default_rng(each).normal(0.4, 0.15, (SIZE, SIZE, 1)) for each in patients]
    pictures = np.stack(noise)
    pictures[:, 4:10, 4:10] += 0.1 * labels[..., None, None]
    return pictures.astype(np.float32)


class _Boasting(FederatedTraining):
    """The first client says that it has trained on many more images, and that its loss is high."""

    def train(self, state, *args):
        state, (first, *others), loss = super().train(state, *args)
        images, train_loss = first.images * 1000, first.train_loss * 1000
        told = dataclasses.replace(first, images=images, train_loss=train_loss)
        return state, (told, *others), loss


_processes: dict[bool, dict] = {}


def _listed(clients, alpha, seed, attack=None, kind=FederatedTraining):
    """Who is listed, and for what, in a training among so many clients; iid without an alpha."""
    count = clients * (TRAINED + MEASURED)
    present = np.random.default_rng(seed).random(count) < 0.3
    patients = np.arange(count) + seed * count
    table = pd.DataFrame({"patient": patients, "image": patients, "finding": present * 1.0})
    if alpha is None:
        tables = partition.iid(table, clients, seed)
    else:
        tables = partition.dirichlet(table, clients, alpha, "finding", seed)
    tables = {client: each.sample(frac=1.0, random_state=seed) for client, each in tables.items()}
    data = _Discs(tables)
    sampler = Sampler(tuple(sorted(tables)), None, seed)
    listing = Quarantine("federated", sampler, excludes=True)
    attackers = attack and attack.by(dict.fromkeys(tables, "site"), seed, has_classes=False)
    training = kind(PLAN, data, sampler, data, attackers=attackers, quarantine=listing)
    # Traced once for all: a process holds no state.
    training._processes = _processes.setdefault(bool(attackers and attackers.tampers), {})
    state = training.initial_state(1)
    rows = []
    for number in range(1, ROUNDS + 1):
        state, result = training.advance(state, number, STAGE, 5e-3)
        rows = [
            {"round": number, "client": of.client, "status": of.status, "suspicion": of.suspicion}
            for of in result.clients
        ]
        listing.judge(rows)
    return listing.excluded


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.mark.parametrize("clients", [5, 10])
@pytest.mark.parametrize("alpha", [0.1, 0.3, None])
def test_no_honest_client_is_left_out(alpha, clients):
    listed = {seed: _listed(clients, alpha, seed) for seed in range(SEEDS)}
    print(
        f"alpha {alpha}, {clients} clients, {SEEDS} seeds: listed {sum(map(len, listed.values()))}"
    )
    assert not any(listed.values()), listed


@pytest.mark.parametrize(
    "kind,strength", [("labels", None), ("scale", 10), ("sign", 5), ("noise", 5), ("backdoor", 5)]
)
def test_who_attacks_is_left_out_and_nobody_else(kind, strength):
    attack = Attack(kind, ("client_00",), strength)
    listed = [_listed(5, None, seed, attack) for seed in range(SEEDS)]
    print(f"{kind}, 5 clients, {SEEDS} seeds: found {sum('client_00' in each for each in listed)}")
    assert all(each == ["client_00"] for each in listed), listed


def test_who_attacks_is_left_out_although_it_boasts_of_images_and_losses():
    attack = Attack("scale", ("client_00",), 100)
    listed = [_listed(5, None, seed, attack, _Boasting) for seed in range(SEEDS)]
    print(f"scale 100, boasting, {SEEDS} seeds: found {sum('client_00' in e for e in listed)}")
    assert all(each == ["client_00"] for each in listed), listed
