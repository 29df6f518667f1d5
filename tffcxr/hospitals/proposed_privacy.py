"""How much differential privacy a proposal leaves a hospital's patients, at most, by its settings.

Whoever takes part in all rounds loses that much; the baselines and private layers that stay at the
hospital cost nothing. Settings come from the coordinator, so none is taken to be what it should be:
one that is no number, or out of its range, protects nobody.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
import math
from typing import TYPE_CHECKING, Any

from tffcxr import options

if TYPE_CHECKING:
    from tffcxr.hospitals.proposals import Proposal
    from tffcxr.learning import privacy_accounting

_MOST_RELEASES = 10**6
_NOISE = (1e-3, 1e6)
_TARGET = (1e-3, 1e6)


def number(value: Any) -> float:
    """A setting as a number, also one that `--only` gives as text; NaN if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def delta(settings: Mapping[str, Any]) -> float:
    """The delta of the study's own epsilons; NaN if it is none."""
    found = number(settings.get("dp_delta", options.DP_DELTA))
    return found if 1e-12 <= found < 0.5 else math.nan


def networks(proposal: Proposal) -> list[Mapping[str, Any]]:
    """The settings of each network that is trained."""
    of = proposal.trainings()
    named = proposal.settings.get("model")
    names = dict.fromkeys(map(str, named)) if isinstance(named, list) else {}
    return [of.get(name, of[""]) for name in names] or list(of.values())


def of_client(networks: Sequence[Mapping[str, Any]], delta: float) -> float:
    """The epsilon of all images of a hospital together (`--aggregator=dp`).

    The coordinator adds that noise, and the hospital cannot see whether it does.

    Args:
      networks: the settings of each.
      delta: of the epsilon.

    Returns:
      Infinity where one is trained without noise.
    """
    return _composed([_client_releases(settings) for settings in networks], delta)


def of_image(networks: Sequence[Mapping[str, Any]], delta: float) -> float:
    """The epsilon of each image (`--dp_sgd_noise`, added by the hospital itself).

    Args:
      networks: the settings of each.
      delta: of the epsilon.

    Returns:
      Infinity where one is trained without noise.
    """
    return _composed([_image_releases(settings) for settings in networks], delta)


def _composed(of_networks: list[privacy_accounting.Releases | None], delta: float) -> float:
    from tffcxr.learning import privacy_accounting  # Takes a second.

    releases: collections.Counter[float] = collections.Counter()
    for found in of_networks:
        if found is None:
            return math.inf
        releases.update(found)
    return privacy_accounting.epsilon(releases, delta)


def _client_releases(settings: Mapping[str, Any]) -> privacy_accounting.Releases | None:
    rounds = _rounds(settings)
    if settings.get("aggregator") != "dp" or rounds is None:
        return None
    if settings.get("target_epsilon") is None:
        noise = number(settings.get("dp_noise_multiplier"))
        return {noise: rounds} if _NOISE[0] <= noise <= _NOISE[1] else None
    target, of_study = number(settings["target_epsilon"]), delta(settings)
    if not _TARGET[0] <= target <= _TARGET[1] or math.isnan(of_study):
        return None
    from tffcxr.learning import privacy_accounting

    return {privacy_accounting.noise_for(target, max(1, rounds), of_study): rounds}


def _image_releases(settings: Mapping[str, Any]) -> privacy_accounting.Releases | None:
    rounds, epochs = _rounds(settings), number(settings.get("local_epochs", 1))
    noise = number(settings.get("dp_sgd_noise", 0.0))
    if rounds is None or not _NOISE[0] <= noise <= _NOISE[1]:
        return None
    if not epochs.is_integer() or not 1 <= epochs * max(1, rounds) <= _MOST_RELEASES:
        return None
    return {noise: rounds * int(epochs)}


def _rounds(settings: Mapping[str, Any]) -> int | None:
    """Rounds of a training, those of the task block alone included; None if that is no number."""
    found = number(settings.get("rounds")) + number(settings.get("head_rounds", 0))
    return int(found) if found.is_integer() and 0 <= found <= _MOST_RELEASES else None
