"""A scaled loss gives the same steps, and one that overflows costs a step and half the scale."""

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.learning import optimizers
from tffcxr.learning.loss_scale import loss_scale

START = (tf.constant([1.0, 2.0]), tf.constant([3.0]))
GRADIENT = (tf.constant([0.5, -1.0]), tf.constant([2.0]))


def _scaled():
    return optimizers.client_optimizer("adam", 0.1, scales_loss=True)


def _initial(optimizer):
    return optimizer.initialize(tf.nest.map_structure(lambda w: tf.TensorSpec(w.shape), START))


def _times(factor):
    return tf.nest.map_structure(lambda g: g * factor, GRADIENT)


def test_steps_are_those_of_the_optimizer_inside():
    plain, scaled = optimizers.client_optimizer("adam", 0.1), _scaled()
    state, expected = _initial(plain), START
    scaled_state, found = _initial(scaled), START
    for _ in range(3):
        state, expected = plain.next(state, expected, GRADIENT)
        scaled_state, found = scaled.next(scaled_state, found, _times(loss_scale(scaled_state)))
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)
    assert loss_scale(state) == 1.0


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_an_overflow_moves_nothing_and_halves_the_scale(bad):
    optimizer = _scaled()
    state, weights = optimizer.next(_initial(optimizer), START, _times(100.0))
    after, same = optimizer.next(state, weights, (GRADIENT[0], tf.constant([bad])))
    tf.nest.map_structure(np.testing.assert_array_equal, same, weights)
    tf.nest.map_structure(np.testing.assert_array_equal, after["inner"], state["inner"])
    assert loss_scale(after) == loss_scale(state) / 2


def test_the_scale_never_falls_below_one():
    optimizer = _scaled()
    state = _initial(optimizer)
    for _ in range(20):
        state, _ = optimizer.next(state, START, _times(np.inf))
    assert loss_scale(state) == 1.0


def test_the_scale_doubles_after_many_good_steps():
    optimizer = _scaled()
    state = _initial(optimizer)
    first = loss_scale(state)
    state["good_steps"] = tf.constant(1999)
    state, _ = optimizer.next(state, START, GRADIENT)
    assert loss_scale(state) == 2 * first
    assert state["good_steps"] == 0


def test_the_learning_rate_reaches_the_optimizer_inside():
    optimizer = _scaled()
    state = optimizer.set_hparams(_initial(optimizer), {"learning_rate": 0.25})
    assert optimizer.get_hparams(state)["learning_rate"] == 0.25
