"""What differential privacy clients have: epsilon at a fixed delta, by Google's `dp_accounting`.

A release is the noised sum of one round's updates, with the noised count by which the clipping
adapts, see `aggregators`. Each update is clipped to the norm C, and the sum has Gaussian noise of
standard deviation z C, with z the noise multiplier of both together.

Neighbours: all data of one client are replaced by any others (REPLACED). Who takes part is no
secret: the sampling follows from the run's seed, and `clients.csv` names the clients of a round. So
a client loses privacy in the rounds that it takes part in and in no other, and the sampling as such
hides nobody. Replacing an update moves the sum by up to 2 C, and the count, of terms of 1/2 and
-1/2, by 1: twice what `dp_accounting` calls the sensitivity of a `GaussianDpEvent`, which is that
of a client that is left out (LEFT_OUT). Its noise multiplier is therefore z / 2 here. The
accountants of dp_accounting do not do that by themselves, whatever relation they are given.

Gaussian releases compose to one of a smaller multiplier (Dong, Roth, Su, "Gaussian Differential
Privacy", JRSS B 2022), whose epsilon is exact; `PLDAccountant` gives it to some six digits, never
too small.
"""

from __future__ import annotations

from collections.abc import Mapping
import math

import dp_accounting
from dp_accounting import pld, rdp

REPLACED = dp_accounting.NeighboringRelation.REPLACE_ONE
LEFT_OUT = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE

# How many releases there were of each noise multiplier.
Releases = Mapping[float, int]

# Beyond it, epsilon is above 500 and the exact distribution takes seconds and gigabytes.
_MOST_EXACT = 30.0
_STEP = 1e-3
# Renyi orders; those of dp_accounting are four times as many, take a second, and give the same to
# a thousandth.
_ORDERS = (1.1, 1.25, 1.5, 1.75, *range(2, 33), 40, 48, 64, 128)


def epsilon(
    releases: Releases, delta: float, neighbours: dp_accounting.NeighboringRelation = REPLACED
) -> float:
    """The epsilon of releases that depend on a client.

    Args:
      releases: by noise multiplier, how many rounds the client took part in.
      delta: above 0 and below 1.
      neighbours: REPLACED or LEFT_OUT.

    Returns:
      0 without a release, infinity without noise.
    """
    if not any(releases.values()):
        return 0.0
    accountant = _accountant(releases, neighbours)
    return 0.0 if accountant is None else float(accountant.get_epsilon(delta))


def epsilon_of_secret_samples(
    noise_multiplier: float, clients: int, sampled: int, rounds: int, delta: float
) -> float:
    """The epsilon if nobody learned who took part in which round.

    By the bound of Wang, Balle, Kasiviswanathan, "Subsampled Renyi Differential Privacy and
    Analytical Moments Accountant", AISTATS 2019, for samples of fixed size without replacement, and
    REPLACED; where that bound is above the epsilon of taking part in all rounds, the latter.

    Args:
      noise_multiplier: of the rounds.
      clients: of whom each round draws.
      sampled: how many.
      rounds: so far.
      delta: see `epsilon`.
    """
    event = dp_accounting.SampledWithoutReplacementDpEvent(
        clients, sampled, _event(noise_multiplier, REPLACED)
    )
    accountant = rdp.RdpAccountant(_ORDERS, neighboring_relation=REPLACED)
    found = float(accountant.compose(event, rounds).get_epsilon(delta))
    return min(found, epsilon({noise_multiplier: rounds}, delta))


def epsilon_of_poisson_batches(
    noise_multiplier: float, images: int, batch_size: int, passes: int, delta: float
) -> float:
    """The epsilon of an image that is left out, if batches were drawn as papers mostly assume.

    That is, if each image were in each batch with the same probability, independently of all
    others (Abadi et al., CCS 2016; Mironov, Talwar, Zhang, "Renyi Differential Privacy of the
    Sampled Gaussian Mechanism", 2019). Shuffled batches have no such guarantee (Chua et al., "How
    Private are DP-SGD Implementations?", ICML 2024).

    Args:
      noise_multiplier: of a batch.
      images: how many there are.
      batch_size: in images.
      passes: over the images.
      delta: see `epsilon`.
    """
    if not images or not passes:
        return 0.0
    batch = dp_accounting.PoissonSampledDpEvent(
        min(1.0, batch_size / images), _event(noise_multiplier, LEFT_OUT)
    )
    accountant = rdp.RdpAccountant(neighboring_relation=LEFT_OUT)
    steps = passes * -(-images // batch_size)  # The last batch of a pass may be smaller.
    return float(accountant.compose(batch, steps).get_epsilon(delta))


def right_guesses(releases: Releases) -> float:
    """How often the best guess is right which of two possible data sets a client has, at most.

    Both are equally likely, and whoever guesses knows them, all else, and the releases: 0.5 is no
    better than a coin. It is (1 + d) / 2, with d the total variation distance of what is released.

    Args:
      releases: see `epsilon`.
    """
    if not any(releases.values()):
        return 0.5
    accountant = _accountant(releases, REPLACED)
    return 0.5 if accountant is None else min(1.0, (1.0 + float(accountant.get_delta(0.0))) / 2)


def noise_for(target_epsilon: float, releases: int, delta: float) -> float:
    """The least noise multiplier, up to a millionth, with which `epsilon` is at most a target.

    Args:
      target_epsilon: above 0.
      releases: rounds that the client with most rounds takes part in, at least 1.
      delta: see `epsilon`.
    """
    # At this distance of neighbours, relative to the noise, epsilon is more than the target.
    most = max(1.0, math.sqrt(2 * target_epsilon))
    while epsilon({2 / most: 1}, delta) <= target_epsilon:
        most *= 2
    least_noise = 2 * math.sqrt(releases) / most
    step = _STEP * most
    noise = dp_accounting.calibrate_dp_mechanism(
        lambda: pld.PLDAccountant(REPLACED, step),
        lambda found: dp_accounting.SelfComposedDpEvent(_event(found, REPLACED), releases),
        target_epsilon,
        delta,
        dp_accounting.LowerEndpointAndGuess(least_noise, 2 * least_noise),
        tol=1e-6 * least_noise,
    )
    # The accountants' grids differ in the seventh digit.
    while epsilon({noise: releases}, delta) > target_epsilon:
        noise *= 1 + 1e-6
    return float(noise)


def _accountant(
    releases: Releases, neighbours: dp_accounting.NeighboringRelation
) -> dp_accounting.PrivacyAccountant | None:
    """What has accounted the releases; None if they have so much noise that they tell nothing."""
    events = [(_event(noise, neighbours), count) for noise, count in releases.items() if count]
    if any(event.noise_multiplier == 0 for event, _ in events):
        distance = math.inf
    else:
        distance = math.sqrt(sum(count / event.noise_multiplier**2 for event, count in events))
    if distance == 0:
        return None
    accountant: dp_accounting.PrivacyAccountant
    if distance > _MOST_EXACT:
        accountant = rdp.RdpAccountant(neighboring_relation=neighbours)
    else:
        accountant = pld.PLDAccountant(neighbours, _STEP * distance)
    for event, count in events:
        accountant.compose(event, count)
    return accountant


def _event(
    noise_multiplier: float, neighbours: dp_accounting.NeighboringRelation
) -> dp_accounting.GaussianDpEvent:
    """A release, with its noise relative to what a neighbour changes."""
    return dp_accounting.GaussianDpEvent(noise_multiplier / (2 if neighbours is REPLACED else 1))
