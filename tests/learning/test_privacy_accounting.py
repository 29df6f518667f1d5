"""Epsilon against dp_accounting called by hand, closed forms, and what must hold of any epsilon."""

from __future__ import annotations

import math

import dp_accounting
from dp_accounting import pld, rdp
import pytest
from scipy import optimize, stats

from tffcxr.learning import privacy_accounting
from tffcxr.learning.privacy_accounting import LEFT_OUT, REPLACED, epsilon

DELTA = 1e-5


def gaussian(distance, delta):
    """Epsilon of one Gaussian release (Balle and Wang, "Improving the Gaussian Mechanism", 2018).

    Args:
      distance: what a neighbour changes, in standard deviations of the noise.
      delta: the delta.
    """

    def excess(found):
        low, high = distance / 2 - found / distance, -distance / 2 - found / distance
        return stats.norm.cdf(low) - math.exp(found + stats.norm.logcdf(high)) - delta

    return optimize.brentq(excess, 0.0, distance**2 + 10 * distance + 1, xtol=1e-12)


@pytest.mark.parametrize(("noise", "rounds"), [(1.0, 1), (5.0, 12), (20.0, 30)])
def test_epsilon_is_that_of_the_closed_form_and_of_dp_accounting(noise, rounds):
    # Replacing an update of norm C moves the sum by 2 C; leaving it out by C.
    for neighbours, moved in ((REPLACED, 2.0), (LEFT_OUT, 1.0)):
        found = epsilon({noise: rounds}, DELTA, neighbours)
        distance = moved * math.sqrt(rounds) / noise
        assert found == pytest.approx(gaussian(distance, DELTA), rel=1e-5)
        event = dp_accounting.GaussianDpEvent(noise / moved)
        accountant = pld.PLDAccountant(neighbours).compose(event, rounds)
        assert found == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-5)


def test_a_sample_that_nobody_knows_is_that_of_dp_accounting():
    event = dp_accounting.SampledWithoutReplacementDpEvent(
        100, 10, dp_accounting.GaussianDpEvent(1.5 / 2)
    )
    by_hand = rdp.RdpAccountant(neighboring_relation=REPLACED)
    by_hand.compose(dp_accounting.SelfComposedDpEvent(event, 40))
    found = privacy_accounting.epsilon_of_secret_samples(1.5, 100, 10, 40, DELTA)
    assert by_hand.get_epsilon(DELTA) <= found < 1.001 * by_hand.get_epsilon(DELTA)
    # Samples of nearly all clients hide hardly anybody, and the bound is larger than that.
    nearly = privacy_accounting.epsilon_of_secret_samples(1.5, 5, 4, 4, DELTA)
    assert nearly == epsilon({1.5: 4}, DELTA)


def test_little_noise_has_an_upper_bound_and_none_protects_nobody():
    exact = gaussian(2 / 0.05, DELTA)
    assert exact <= epsilon({0.05: 1}, DELTA) < 1.1 * exact
    assert epsilon({0.0: 1}, DELTA) == math.inf
    assert privacy_accounting.right_guesses({0.0: 1}) == 1.0
    assert epsilon({}, DELTA) == epsilon({1.0: 0}, DELTA) == 0.0
    assert privacy_accounting.right_guesses({}) == 0.5


def test_more_rounds_cost_more_and_more_noise_less():
    by_rounds = [epsilon({2.0: rounds}, DELTA) for rounds in (1, 2, 5, 20, 400)]
    assert by_rounds == sorted(by_rounds) and len(set(by_rounds)) == 5
    by_noise = [epsilon({noise: 10}, DELTA) for noise in (0.1, 0.5, 2.0, 8.0, 100.0)]
    assert by_noise == sorted(by_noise, reverse=True) and len(set(by_noise)) == 5
    assert epsilon({2.0: 5}, 1e-3) < epsilon({2.0: 5}, 1e-6)


def test_trainings_of_different_noise_add_up():
    # 4 releases at 2 and 9 at 3 are as 2 at 1: 4 / 2^2 + 9 / 3^2 = 2 / 1^2.
    found = epsilon({2.0: 4, 3.0: 9}, DELTA)
    assert found == pytest.approx(epsilon({1.0: 2}, DELTA), rel=1e-4)


def test_guesses_are_those_between_two_normal_distributions():
    # Two means at a distance of 2 sqrt(4) / 8 standard deviations, told apart in the middle.
    found = privacy_accounting.right_guesses({8.0: 4})
    assert found == pytest.approx(stats.norm.cdf(0.25), rel=1e-6)


@pytest.mark.parametrize("target", [0.1, 1.0, 8.0, 70.0])
def test_a_target_is_met_and_not_by_far_too_much_noise(target):
    noise = privacy_accounting.noise_for(target, 17, DELTA)
    assert 0.9999 * target < epsilon({noise: 17}, DELTA) <= target


def test_poisson_batches_are_those_of_published_examples():
    """TF Privacy's `compute_dp_sgd_privacy_test.py`, and the table of its MNIST tutorial.

    The table is of the conversion from Renyi's epsilon of Mironov 2017 (Proposition 3), which the
    accountant has improved since; the Renyi epsilons must be the same.
    """
    found = privacy_accounting.epsilon_of_poisson_batches(1.3, 60_000, 150, 15, DELTA)
    assert found == pytest.approx(0.7242234026109595, rel=1e-6)
    for noise, passes, expected in ((1.3, 15, 1.19), (1.1, 60, 3.01), (0.7, 45, 7.10)):
        batch = dp_accounting.PoissonSampledDpEvent(
            256 / 60_000, dp_accounting.GaussianDpEvent(noise)
        )
        accountant = rdp.RdpAccountant().compose(batch, passes * 60_000 // 256)
        of_2017 = min(
            epsilon + math.log(1 / DELTA) / (order - 1)
            for order, epsilon in zip(accountant.orders, accountant.rdp)
        )
        assert of_2017 == pytest.approx(expected, abs=0.005)
        found = privacy_accounting.epsilon_of_poisson_batches(noise, 60_000, 256, passes, DELTA)
        assert 0.75 * of_2017 < found < of_2017
    # A batch of all images is one release in each pass.
    whole = privacy_accounting.epsilon_of_poisson_batches(2.0, 10, 16, 3, DELTA)
    assert epsilon({2.0: 3}, DELTA, LEFT_OUT) < whole < 1.2 * epsilon({2.0: 3}, DELTA, LEFT_OUT)
    assert privacy_accounting.epsilon_of_poisson_batches(1.0, 0, 16, 3, DELTA) == 0


def test_the_last_smaller_batch_of_a_pass_is_a_step_too():
    found = [
        privacy_accounting.epsilon_of_poisson_batches(1.0, images, 16, 2, DELTA)
        for images in (31, 32)
    ]
    # Two steps a pass of either, and 16 of 31 images are drawn more often than 16 of 32.
    assert found[0] > found[1]
