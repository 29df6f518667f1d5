"""What is unusual in one client's part of a round, allowing for what honest clients differ by.

Four clients or more are compared, each with the others:

  not finite  its weights or its loss are no numbers.
  norm        its update is longer than those of the others explain. An honest update may be longer
              by as much as the client took more steps (Wang et al., "Tackling the Objective
              Inconsistency Problem in Heterogeneous Federated Optimization", NeurIPS 2020), and by
              as much as its gradient is larger, which is 1 - p by each logit for an image whose
              label has the probability p, so that of the loss L follows 1 - exp(-L). Both are what
              the client says of itself. So its images count as far as they were known before the
              rounds, and its loss for no more than any loss could, which is 1 / (1 - exp(-L)) of
              another with the loss L, and 50 at most. The rest is judged by the median absolute
              deviation of the others' logarithms of lengths.
  direction   its update points against those of most others, which agree with each other, although
              its loss is as theirs. A client with another mixture of labels pulls into another
              direction, too, but its loss differs from that of the others.
  loss        the model cannot tell its labels apart, which it can those of the others: its images
              are ordered by their scores among those of all clients, by label. That does not depend
              on how frequent a label is at a client, so that other mixtures of labels are nothing
              unusual. For masks, which have no such mixture, its training loss is above those of
              the others.

Of a known spread, a deviation of more than three would have the probability 0.0013 in a round under
normal errors. Here the spread is that of few others: where logarithms of honest lengths have a
standard deviation of 0.2, a client is suspected in less than 0.0002 of the rounds, of 0.3 in 0.005
with three others and 0.002 with nine, of 0.5 in 0.044 and 0.017 (200,000 simulated rounds each).
See `quarantine` for what that means over rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math

import numpy as np

from tffcxr import run_tables

NOT_FINITE, NORM, DIRECTION, LOSS = run_tables.SUSPICIONS

_LEAST_CLIENTS = 4  # Three others have a median and a spread.
_DEVIATIONS = 3.0
_MAD_TO_SIGMA = 1.4826  # Of a normal distribution.
# Ours: the least spread of logarithms that clients are taken to have, about 35 %.
_LEAST_SPREAD = 0.3
_OPPOSED = -0.2  # Cosine.
_ALIKE = math.log(1.5)  # Of losses.
_MOST_BY_LOSS = math.log(50.0)  # Ours: what a higher loss explains at most of a longer update.
_CHANCE, _KNOWN = 0.5, 0.7  # Share of pairs in order.


@dataclasses.dataclass(frozen=True)
class Part:
    """What is known of a client's part of a round.

    Attributes:
      failed: whether something was not finite; the rest does not count then.
      images: that it trained on, repetitions included, as it says.
      train_loss: mean over its labels.
      norm: of its update; NaN where it is not known.
      cosine_others: median of the cosines of the angles with each of the others.
      order: see `orders`; None where it is not known.
      most_images: that it can have trained on by what was known before the rounds; NaN for nothing,
        and then images explain nothing.
    """

    failed: bool
    images: int
    train_loss: float
    norm: float
    cosine_others: float
    order: Order | None = None
    most_images: float = math.nan


@dataclasses.dataclass(frozen=True)
class Order:
    """How well scores order a client's images among those of all clients.

    Attributes:
      share: of images of other labels, the mean share that is on the right side; 1/2 by chance.
      error: its standard error.
    """

    share: float
    error: float


def of(parts: Mapping[str, Part], compares_losses: bool = False) -> dict[str, tuple[str, ...]]:
    """The reasons, of `run_tables.SUSPICIONS`, to suspect each client, by its part of one round.

    Args:
      parts: of the clients that took part.
      compares_losses: whether honest clients' training losses are alike.
    """
    names = sorted(parts)
    sound = [name for name in names if not parts[name].failed and parts[name].images > 0]
    found = {name: [NOT_FINITE] if parts[name].failed else [] for name in names}
    if len(sound) >= _LEAST_CLIENTS:
        of_sound = [parts[name] for name in sound]
        lost = _high_losses(of_sound) if compares_losses else _lost(of_sound)
        for reason, flags in (
            (NORM, _long(of_sound)),
            (DIRECTION, _opposed(of_sound)),
            (LOSS, lost),
        ):
            for name, flag in zip(sound, flags):
                if flag:
                    found[name].append(reason)
    return {name: tuple(reasons) for name, reasons in found.items()}


def orders(clients: Sequence[str], labels: np.ndarray, scores: np.ndarray) -> dict[str, Order]:
    """How well scores order each client's images among all, over all outputs of a model.

    The share of an image is its placement value (DeLong et al., Biometrics 1988): of the images
    with the other label, by how many its score is on the right side. Its mean over all images with
    a label is the area under the ROC curve.

    Args:
      clients: of each of N images.
      labels: [N, F], 1 present, 0 absent, NaN unknown.
      scores: [N, F].

    Returns:
      The clients with at least two images that can be placed.
    """
    placements: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    of_image = np.asarray(clients, object)
    for label, score in zip(labels.T, scores.T):
        usable = np.isfinite(score)
        present, absent = (label == 1) & usable, (label == 0) & usable
        if present.any() and absent.any():
            placements += [
                _above(score[present], score[absent]),
                _above(-score[absent], -score[present]),
            ]
            owners += [of_image[present], of_image[absent]]
    if not placements:
        return {}
    placement, owner = np.concatenate(placements), np.concatenate(owners)
    found = {}
    for client in sorted(set(owner)):
        own = placement[owner == client]
        if len(own) > 1:
            # Not below that of chance: few images may agree by luck.
            spread = max(float(np.std(own, ddof=1)), 12**-0.5)
            found[str(client)] = Order(float(np.mean(own)), spread / len(own) ** 0.5)
    return found


def _above(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of the others that each value is above; ties count half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return below / (2.0 * len(others))


def _long(parts: Sequence[Part]) -> list[bool]:
    """Whether each update is longer than those of the others explain."""
    norms = _logarithms([part.norm for part in parts])
    errors = _logarithms(-np.expm1([-part.train_loss for part in parts]))
    images = _logarithms([np.minimum(part.images, part.most_images) for part in parts])
    flags = []
    for place in range(len(parts)):
        others = [
            other for other in range(len(parts)) if other != place and math.isfinite(norms[other])
        ]
        if not math.isfinite(norms[place]) or len(others) < _LEAST_CLIENTS - 1:
            flags.append(False)
            continue
        by_images = np.maximum(images[place] - images[others], 0.0)
        by_loss = np.clip(errors[place] - errors[others], 0.0, _MOST_BY_LOSS)
        allowed = np.nan_to_num(by_images) + np.nan_to_num(by_loss)
        excess = np.median(norms[place] - norms[others] - allowed)
        flags.append(bool(excess > _DEVIATIONS * _spread(norms[others])))
    return flags


def _opposed(parts: Sequence[Part]) -> list[bool]:
    """Whether each update points against the others', with a loss as theirs."""
    cosines = np.array([part.cosine_others for part in parts])
    losses = _logarithms([part.train_loss for part in parts])
    flags = []
    for place, cosine in enumerate(cosines):
        others = np.delete(np.arange(len(parts)), place)
        agree = np.median(cosines[others]) > 0  # False with a NaN.
        is_alike = abs(losses[place] - np.median(losses[others])) < _ALIKE
        flags.append(bool(cosine < _OPPOSED and agree and is_alike))
    return flags


def _high_losses(parts: Sequence[Part]) -> list[bool]:
    """Whether each training loss is above those of the others."""
    losses = _logarithms([part.train_loss for part in parts])
    flags = []
    for place, loss in enumerate(losses):
        others = np.delete(losses, place)
        others = others[np.isfinite(others)]
        is_judged = len(others) >= _LEAST_CLIENTS - 1
        flags.append(is_judged and bool(loss - np.median(others) > _DEVIATIONS * _spread(others)))
    return flags


def _lost(parts: Sequence[Part]) -> list[bool]:
    """Whether the labels of each client are other ones than those that the model has learnt."""
    flags = []
    for place, part in enumerate(parts):
        others = [o.order.share for i, o in enumerate(parts) if i != place and o.order is not None]
        if part.order is None or len(others) < _LEAST_CLIENTS - 1:
            flags.append(False)
            continue
        typical = float(np.median(others))
        highest = part.order.share + _DEVIATIONS * part.order.error
        flags.append(typical > _KNOWN and highest < (_CHANCE + typical) / 2)
    return flags


def _logarithms(values: Sequence[float] | np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(np.asarray(values, np.float64))
    return np.where(np.isfinite(found), found, np.nan)


def _spread(logarithms: np.ndarray) -> float:
    """The robust standard deviation of logarithms, at least `_LEAST_SPREAD`."""
    deviation = np.median(np.abs(logarithms - np.median(logarithms)))
    return max(_MAD_TO_SIGMA * float(deviation), _LEAST_SPREAD)
