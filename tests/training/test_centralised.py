"""The baseline trains as Keras does, and fails as loudly as the federation."""

import collections
import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf

from tests.training import example
from tffcxr.learning.schedules import Schedule
from tffcxr.training import loop
from tffcxr.training.centralised import CentralisedTraining, Turns
from tffcxr.training.plan import Stage

RATE = 1e-3
ALL = Stage("all", 2, Schedule("constant", RATE, 2))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return example.client_data(tmp_path_factory.mktemp("clients"), north=12, south=8)


def _training(plan, data, *clients):
    return CentralisedTraining(plan, data, clients, example.evaluator(data))


def test_two_rounds_are_two_epochs_of_keras(data):
    plan = example.plan(ALL, optimizer="sgd", momentum=0.9)
    training = _training(plan, data, "north", "south")
    state = training.initial_state(1)
    for number in (1, 2):
        state, result = training.advance(state, number, ALL, 0.05)

    model = example.model().keras
    optimizer = tf.keras.optimizers.SGD(0.05, momentum=0.9)
    for number in (1, 2):
        for batch in data.train_dataset(["north", "south"], number, 1):
            known = tf.cast(~tf.math.is_nan(batch["labels"]), tf.float32)
            labels = tf.where(known > 0, batch["labels"], 0.0)
            with tf.GradientTape() as tape:
                losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, model(batch["images"]))
                loss = tf.reduce_sum(losses * known) / tf.reduce_sum(known)
            variables = model.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    start = example.model().keras.get_weights()
    for ours, keras, before in zip(state["weights"], model.get_weights(), start):
        np.testing.assert_allclose(ours, keras, rtol=1e-3, atol=2e-6)
        assert not np.allclose(ours, before, atol=1e-5)
    (client,) = result.clients
    assert (client.client, client.images, client.status) == ("north+south", 20, "ok")


def test_trainings_at_once_share_what_is_traced_and_nothing_else(data):
    plan = example.plan(ALL)

    def two_rounds(training):
        state = training.initial_state(1)
        for number in (1, 2):
            state, _ = training.advance(state, number, ALL, RATE)
        return state

    sites = ("north", "south")
    turns = Turns(plan, data.element_spec)
    evaluator = example.evaluator(data)
    together = [CentralisedTraining(plan, data, [site], evaluator, turns) for site in sites]
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        found = list(executor.map(two_rounds, together))
    for site, state in zip(sites, found):
        alone = two_rounds(_training(plan, data, site))
        for ours, theirs in zip(state["weights"], alone["weights"]):
            np.testing.assert_array_equal(ours, theirs)
    assert any(np.any(a != b) for a, b in zip(found[0]["weights"], found[1]["weights"]))


def test_local_epochs_are_passes_over_all_images(data):
    training = _training(example.plan(ALL, local_epochs=3), data, "south")
    _, result = training.advance(training.initial_state(1), 1, ALL, RATE)
    assert result.clients[0].images == 3 * 8


def test_the_optimizer_lasts_for_a_stage_and_no_longer(data):
    head = Stage("head", 2, ALL.schedule, "representation")
    training = _training(example.plan(head, ALL), data, "south")
    state = training.initial_state(1)
    steps = []
    for number, stage in ((1, head), (2, head), (3, ALL)):
        state, _ = training.advance(state, number, stage, RATE)
        steps.append(int(state["optimizer"]["step"]))
        start = example.model().keras.get_weights()
        frozen = all(np.array_equal(a, b) for a, b in zip(state["weights"][:-2], start))
        assert frozen is (stage is head)
    assert steps == [2, 4, 2]


def test_it_learns_and_says_how_well(data):
    training = _training(example.plan(ALL, local_epochs=8), data, "north")
    state, result = training.advance(training.initial_state(1), 1, ALL, 3e-3)
    state, result = training.advance(state, 2, ALL, 3e-3)
    assert result.train_loss < 0.6
    assert result.validation["Opacity/auroc"] > 0.9
    assert np.isnan(result.validation["Effusion/auroc"])


def test_a_state_survives_a_checkpoint(tmp_path, data):
    plan = example.plan(ALL)

    def run(folder):
        journal = loop.Journal(folder / "rounds.csv", None, folder / "checkpoints")
        return loop.run(
            _training(plan, data, "south"), plan, example.evaluator(data).columns, journal
        ).state

    first = run(tmp_path)
    (tmp_path / "checkpoints" / "round_000002.npz").unlink()
    again = run(tmp_path)
    for ours, theirs in zip(tf.nest.flatten(again), tf.nest.flatten(first)):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_that_are_not_finite_stop_it(data):
    class Spoilt:
        element_spec = data.element_spec
        evaluation_dataset = data.evaluation_dataset

        def train_dataset(self, *args):
            return data.train_dataset(*args).map(
                lambda batch: collections.OrderedDict(batch, images=batch["images"] * np.nan)
            )

    training = _training(example.plan(ALL), Spoilt(), "south")
    with pytest.raises(loop.TrainingFailed, match="epoch 1 of south: .*not finite; a lower"):
        training.advance(training.initial_state(1), 1, ALL, RATE)
