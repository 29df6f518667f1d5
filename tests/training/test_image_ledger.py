"""Passes over a client's images decide the epsilon of each of them."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training import example
from tffcxr.clients.sampling import Sampler
from tffcxr.learning import privacy_accounting
from tffcxr.learning.dp_sgd import DpSgd
from tffcxr.learning.schedules import Schedule
from tffcxr.training import loop
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.image_ledger import ImageLedger
from tffcxr.training.noise_key import NoiseKey
from tffcxr.training.plan import Stage

SETTINGS = DpSgd(noise_multiplier=2.0, clip=0.5, batch_size=4)
DELTA = 1e-6


def of(passes):
    return privacy_accounting.epsilon({2.0: passes}, DELTA)


def test_an_image_is_in_each_pass_that_its_client_has_made(tmp_path):
    rows = [
        {"round": "1", "client": "a", "images": "30", "status": "ok"},
        {"round": "1", "client": "b", "images": "60", "status": "loss is not finite"},
        {"round": "2", "client": "a", "images": "30", "status": "ok"},
        {"round": "2", "client": "b", "images": "0", "status": "left out: not connected"},
    ]
    ledger = ImageLedger(SETTINGS, local_epochs=3, delta=DELTA)
    assert [ledger.epsilon(rows, client) for client in "abc"] == [of(6), of(3), 0.0]
    ledger.write(tmp_path, "federated", rows)
    found = json.loads((tmp_path / "privacy.json").read_text())
    assert found["trainings"] == {} and found["together"]["epsilon"] == 0
    clients = found["images"]["federated"]["clients"]
    assert (clients["a"]["images"], clients["a"]["passes"]) == (10, 6)
    assert clients["b"]["epsilon"] == of(3)
    assert clients["b"]["epsilon_of_poisson_batches"] == (
        privacy_accounting.epsilon_of_poisson_batches(2.0, 20, 4, 3, DELTA)
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return example.client_data(tmp_path_factory.mktemp("clients"), north=6, south=4)


def test_a_training_that_is_killed_has_the_same_noise_and_epsilon(tmp_path, data):
    plan = example.plan(
        Stage("all", 2, Schedule("constant", 1e-2, 2)), dp_sgd=SETTINGS, delta=DELTA, local_epochs=2
    )
    evaluator = example.evaluator(data)
    processes: dict[str, Any] = {}

    def train(folder, key, kill_in=None):
        class Stopping(FederatedTraining):
            def advance(self, state, round_number, stage, rate):
                after = super().advance(state, round_number, stage, rate)
                if round_number == kill_in:
                    raise example.Killed
                return after

        sampler = Sampler(("north", "south"))
        training = Stopping(plan, data, sampler, evaluator, noise_key=NoiseKey(tmp_path / key))
        training._processes = processes  # Traced once.
        journal = loop.Journal(
            folder / "rounds.csv",
            folder / "clients.csv",
            folder / "checkpoints",
            image_ledger=ImageLedger(SETTINGS, 2, DELTA),
        )
        state = loop.run(training, plan, evaluator.columns, journal).state
        return [np.asarray(leaf).tobytes() for leaf in tf.nest.flatten(state)]

    whole = train(tmp_path / "whole", "key")
    with pytest.raises(example.Killed):
        train(tmp_path / "killed", "key", kill_in=2)
    assert train(tmp_path / "killed", "key") == whole
    assert train(tmp_path / "other", "another key") != whole
    for folder in ("whole", "killed"):
        rows = csv.DictReader((tmp_path / folder / "clients.csv").read_text().splitlines())
        found = [(row["client"], float(row["epsilon"])) for row in rows]
        assert found == [(c, of(n)) for n in (2, 4) for c in ("north", "south")]
