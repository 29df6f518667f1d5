"""Tiny clients, a plan and a fake training, for the tests of what joins them."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
import tensorflow as tf

from tffcxr import options
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards.preparation import ShardSpec, prepare
from tffcxr.learning.schedules import Schedule
from tffcxr.models import losses
from tffcxr.models.blocks import CxrModel
from tffcxr.models.spec import ModelSpec
from tffcxr.training.evaluators.validation import FindingsEvaluator, Scorer
from tffcxr.training.loop import ClientResult, RoundResult
from tffcxr.training.plan import Plan, Stage

FINDINGS = ("Opacity", "Effusion")
SIZE = 32


def client_data(folder: pathlib.Path, batch_size: int = 4, **images: int) -> ClientData:
    """Shards of clients with that many images for training, and 6 each to validate and test.

    The first client labels opacities, which are bright discs, the second effusions.
    """
    records = {}
    for place, (client, count) in enumerate(images.items()):
        rng = np.random.default_rng(place)
        rows = []
        for number in range(count + 12):
            present = number % 2
            pixels = rng.normal(90, 8, (SIZE, SIZE))
            if present:
                pixels[8:20, 6:20] += 80
            path = folder / "images" / f"{client}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
            row: dict[str, object] = {
                "image": str(path),
                "patient": f"{client}-{number}",
                "site": client,
            }
            row.update(dict.fromkeys(FINDINGS, np.nan))
            row[FINDINGS[place % 2]] = float(present)
            row["split"] = "train"
            if number >= count:
                row["split"] = "validation" if number < count + 6 else "test"
            rows.append(row)
        records[client] = pd.DataFrame(rows)
    store = prepare(records, ShardSpec(SIZE, FINDINGS), folder / "cache", workers=1, progress=False)
    return ClientData(store, batch_size, seed=0)


@dataclasses.dataclass(frozen=True)
class SmallSpec(ModelSpec):
    """One convolution and the task block instead of a network's layers, which take long to trace.

    With batch_norm="group" a group norm follows the convolution.
    """

    def build(self, frozen: options.Frozen = None) -> CxrModel:
        """Always with the same initial weights."""
        dtype = self.precision if self.precision == "float32" else f"mixed_{self.precision}"
        trained: dict[str, Any] = {"dtype": dtype, "trainable": frozen is None}
        layers, initializers = tf.keras.layers, tf.keras.initializers
        images = x = tf.keras.Input((self.image_size, self.image_size, self.channels))
        x = layers.Rescaling(4.0, offset=-2.0, dtype=dtype)(x)
        start = initializers.HeNormal(self.seed)
        x = layers.Conv2D(4, 3, strides=2, kernel_initializer=start, name="conv1", **trained)(x)
        if self.batch_norm == "group":
            x = layers.GroupNormalization(2, name="norm1", **trained)(x)
        x = layers.Flatten(dtype=dtype)(layers.ReLU(dtype=dtype, name="relu1")(x))
        start = initializers.RandomNormal(stddev=0.01, seed=self.seed)
        logits = layers.Dense(self.outputs, kernel_initializer=start, name="task")(x)
        model = tf.keras.Model(images, logits)
        representation = [layer.name for layer in model.layers[:-1] if layer.weights]
        return CxrModel(model, tuple(representation), ("task",), "relu1")

    def structure(self, frozen: options.Frozen = None) -> CxrModel:
        """There is no file of weights."""
        return self.build(frozen)


def norm_model(frozen: options.Frozen = None) -> CxrModel:
    """Batch norm of the images themselves, so that its statistics are theirs."""
    images = tf.keras.Input((SIZE, SIZE, 1))
    norm = tf.keras.layers.BatchNormalization(name="norm", trainable=frozen is None)
    pooled = tf.keras.layers.GlobalAveragePooling2D()(norm(images))
    logits = tf.keras.layers.Dense(2, kernel_initializer="zeros", name="task")(pooled)
    return CxrModel(tf.keras.Model(images, logits), ("norm",), ("task",), "norm")


@dataclasses.dataclass(frozen=True)
class NormSpec(ModelSpec):
    """A description of `norm_model` instead of a network's."""

    def build(self, frozen: options.Frozen = None) -> CxrModel:
        """Always with the same initial weights."""
        return norm_model(frozen)

    def structure(self, frozen: options.Frozen = None) -> CxrModel:
        """There is no file of weights."""
        return norm_model(frozen)


def spec(
    precision: options.Precision = "float32", batch_norm: options.BatchNorm = "aggregate"
) -> SmallSpec:
    """The small model, always with the same initial weights."""
    return SmallSpec("standard", SIZE, len(FINDINGS), batch_norm, precision)


def model(frozen: options.Frozen = None) -> CxrModel:
    """The model of `spec`."""
    return spec().build(frozen)


def plan(
    *stages: Stage,
    precision: options.Precision = "float32",
    batch_norm: options.BatchNorm = "aggregate",
    **changes: Any,
) -> Plan:
    """Two rounds of Adam unless told otherwise."""
    stages = stages or (Stage("all", 2, Schedule("constant", 1e-3, 2)),)
    return Plan(spec(precision, batch_norm), stages, losses.batch_loss, **changes)


def evaluator(data: ClientData) -> FindingsEvaluator:
    """Measures the small model."""
    return FindingsEvaluator(Scorer(model().keras, data), FINDINGS)


class FakeTraining:
    """A loop.Training whose state is a random walk that depends on the round's rate.

    Args:
      kill_in: the round in which `advance` stops like a kill, None for none.
    """

    def __init__(self, kill_in: int | None = None):
        self._kill_in = kill_in

    def initial_state(self, round_number):
        _, stage = fake_plan().stage_of(round_number)
        width = 2 if stage.name == "head" else 3
        return collections.OrderedDict(weights=np.zeros(width), rounds=np.int64(0))

    def advance(self, state, round_number, stage, learning_rate):
        if round_number == self._kill_in:
            raise Killed
        weights = state["weights"]
        if stage.name == "all" and len(weights) == 2:
            weights = np.append(weights, 7.0)
        step = np.random.default_rng(round_number).normal(size=len(weights))
        weights = weights + learning_rate * step
        loss = float(np.abs(weights).sum())
        state = collections.OrderedDict(weights=weights, rounds=state["rounds"] + 1)
        clients = (
            ClientResult("north", 10, loss),
            ClientResult("south", 5, float("nan"), "layer conv1 is not finite"),
        )
        values = {"Opacity/loss": loss, "Opacity/auroc": 1 / round_number, "Opacity/aupr": 0.5}
        return state, RoundResult(clients, loss, values, {"north": values})


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def fake_plan(patience: int = 0) -> Plan:
    """Two rounds of the head and four with a rate that depends on the losses."""
    return Plan(
        spec(),
        (
            Stage("head", 2, Schedule("constant", 1.0, 2), "representation"),
            Stage("all", 4, Schedule("plateau", 0.5, 4, factor=0.5, patience=0), patience=patience),
        ),
        lambda batch, outputs: (tf.constant(0.0), tf.constant(0.0)),
    )
