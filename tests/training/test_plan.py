"""A plan checks itself, and knows which stage a round belongs to."""

import dataclasses

import numpy as np
import pytest

from tests.training import example
from tffcxr.errors import InputError
from tffcxr.learning.schedules import Schedule
from tffcxr.models import losses
from tffcxr.training.plan import Plan, Stage

RATE = Schedule("constant", 0.1, 5)


def _plan(*stages, **options):
    return Plan(example.spec(), stages, losses.batch_loss, **options)


def test_all_trainings_start_from_the_weights_of_one_build():
    built = []

    class Counted(example.SmallSpec):
        def build(self, frozen=None):
            built.append(frozen)
            return super().build(frozen)

    counted = Counted("standard", example.SIZE, len(example.FINDINGS))
    plan = Plan(counted, (Stage("all", 1, RATE),), losses.batch_loss)
    first, again = (p.initial_weights() for p in (plan, dataclasses.replace(plan, share="all")))
    # Its model serves for tracing as well, unless a block is frozen.
    assert plan.structure() is plan.structure()
    assert built == [None]
    plan.structure("representation")
    assert built == [None, "representation"]
    for ours, other, model in zip(first, again, example.model().keras.weights):
        np.testing.assert_array_equal(ours, model)
        np.testing.assert_array_equal(other, model)


def test_rounds_are_counted_through_the_stages():
    head, everything = Stage("head", 3, RATE, "representation"), Stage("all", 5, RATE)
    plan = _plan(head, everything)
    assert plan.rounds == 8
    assert [plan.stage_of(number) for number in (1, 3, 4, 8)] == [
        (0, head),
        (0, head),
        (3, everything),
        (3, everything),
    ]
    with pytest.raises(ValueError, match="round 9 is after the last, 8"):
        plan.stage_of(9)


def test_a_stage_has_rounds():
    with pytest.raises(InputError, match="head rounds: expected at least 1, found 0"):
        Stage("head", 0, RATE)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"local_epochs": 0}, "local epochs: expected at least 1, found 0"),
        ({"share": "task"}, "share: expected one of .*'all'.*, found 'task'"),
        ({"proximal": -1.0}, "proximal: expected at least 0, found -1.0"),
        ({"weighting": "size"}, "weighting: expected one of .*'uniform'.*, found 'size'"),
        ({"optimizer": "lamb"}, "client optimizer: .*found 'lamb'"),
        ({"momentum": 0.9}, "momentum 0.9 goes with the optimizer 'sgd'"),
        ({"server_optimizer": "lamb"}, "server optimizer: .*found 'lamb'"),
        ({"server_learning_rate": 0.0}, "server learning rate: expected above 0, found 0.0"),
    ],
)
def test_bad_values_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        _plan(Stage("all", 1, RATE), **options)


def test_a_plan_without_stages():
    with pytest.raises(InputError, match="at least one stage, found none"):
        _plan()
