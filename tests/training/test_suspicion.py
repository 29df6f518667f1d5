"""What is suspicious in a client's part of a round, and what honest clients may differ by."""

import dataclasses
import math

import numpy as np
import pytest

from tffcxr.training import loop, suspicion, update_rows
from tffcxr.training.suspicion import Order, Part

NAN = math.nan
HONEST = Part(False, 160, 0.5, 1.0, 0.6, most_images=160)
NAMES = "abcde"


def found(compares_losses=False, **changes):
    """The reasons to suspect each of five clients, which are alike but for these changes."""
    parts = {
        name: dataclasses.replace(HONEST, **{"norm": 1.0 + 0.02 * place, **changes.get(name, {})})
        for place, name in enumerate(NAMES)
    }
    flagged = suspicion.of(parts, compares_losses)
    return {name: reasons for name, reasons in flagged.items() if reasons}


def test_clients_that_are_alike_are_not_suspected():
    assert found() == {}


@pytest.mark.parametrize(
    "changes,reasons",
    [
        ({"norm": 10.0}, ("norm",)),
        ({"norm": 2.0}, ()),  # e^(3 * 0.3) = 2.46 is allowed.
        ({"norm": 0.01}, ()),
        # After forty times as many steps an update may be forty times as long.
        ({"norm": 40.0, "images": 6400, "most_images": 6400}, ()),
        ({"norm": 400.0, "images": 6400, "most_images": 6400}, ("norm",)),
        # Not by images that nobody knew of.
        ({"norm": 40.0, "images": 6400}, ("norm",)),
        ({"norm": 40.0, "images": 6400, "most_images": NAN}, ("norm",)),
        ({"norm": 2.0, "images": 6400, "most_images": NAN}, ()),
        # With a loss of 0.5, 1 - e^-0.5 = 0.39 of a label's probability is missing. With 1.5 it is
        # 2.0 times as much, with any loss 2.54 times; that and 2.46 are 6.25.
        ({"norm": 4.0}, ("norm",)),
        ({"norm": 4.0, "train_loss": 1.5}, ()),
        ({"norm": 6.0, "train_loss": 1.5}, ("norm",)),
        ({"norm": 6.0, "train_loss": 50.0}, ()),
        ({"norm": 7.0, "train_loss": 1e6}, ("norm",)),
        ({"norm": 4.0, "train_loss": NAN}, ("norm",)),
        ({"norm": 5.0, "cosine_others": -0.9}, ("norm", "direction")),
        ({"cosine_others": -0.9}, ("direction",)),
        ({"cosine_others": -0.9, "train_loss": 1.5}, ()),  # Other data, another direction.
        ({"cosine_others": -0.1}, ()),
        ({"failed": True, "norm": NAN, "cosine_others": NAN}, ("not finite",)),
        ({"images": 0, "train_loss": NAN, "norm": NAN, "cosine_others": NAN}, ()),
        ({"norm": 0.0, "cosine_others": NAN}, ()),
    ],
)
def test_one_that_differs(changes, reasons):
    assert found(c=changes) == ({"c": reasons} if reasons else {})


def test_among_clients_that_have_nearly_no_loss_a_loss_explains_fifty_times_at_most():
    known = {name: {"train_loss": 1e-6} for name in NAMES}
    assert found(**known) == {}
    for norm, reasons in ((100.0, {}), (150.0, {"c": ("norm",)})):  # 50 * 2.46 = 123.
        assert found(**{**known, "c": {"train_loss": 5.0, "norm": norm}}) == reasons


@pytest.mark.parametrize("factor", [10.0, 1e3, 1e6])
def test_who_says_to_have_more_of_all_is_suspected_still(factor):
    results = [
        loop.ClientResult(name, 160, 0.5, update_norm=1.0, cosine_others=0.6) for name in NAMES
    ]
    says = {"images": int(160 * factor), "train_loss": 0.5 * factor, "update_norm": factor}
    results[2] = dataclasses.replace(results[2], **says)
    known = dict.fromkeys(NAMES, 160)
    # A client whose number of images is not known can have as many as the others.
    for images in (known, {**known, "c": 0}, dict.fromkeys(NAMES, 0)):
        found = update_rows.with_suspicions(results, images, {}, False)
        assert [result.suspicion for result in found] == ["", "", "norm", "", ""]
    # It is not where it was known before to have them, and its loss explains no more.
    known["c"] = int(160 * factor)
    found = update_rows.with_suspicions(results, known, {}, False)
    assert not any(result.suspicion for result in found)


def test_those_who_are_opposed_to_others_that_do_not_agree_are_not_suspected():
    opposed = {"cosine_others": -0.5}
    assert found(a=opposed, b=opposed, c=opposed, d=opposed) == {}


def test_where_honest_clients_lengths_differ_more_is_allowed():
    lengths = {"a": {"norm": 0.3}, "b": {"norm": 3.0}, "c": {"norm": 10.0}, "e": {"norm": 0.1}}
    assert found(**lengths) == {}


def test_of_three_clients_nobody_is_unusual_but_who_failed():
    parts = dict.fromkeys("ab", HONEST)
    parts["c"] = dataclasses.replace(HONEST, norm=1e9)
    assert not any(suspicion.of(parts).values())
    parts["c"] = dataclasses.replace(HONEST, failed=True)
    assert suspicion.of(parts) == {"a": (), "b": (), "c": ("not finite",)}


def test_losses_are_compared_where_honest_ones_are_alike():
    assert found(True, d={"train_loss": 2.0}) == {"d": ("loss",)}
    assert found(True, d={"train_loss": 1.0}) == {}
    assert found(False, d={"train_loss": 2.0}) == {}


def test_orders_by_hand():
    clients = ["a", "a", "b", "b", "c"]
    labels = np.array([[1], [0], [1], [0], [np.nan]], np.float32)
    scores = np.array([[0.9], [0.1], [0.2], [0.2], [0.5]], np.float32)
    orders = suspicion.orders(clients, labels, scores)
    # The positive of a is above both negatives and its negative below both positives; each image of
    # b is right with that of a and tied with its own.
    assert {name: order.share for name, order in orders.items()} == {"a": 1.0, "b": 0.75}
    # The standard deviation of chance, 1 / sqrt(12), is more than theirs.
    assert orders["a"].error == pytest.approx((12 * 2) ** -0.5)


def _orders(rng, prevalences, images, flipped=()):
    """Of clients whose scores are N(0, 1) and N(3, 1) by the true label: an AUROC of 0.983."""
    clients, labels, scores = [], [], []
    for client, prevalence in prevalences.items():
        truth = rng.random(images) < prevalence
        clients += [client] * images
        scores.append(rng.normal(3.0 * truth))
        labels.append(~truth if client in flipped else truth)
    return suspicion.orders(
        clients, np.concatenate(labels)[:, None].astype(np.float32), np.concatenate(scores)[:, None]
    )


@pytest.mark.parametrize("clients", [5, 10])
@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_other_mixtures_of_labels_are_not_suspicious_but_turned_ones_are(alpha, clients):
    names = "abcdefghij"[:clients]
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        prevalences = dict(zip(names, rng.beta(alpha, alpha, clients)))
        for flipped in ((), ("a",)):
            orders = _orders(rng, prevalences, 100, flipped)
            parts = {name: dataclasses.replace(HONEST, order=orders.get(name)) for name in names}
            found.append((flipped, [n for n, r in suspicion.of(parts).items() if r]))
    false = [name for flipped, listed in found for name in listed if name not in flipped]
    assert not false
    hits = [listed == ["a"] for flipped, listed in found if flipped]
    assert np.mean(hits) > 0.85


def test_a_model_that_has_learnt_nothing_tells_nobody_apart():
    unknown = {name: {"order": Order(0.5, 0.01)} for name in NAMES}
    assert (
        found(
            **unknown,
        )
        == {}
    )
    known = {name: {"order": Order(0.9, 0.02)} for name in NAMES}
    assert found(**known) == {}
    assert found(**{**known, "b": {"order": Order(0.5, 0.05)}}) == {"b": ("loss",)}
    assert found(**{**known, "b": {"order": Order(0.5, 0.2)}}) == {}
