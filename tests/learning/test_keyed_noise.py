"""The noise that a seed decides: its size, its independence, and that nothing goes out without."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.learning import tiny
from tffcxr import runtime
from tffcxr.learning import aggregators, keyed_noise
from tffcxr.runtime import computation_ids

SIZES = (4000, 1000)
CLIENTS, MULTIPLIER = 2.0, 1.5
SEED = np.array([3, 4])


@pytest.fixture(scope="module")
def process():
    runtime.use_device_unless_chosen()
    factory = aggregators.differentially_private(MULTIPLIER, CLIENTS)
    types = tff.types.to_type([(np.float32, (size,)) for size in SIZES])
    return factory.create(types)


def updates(value: float = 0.0):
    return [[np.full(size, value, np.float32) for size in SIZES]] * int(CLIENTS)


def noised(process, seed=SEED, sent=None):
    state = keyed_noise.with_seed(process.initialize(), np.asarray(seed))
    return process.next(state, updates() if sent is None else sent)


def noise(process, seed=SEED):
    return np.concatenate(noised(process, seed).result)


def norm(output):
    return float(output.state.query_state.query.numerator_state.sum_state.l2_norm_clip)


def test_the_same_seed_gives_the_same_bits_and_another_gives_others(process):
    first, again, other = noised(process), noised(process), noised(process, [3, 5])
    assert [a.tobytes() for a in first.result] == [a.tobytes() for a in again.result]
    assert norm(first) == norm(again) != norm(other)
    assert not np.intersect1d(np.concatenate(first.result), np.concatenate(other.result)).size


def test_a_round_is_the_same_computation_with_any_noise(process):
    # A hospital does not know the coordinator's, and yet builds the computation that it is asked.
    types = tff.types.to_type([(np.float32, (size,)) for size in SIZES])
    other = aggregators.differentially_private(7.0, 50.0, clip=3.0).create(types)
    ids = [computation_ids.computation_id(each.next) for each in (process, other)]
    assert ids[0] == ids[1]
    assert norm(noised(other)) != norm(noised(process))


def test_the_deviation_is_that_of_tff(process):
    stock = tff.aggregators.DifferentiallyPrivateFactory.gaussian_adaptive(
        MULTIPLIER, CLIENTS, clipped_count_stddev=MULTIPLIER
    ).create(tff.types.to_type([(np.float32, (size,)) for size in SIZES]))
    theirs = np.concatenate(stock.next(stock.initialize(), updates()).result)
    # By Andrew et al.: z_updates = (1.5^-2 - (2 * 1.5)^-2)^-1/2 = 3^1/2, the norm 0.1.
    expected = 0.1 * 3**0.5 / CLIENTS
    draws = np.stack([noise(process, [1, number]) for number in range(20)])
    assert np.std(draws) == pytest.approx(expected, rel=0.02)
    assert np.std(theirs) == pytest.approx(expected, rel=0.05)
    assert abs(np.mean(draws)) < 5 * expected / draws.size**0.5
    within = [np.mean(np.abs(draws) < k * expected) for k in (1, 2, 3)]
    assert within == pytest.approx([0.6827, 0.9545, 0.9973], abs=0.006)  # Of a normal one.


def test_rounds_and_tensors_are_independent(process):
    rounds = [noise(process, [1, number]) for number in range(4)]
    parts = [part for each in rounds for part in np.split(each, 5)]  # The last is a tensor.
    found = [np.corrcoef(a, b)[0, 1] for a, b in itertools.combinations(parts, 2)]
    assert np.max(np.abs(found)) < 5 / 1000**0.5
    assert np.std(found) == pytest.approx(1 / 1000**0.5, rel=0.25)


def test_the_count_by_which_the_norm_adapts_has_noise_of_its_own(process):
    # Both updates are below the norm: it changes by exp(-0.2 * (1 + noise - 0.5)).
    outputs = [noised(process, [1, number]) for number in range(60)]
    fractions = np.log(np.array([norm(output) for output in outputs]) / 0.1) / -0.2 + 0.5
    assert np.all((fractions > -1e-4) & (fractions < 1 + 1e-4))
    # Noise of 1.5 / 2 on a fraction of 1, cut to 0 to 1: above 1 in half of the rounds.
    assert np.mean(fractions > 1 - 1e-4) == pytest.approx(0.5, abs=0.25)
    of_updates = [np.mean(output.result[1]) for output in outputs]
    assert abs(np.corrcoef(fractions, of_updates)[0, 1]) < 0.5


def test_no_noise_serves_two_sums(process):
    """Otherwise their difference would be known without noise."""
    ones, other = updates(1e-4), updates(1e-4)
    other[0] = [part.copy() for part in other[0]]
    other[0][1][-1] += 1e-6
    first, second = (noised(process, sent=sent).result for sent in (ones, other))
    between = np.concatenate(first) - np.concatenate(second)
    assert np.std(between) == pytest.approx(2**0.5 * 0.1 * 3**0.5 / CLIENTS, rel=0.1)


def test_without_a_seed_nothing_is_given_away(process):
    state = process.initialize()
    assert keyed_noise.takes_seed(state)
    assert np.all(np.isnan(np.concatenate(process.next(state, updates()).result)))
    after = noised(process).state  # The seed of a round is not in the state after it.
    assert not np.any(after.query_state.noise_seed)
    assert np.all(np.isnan(np.concatenate(process.next(after, updates()).result)))


def test_other_aggregators_take_no_seed():
    federated = tiny.scalar_process()
    state = federated.initialize()
    assert federated.with_noise_seed(state, lambda: pytest.fail("asked for a seed")) is state


def test_a_federated_process_gets_the_seed_and_adds_the_noise():
    factory = aggregators.differentially_private(1.0, 1.0)
    federated = tiny.scalar_process(aggregator=factory)
    state = federated.with_noise_seed(federated.initialize(), lambda: SEED)
    empty = collections.OrderedDict(images=np.ones([1, 1]), labels=np.zeros([1, 1]))
    data = tf.data.Dataset.from_tensor_slices(empty).map(
        lambda row: {name: tf.cast(value, tf.float32)[None] for name, value in row.items()}
    )
    client = tiny.client(federated.initialize_client(), data)
    moved = [federated.next(state, [client])[0]["weights"]["trainable"][0] for _ in range(2)]
    assert moved[0] == moved[1] != 0.0  # The update itself is 0.
