"""The key of a run's noise: kept where a run resumes, and by nobody else."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import hmac
import stat

import numpy as np
import pytest
import tensorflow as tf

from tests.training import example
from tffcxr.clients.sampling import Sampler
from tffcxr.errors import InputError
from tffcxr.learning import aggregators, privacy_accounting
from tffcxr.learning.schedules import Schedule
from tffcxr.training import federated, loop, privacy_ledger
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.noise_key import NoiseKey
from tffcxr.training.plan import Stage

RATE = Schedule("constant", 1e-3, 2)


def test_a_key_is_drawn_once_and_readable_by_its_owner_alone(tmp_path):
    path = tmp_path / "key"
    first = NoiseKey(path).seed(1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    np.testing.assert_array_equal(NoiseKey(path).seed(1), first)
    assert not np.array_equal(NoiseKey(tmp_path / "other").seed(1), first)
    assert not np.array_equal(NoiseKey().seed(1), NoiseKey().seed(1))


def test_seeds_differ_by_round_and_training(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(bytes(range(32)))
    seeds = {
        NoiseKey(path, training).seed(number).tobytes()
        for training in ("", "a", "b")
        for number in range(1, 101)
    }
    assert len(seeds) == 300
    expected = hmac.new(bytes(range(32)), b"a/7", hashlib.sha256).digest()[:16]
    assert NoiseKey(path, "a").seed(7).astype("<i8").tobytes() == expected


def test_a_damaged_key_is_refused(tmp_path):
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(InputError, match="key: expected the 32 bytes of the noise's key, found 5"):
        NoiseKey(tmp_path / "key").seed(1)
    with pytest.raises(InputError, match="expected a key that can be read or written, found "):
        NoiseKey(tmp_path).seed(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return example.client_data(tmp_path_factory.mktemp("clients"), north=4, south=4)


def train(folder, data, key, kill_in=None):
    """Two stages of two rounds; the arrays of the state after them."""
    stages = (Stage("head", 2, RATE, "representation"), Stage("all", 2, RATE))
    noisy = aggregators.differentially_private(1.0, 2.0)
    plan = example.plan(*stages, share="all", aggregator=noisy)
    evaluator = example.evaluator(data)
    sampler = Sampler(("north", "south"), None, seed=0)

    class Stopping(FederatedTraining):
        def advance(self, state, round_number, stage, rate):
            after = super().advance(state, round_number, stage, rate)
            if round_number == kill_in:
                raise example.Killed  # The round is done, and no checkpoint has it.
            return after

    training = Stopping(plan, data, sampler, evaluator, noise_key=NoiseKey(key))
    ledger = federated.ledger_of(
        dataclasses.replace(plan, privacy=privacy_ledger.Privacy(1.0)), sampler
    )
    journal = loop.Journal(
        folder / "rounds.csv", folder / "clients.csv", folder / "checkpoints", ledger=ledger
    )
    state = loop.run(training, plan, evaluator.columns, journal).state
    return [np.asarray(leaf).tobytes() for leaf in tf.nest.flatten(state)]


def test_a_training_that_is_killed_goes_on_with_the_same_noise(tmp_path, data):
    key = tmp_path / "key"
    whole = train(tmp_path / "whole", data, key)
    for kill_in in (1, 3):
        with pytest.raises(example.Killed):
            train(tmp_path / "killed", data, key, kill_in)
    assert train(tmp_path / "killed", data, key) == whole
    # The head is shared, too, so that each of the four rounds costs both clients.
    expected = [privacy_accounting.epsilon({1.0: rounds}, 1e-5) for rounds in (1, 2, 3, 4)]
    for folder in ("whole", "killed"):
        rows = csv.DictReader((tmp_path / folder / "rounds.csv").read_text().splitlines())
        assert [float(row["epsilon"]) for row in rows] == expected
    assert train(tmp_path / "other", data, tmp_path / "another key") != whole
