"""Federated training over clients on disk: stages, failures, and what is shared."""

import collections
import csv
import functools
import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.training import example
from tffcxr import run_tables, runtime
from tffcxr.clients.sampling import Sampler
from tffcxr.learning.robust_aggregators import RobustFactory
from tffcxr.learning.schedules import Schedule
from tffcxr.training import loop
from tffcxr.training.centralised import CentralisedTraining
from tffcxr.training.checkpoints import Checkpoints
from tffcxr.training.evaluators.validation import FindingsEvaluator, Scorer
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.plan import Stage
from tffcxr.training.quarantine import Quarantine

RATE = Schedule("constant", 1e-3, 1)
HEAD = Stage("head", 1, RATE, "representation")
ALL = Stage("all", 1, RATE)
COLUMNS = [f"{f}/{name}" for f in example.FINDINGS for name in ("loss", "auroc", "aupr")]


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return example.client_data(tmp_path_factory.mktemp("clients"), north=12, south=8)


def _training(plan, data, per_round=None, kind=FederatedTraining):
    sampler = Sampler(("north", "south"), per_round, seed=0)
    return kind(plan, data, sampler, _evaluator(getattr(data, "all", data)))


@functools.cache
def _evaluator(data):
    """Measures any training on those images; traced once."""
    return example.evaluator(data)


class _Traced(FederatedTraining):
    """Traces a plan's processes, which hold no state, once for all tests that only run them."""

    def __init__(self, plan, *args):
        super().__init__(plan, *args)
        self._processes = self._of_plan(plan)

    @staticmethod
    @functools.cache
    def _of_plan(plan):
        return {}


class _Spoilt:
    """The clients' data with one client's pixels NaN."""

    def __init__(self, data, *clients):
        self.all = data
        self._clients = clients
        self.element_spec = data.element_spec

    def train_images(self, client):
        return self.all.train_images(client)

    def train_dataset(self, client, *args):
        dataset = self.all.train_dataset(client, *args)
        if client not in self._clients:
            return dataset
        return dataset.map(
            lambda batch: collections.OrderedDict(batch, images=batch["images"] * np.nan)
        )


def _run(folder, training, plan):
    journal = loop.Journal(folder / "rounds.csv", folder / "clients.csv", folder / "checkpoints")
    return loop.run(training, plan, COLUMNS, journal).state


def _split(weights):
    """(representation, task block)."""
    return weights[:-2], weights[-2:]


def test_the_head_is_trained_alone_and_carried_over(data):
    plan = example.plan(HEAD, ALL)
    training = _training(plan, data)
    start = [w.numpy() for w in example.model().keras.weights]
    state = training.initial_state(1)
    assert _all_equal(training.client_weights(state, 1)["north"], start)

    state, _ = training.advance(state, 1, HEAD, 1e-3)
    after_head = training.client_weights(state, 1)
    for client in ("north", "south"):
        base, head = _split(after_head[client])
        assert _all_equal(base, start[:-2])
        assert not _all_equal(head, start[-2:])
    assert not _all_equal(_split(after_head["north"])[1], _split(after_head["south"])[1])

    # A rate of zero shows what the second stage starts from.
    state, _ = training.advance(state, 2, ALL, 0.0)
    carried = training.client_weights(state, 2)
    for client in ("north", "south"):
        for ours, before in zip(carried[client], after_head[client]):
            np.testing.assert_allclose(ours, before, atol=1e-7)


def test_the_representation_is_shared_and_the_task_block_is_not(data):
    training = _training(example.plan(ALL), data, kind=_Traced)
    state, result = training.advance(training.initial_state(1), 1, ALL, 1e-3)
    weights = training.client_weights(state, 1)
    (north, north_head), (south, south_head) = map(_split, (weights["north"], weights["south"]))
    assert _all_equal(north, south)
    assert not _all_equal(north_head, south_head)
    assert [(c.client, c.images, c.status) for c in result.clients] == [
        ("north", 12, "ok"),
        ("south", 8, "ok"),
    ]
    labels = np.array([12, 8])
    losses = np.array([c.train_loss for c in result.clients])
    assert result.train_loss == pytest.approx((losses * labels).sum() / 20, rel=1e-5)
    assert set(result.validation_by_client) == {"north", "south"}
    assert np.isnan(result.validation_by_client["north"]["Effusion/loss"])
    assert result.validation["Effusion/loss"] == pytest.approx(
        result.validation_by_client["south"]["Effusion/loss"]
    )


def test_sharing_all_gives_every_client_the_same_model(data):
    training = _training(example.plan(ALL, share="all"), data)
    state, _ = training.advance(training.initial_state(1), 1, ALL, 1e-3)
    weights = training.client_weights(state, 1)
    assert _all_equal(weights["north"], weights["south"])


def test_a_client_that_is_not_drawn_keeps_its_task_block(data):
    training = _training(example.plan(ALL), data, per_round=1, kind=_Traced)
    start = training.client_weights(training.initial_state(1), 1)
    state, result = training.advance(training.initial_state(1), 1, ALL, 1e-3)
    (drawn,) = [client.client for client in result.clients]
    after = training.client_weights(state, 1)
    for client in ("north", "south"):
        same = _all_equal(_split(after[client])[1], _split(start[client])[1])
        assert same is (client != drawn)


@pytest.mark.parametrize("keeps", [False, True])
def test_a_client_that_is_alone_trains_as_in_one_place_where_it_keeps_its_optimizer(data, keeps):
    plan = example.plan(Stage("all", 3, RATE), keeps_optimizer=keeps)
    sampler = Sampler(("north",), None, seed=0)
    evaluator = _evaluator(data)
    federated = FederatedTraining(plan, data, sampler, evaluator)
    central = CentralisedTraining(plan, data, ["north"], evaluator)
    ours, theirs = federated.initial_state(1), central.initial_state(1)
    for number in (1, 2, 3):
        ours, _ = federated.advance(ours, number, plan.stages[0], 1e-3)
        theirs, _ = central.advance(theirs, number, plan.stages[0], 1e-3)
    pairs = zip(federated.client_weights(ours, 3)["north"], theirs["weights"])
    assert all(np.allclose(mine, other, atol=1e-5) for mine, other in pairs) is keeps


def test_a_client_with_nan_pixels_is_left_out_and_named(tmp_path, data):
    plan = example.plan(ALL)
    training = _training(plan, _Spoilt(data, "south"), kind=_Traced)
    _run(tmp_path, training, plan)
    # Its loss need not be NaN: some implementations of ReLU make NaN a zero.
    (spoilt,) = re.findall("\n1,south,8,.*,(.*)\n", (tmp_path / "clients.csv").read_text())
    assert spoilt == "layer conv1 is not finite"
    row = (tmp_path / "rounds.csv").read_text().splitlines()[1].split(",")
    assert row[2:5] == ["12", "1", "1"]
    assert np.isfinite(float(row[6]))


def test_when_all_fail_the_run_stops_with_the_cause_and_saves_nothing(tmp_path, data):
    plan = example.plan(ALL)
    training = _training(plan, _Spoilt(data, "north", "south"), kind=_Traced)
    with pytest.raises(
        loop.TrainingFailed,
        match=r"round 1: every client failed \(north: layer \w+ is not finite; south: ",
    ):
        _run(tmp_path, training, plan)
    assert not (tmp_path / "checkpoints").exists()
    assert len((tmp_path / "rounds.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize("aggregator", [None, RobustFactory("median")])
def test_what_a_server_sees_of_each_update_is_in_the_table(tmp_path, data, aggregator):
    plan = example.plan(ALL, aggregator=aggregator)
    training = _training(plan, _Spoilt(data, "south"))
    listing = Quarantine("federated", Sampler(("north", "south")), excludes=False)
    journal = loop.Journal(None, tmp_path / "clients.csv", None, quarantine=listing)
    loop.run(training, plan, COLUMNS, journal)
    with open(tmp_path / "clients.csv", newline="", encoding="utf-8") as file:
        north, south = csv.DictReader(file)
    assert list(north) == run_tables.client_columns(True)
    # The round's update is that of the only client that did not fail.
    assert float(north["update_norm"]) > 0 and north["counted"] == "1.0"
    assert float(north["cosine"]) == pytest.approx(1.0, abs=1e-5)
    assert (north["clipped"], north["cosine_others"]) == ("0.0", "nan")
    assert south["status"].endswith(" is not finite")
    assert (south["update_norm"], south["cosine"], south["counted"]) == ("nan", "nan", "0.0")


def test_stopped_between_and_within_stages_it_goes_on_bit_for_bit(tmp_path, data):
    stages = (HEAD, Stage("all", 2, Schedule("polynomial", 1e-3, 2)))
    plan = example.plan(
        *stages, server_optimizer="adam", server_learning_rate=0.01, keeps_optimizer=True
    )

    class Stopping(FederatedTraining):
        kill_in = None

        def advance(self, state, round_number, stage, rate):
            if round_number == self.kill_in:
                raise example.Killed
            return super().advance(state, round_number, stage, rate)

    first, second = (_training(plan, data, kind=Stopping) for _ in range(2))
    whole = _run(tmp_path / "whole", first, plan)
    # The first ends in round 2, after the head's; the second saves round 2 and ends in round 3.
    first.kill_in, second.kill_in = 2, 3
    for training in (first, second):
        with pytest.raises(example.Killed):
            _run(tmp_path / "killed", training, plan)
    resumed = _run(tmp_path / "killed", _training(plan, data), plan)
    ours, theirs = map(tf.nest.flatten, (resumed, whole))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs):
        np.testing.assert_array_equal(mine, other)


def _all_equal(ours, theirs):
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs))


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.1), ("float16", 0.02)])
@pytest.mark.parametrize("is_federated", [True, False])
def test_a_lower_precision_trains_nearly_as_float32(moved, precision, tolerance, is_federated):
    exact = moved("float32", is_federated)
    error = np.linalg.norm(moved(precision, is_federated) - exact)
    assert 0 < error < tolerance * np.linalg.norm(exact)


@pytest.fixture(scope="module")
def moved(data):
    """How far a round in a precision moves all weights of a client: float32 [W]."""
    model = example.spec(batch_norm="group").build().keras
    evaluator = FindingsEvaluator(Scorer(model, data), example.FINDINGS)
    start = model.get_weights()

    @functools.cache
    def train(precision, is_federated):
        plan = example.plan(ALL, precision=precision, batch_norm="group", optimizer="sgd")
        if is_federated:
            sampler = Sampler(("north", "south"), None, seed=0)
            federated = FederatedTraining(plan, data, sampler, evaluator)
            state, _ = federated.advance(federated.initial_state(1), 1, ALL, 0.05)
            weights = federated.client_weights(state, 1)["north"]
        else:
            training = CentralisedTraining(plan, data, ["north"], evaluator)
            state, _ = training.advance(training.initial_state(1), 1, ALL, 0.05)
            weights = state["weights"]
        return np.concatenate([np.ravel(a - b) for a, b in zip(weights, start)])

    return train


@pytest.fixture
def _native():
    stack = tff.framework.get_context_stack()
    before = stack.current
    yield lambda: runtime.use("native")
    if stack.current is not before:
        stack.current.close()
    stack.set_default_context(before)


def test_either_executor_goes_on_where_the_other_stopped(data, tmp_path, _native):
    plan = example.plan(Stage("all", 3, RATE), keeps_optimizer=True)
    weights = []
    for switches in (False, True):
        training = _training(plan, data, kind=_Traced)
        state = training.initial_state(1)
        for number in (1, 2, 3):
            if switches and number == 2:
                files = Checkpoints(tmp_path)
                files.save(1, state)
                restored = files.load_latest(training.initial_state)
                assert restored
                state = restored[1]
                _native()
            state, result = training.advance(state, number, plan.stages[0], 1e-3)
            assert all(client.status == "ok" for client in result.clients)
        weights.append(training.client_weights(state, 3))
    for client, expected in weights[0].items():
        for found, array in zip(weights[1][client], expected):
            np.testing.assert_allclose(found, array, rtol=1e-3, atol=1e-5)
