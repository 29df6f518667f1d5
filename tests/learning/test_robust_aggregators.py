"""Aggregators that a few clients cannot lead astray: results derived by hand."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr import runtime
from tffcxr.learning import robust_aggregators
from tffcxr.learning.robust_aggregators import RULES

LINE = np.float32([[0.0, 10], [1, 11], [2, 12], [4, 14], [100, -900]])


def combined(rule, rows, hostile=1):
    row, counted = RULES[rule](tf.constant(rows, tf.float32), hostile)
    return row.numpy(), counted.numpy().tolist()


@pytest.mark.parametrize(
    "rule,rows,hostile,expected",
    [
        ("median", LINE, 1, [2, 11]),
        ("median", LINE[:4], 1, [1.5, 11.5]),
        ("median", LINE[:1], 1, [0, 10]),
        ("trimmed_mean", LINE, 1, [7 / 3, 11]),
        ("trimmed_mean", LINE, 2, [2, 11]),
        ("trimmed_mean", LINE, 0, [21.4, -170.6]),
        ("trimmed_mean", LINE, 9, [2, 11]),  # As many as five allow.
        ("trimmed_mean", LINE[:2], 1, [0.5, 10.5]),
        ("krum", LINE, 1, [1.75, 11.75]),
        ("krum", LINE, 2, [1.75, 11.75]),  # Five bear one.
        ("krum", LINE[1:], 1, [26.75, -215.75]),  # Four bear none.
        ("krum", LINE[:1], 1, [0, 10]),
        # Of three on a line the middle, of an equilateral triangle the centre, of a square too.
        ("geometric_median", [[0, 0], [1, 0], [9, 0]], 1, [1, 0]),
        ("geometric_median", [[0, 0], [2, 0], [1, 3**0.5]], 1, [1, 1 / 3**0.5]),
        ("geometric_median", [[0, 0], [0, 2], [2, 0], [2, 2]], 1, [1, 1]),
        ("geometric_median", LINE[:1], 1, [0, 10]),
    ],
)  # fmt: skip
def test_by_hand(rule, rows, hostile, expected):
    row, _ = combined(rule, rows, hostile)
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", ["trimmed_mean", "krum"])
@pytest.mark.parametrize("hostile", [0, 1, 3])
@pytest.mark.parametrize("clients", [1, 2, 3, 4, 5, 6, 9, 10])
def test_how_many_are_borne_is_how_many_are_left_out(rule, hostile, clients):
    rows = np.zeros([clients, 1])
    borne = robust_aggregators.RobustFactory(rule, hostile).borne(clients)
    if rule == "krum":
        assert combined(rule, rows, hostile)[1].count(False) == borne
    else:  # So many far values do not move the mean, and one more does.
        rows[:borne] = 1.0
        assert combined(rule, rows, hostile)[0] == 0
        rows[borne] = 1.0
        assert combined(rule, rows, hostile)[0] > 0


def test_krum_says_whom_it_left_out():
    assert combined("krum", LINE)[1] == [True, True, True, True, False]
    assert combined("median", LINE)[1] == [True] * 5


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_clients_does_not_matter(rule):
    expected, counted = combined(rule, LINE)
    for order in itertools.islice(itertools.permutations(range(5)), 0, 120, 17):
        row, flags = combined(rule, LINE[list(order)])
        np.testing.assert_allclose(row, expected, rtol=1e-5)
        assert flags == [counted[client] for client in order]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [1e3, 1e10, 1e30])
def test_one_of_five_has_a_bounded_influence(rule, size):
    random = np.random.default_rng(0)
    rows = random.normal(1.0, 0.1, size=(5, 50)).astype(np.float32)
    rows[3] = -size * rows[3]
    row, _ = combined(rule, rows)
    honest = np.delete(rows, 3, axis=0)
    centre = honest.mean(axis=0)
    spread = np.linalg.norm(honest - centre, axis=1).max()
    # 2 (N - F) / (N - 2 F), as Pillutla et al. show of the geometric median.
    assert np.linalg.norm(row - centre) <= 8 / 3 * spread


def update(number, statistic):
    return collections.OrderedDict(
        trainable=(np.full([2, 1], number, np.float32), np.float32([number, 2 * number])),
        statistics=(np.float32([statistic]),),
    )


@pytest.mark.parametrize("executor", ["device", "native"])
def test_in_a_process_clients_that_failed_do_not_count(executor):
    runtime.use(executor)
    value_type = tff.types.to_type(tf.nest.map_structure(_type, update(0, 0)))
    factory = robust_aggregators.RobustFactory("median")
    process = factory.create(value_type, tff.TensorType(np.float32))
    updates = [update(*each) for each in ((1, 5), (np.nan, 1), (9, 9), (3, 7), (-4, 6))]
    output = process.next(process.initialize(), updates, [1.0, 1.0, 0.0, 20.0, 1.0])
    tf.nest.map_structure(np.testing.assert_array_equal, output.result, update(1, 6))
    assert output.measurements["counted"].tolist() == [1, 0, 0, 1, 1]
    output = process.next(output.state, updates, [0.0] * 5)
    tf.nest.map_structure(np.testing.assert_array_equal, output.result, update(0, 0))


def _type(value):
    return (value.dtype.type, list(value.shape))
