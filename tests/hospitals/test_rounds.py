"""Rounds over hospitals give the bits of rounds in one place."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.hospitals import runs
from tests.training import example
from tffcxr import runtime
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.sampling import Sampler
from tffcxr.clients.shards.preparation import ShardSpec, prepare
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.learning import aggregators
from tffcxr.learning.dp_sgd import DpSgd
from tffcxr.models import losses, segmentation_losses
from tffcxr.models.blocks import CxrModel
from tffcxr.models.spec import ModelSpec
from tffcxr.training.evaluators.mask_validation import MaskEvaluator
from tffcxr.training.evaluators.validation import FindingsEvaluator, Scorer
from tffcxr.training.plan import Plan
from tffcxr.training.quarantine import Quarantine

THREE_SITES = {site: (site,) for site in ("north", "south", "west")}
SEVERAL_CLIENTS = {"alps": ("north", "west"), "coast": ("south",)}


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.clients(tmp_path_factory.mktemp("clients"))


def check(tmp_path, setting, sampler=None, **settings):
    """Both kinds of training end with the same bits; the study."""
    study = runs.Study(tmp_path / "hospitals", setting, **settings)
    sampler = sampler or Sampler(study.client_ids, None, seed=0)
    rows, state = setting.local(tmp_path / "local", sampler)
    end = study.run(sampler)
    assert runs.rows_of(end) == rows
    assert not runs.left_out(study.folder)
    runs.assert_same_state(study, end.state, state)
    return study


@pytest.mark.parametrize("share", ["representation", "all"])
def test_the_same_bits_as_in_one_place(tmp_path, data, share):
    plan = example.plan(runs.HEAD, runs.ALL, share=share, keeps_optimizer=True)
    setting = runs.Setting(plan, data)
    rows, state = setting.local(tmp_path / "local")
    study = runs.Study(tmp_path / "hospitals", setting)
    study.shares = False  # Each builds its own computations, and they agree on what these are.
    end = study.run()
    assert runs.rows_of(end) == rows
    runs.assert_same_state(study, end.state, state)
    assert all(list(study.noted[site]) == [1, 2, 3] for site in study.sites)
    for row in end.clients:  # What a hospital notes of its clients is what the coordinator has.
        turn = study.noted[row["client"]][row["round"]][row["client"]]
        assert (turn.images, turn.loss / turn.labels) == (row["images"], row["train_loss"])


@pytest.fixture(scope="module")
def kept(data):
    """One stage with private layers and optimizers that last."""
    return runs.Setting(example.plan(runs.THREE, keeps_optimizer=True), data)


def test_clients_are_sampled(tmp_path, kept):
    for count, sites in ((1, runs.SITES), (2, THREE_SITES)):
        sampler = Sampler(tuple(sites), count, seed=3)
        drawn = [tuple(sampler.sample(number)) for number in (1, 2, 3)]
        assert len(set(drawn)) > 1
        check(tmp_path / str(count), kept, sampler, sites=sites, quorum=2)


class _AgainstWest(Quarantine):
    """Suspects one client, whatever it does."""

    def judge(self, rows):
        for row in rows:
            row["suspicion"] = "norm" if row["client"] == "west" else ""
        super().judge(rows)


def test_a_hospital_in_quarantine_is_not_asked_again(tmp_path, kept):
    listing = _AgainstWest("federated", Sampler(tuple(THREE_SITES), None, 0), excludes=True)
    study = runs.Study(
        tmp_path / "hospitals", kept, sites=THREE_SITES, quorum=3, quarantine=listing
    )
    end = study.run()
    asked = [(row["round"], row["client"]) for row in end.clients]
    assert [client for number, client in asked if number == 3] == ["north", "south"]
    assert (2, "west") in asked and "west" in study.finished
    rows, state = kept.local(tmp_path / "local", runs.Recorded.of(study.folder))
    assert runs.rows_of(end) == rows
    runs.assert_same_state(study, end.state, state)


def test_the_order_of_the_sites_does_not_matter(tmp_path, kept):
    sites = dict(reversed(THREE_SITES.items()))
    check(tmp_path, kept, sites=sites, quorum=3)


def test_a_hospital_may_have_several_clients(tmp_path, kept):
    study = check(tmp_path, kept, sites=SEVERAL_CLIENTS)
    assert study.private_states("alps", "west") and not study.private_states("coast", "west")


def test_nothing_is_kept_where_nothing_is_private(tmp_path, data):
    check(tmp_path, runs.Setting(example.plan(share="all"), data))


class CentredFactory(tff.aggregators.UnweightedAggregationFactory):
    """The sum of the values' absolute deviations from their mean, which takes two walks."""

    def create(self, value_type):
        @tff.federated_computation
        def initialize():
            return tff.federated_value((), tff.SERVER)

        @tff.tensorflow.computation(value_type, value_type)
        def deviation(value, mean):
            return tf.nest.map_structure(lambda v, m: tf.abs(v - m), value, mean)

        @tff.federated_computation(
            initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, values):
            mean = tff.federated_broadcast(tff.federated_mean(values))
            result = tff.federated_sum(tff.federated_map(deviation, (values, mean)))
            return tff.templates.MeasuredProcessOutput(
                state, result, tff.federated_value((), tff.SERVER)
            )

        return tff.templates.AggregationProcess(initialize, next_fn)


AGGREGATORS: dict[str, Callable[[], Any]] = {
    "robust": lambda: aggregators.make("robust"),
    "secure": lambda: aggregators.make("secure"),
    "compression": lambda: aggregators.make("compression"),
    # With noise, no two runs are the same.
    "dp": lambda: tff.aggregators.DifferentiallyPrivateFactory.gaussian_adaptive(
        0.0, 2.0, clipped_count_stddev=0.0
    ),
    "two walks": CentredFactory,
}


@pytest.mark.parametrize("name", AGGREGATORS)
def test_aggregators(tmp_path, data, name):
    plan = example.plan(runs.THREE, keeps_optimizer=True, aggregator=AGGREGATORS[name]())
    study = check(tmp_path, runs.Setting(plan, data))
    walks = {
        len(message.about["walks"]) for _, message in study.hub.sent if "walks" in message.about
    }
    assert walks == ({1, 2} if name == "two walks" else {1})


def test_each_hospital_has_the_seeds_of_the_noise_of_its_images(tmp_path, data):
    # Without noise, so that it is as in one place; without a seed, updates would not be finite.
    settings = DpSgd(noise_multiplier=0.0, clip=0.5, batch_size=4)
    check(tmp_path, runs.Setting(example.plan(runs.THREE, dp_sgd=settings), data))


def normed(data, *stages, batch_norm="recompute", **changes):
    """A setting of the model with batch norm."""
    source = example.NormSpec("standard", example.SIZE, 2, batch_norm)
    evaluator = FindingsEvaluator(Scorer(example.norm_model().keras, data), example.FINDINGS)
    return runs.Setting(Plan(source, stages, losses.batch_loss, **changes), data, evaluator)


@pytest.mark.parametrize("batch_norm", ["recompute", "local", "aggregate"])
def test_batch_norm(tmp_path, data, batch_norm):
    setting = normed(
        data, runs.HEAD, runs.ALL, batch_norm=batch_norm, keeps_optimizer=True, local_epochs=2
    )
    study = check(tmp_path, setting)
    # Hospitals know themselves how often they pass over their images: twice, then once to measure.
    assert not any("passes" in message.about for _, message in study.hub.sent)
    asked = collections.Counter(
        (site, message.about["round_number"])
        for site, message in study.hub.sent
        if message.kind == "compute"
    )
    again = 2 if batch_norm == "recompute" else 1
    assert asked == {(site, n): again if n > 1 else 1 for site in study.sites for n in (1, 2, 3)}


SIZE = 16


def masks(folder):
    """Images whose left half is bright, with masks of their top half."""
    records = {}
    for client, images in (("north", 3), ("south", 2)):
        rows = []
        for number in range(2 * images):
            pixels = np.full((SIZE, SIZE), 10 * number, np.uint8)
            pixels[:, :8] = 255
            path = folder / f"{client}-{number}.png"
            Image.fromarray(pixels).save(path)
            rows.append(
                {
                    "image": str(path),
                    "patient": f"{client}-{number}",
                    "mask": areas.Boxes(((0, 0, 16, 8 + number),), SIZE, SIZE),
                    "split": "train" if number < images else "validation",
                }
            )
        records[client] = pd.DataFrame(rows)
    spec = ShardSpec(SIZE, (), with_mask=True)
    return ClientData(prepare(records, spec, folder / "cache", progress=False), 2, seed=0)


class Segmenting(ModelSpec):
    """One convolution for a representation and one for the task block."""

    def build(self, frozen=None):
        images = x = tf.keras.Input((SIZE, SIZE, 1))
        start = tf.keras.initializers.HeNormal(1)
        x = tf.keras.layers.Conv2D(2, 3, padding="same", kernel_initializer=start, name="conv")(x)
        start = tf.keras.initializers.HeNormal(2)
        logits = tf.keras.layers.Conv2D(1, 1, kernel_initializer=start, name="task")(x)
        return CxrModel(tf.keras.Model(images, logits), ("conv",), ("task",), "conv")

    def structure(self, frozen=None):
        return self.build(frozen)


def mask_loss(batch, outputs):
    per_image = segmentation_losses.bce_dice(batch["masks"], outputs)
    return tf.reduce_sum(per_image), tf.cast(tf.size(per_image), tf.float32)


@pytest.mark.parametrize("scores_per_image", [True, False])
def test_masks(tmp_path, scores_per_image):
    data = masks(tmp_path)
    source = Segmenting("standard", SIZE, 1, "aggregate")
    evaluator = MaskEvaluator(
        source.build().keras, data, "Lungs", segmentation_losses.bce_dice, "validation"
    )
    setting = runs.Setting(Plan(source, (runs.ALL,), mask_loss), data, evaluator)
    limits = runs.Limits(scores_per_image=scores_per_image)
    if scores_per_image:
        check(tmp_path, setting, limits=limits)
        return
    rows, _ = setting.local(tmp_path / "local")
    end = runs.Study(tmp_path / "hospitals", setting, limits=limits).run()
    for row, expected in zip(end.rounds, rows):
        for column in evaluator.columns:  # Each is a mean of images, or of clients.
            assert row[column] == pytest.approx(float(expected[column]), rel=1e-12)
