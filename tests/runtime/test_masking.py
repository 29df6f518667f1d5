"""Masks cancel in the sum, to the bit, and in no other sum; what is sent tells nothing."""

import itertools

import numpy as np
import pytest

from tests.runtime.uniform_bytes import LARGEST_CHI_SQUARE, chi_square
from tffcxr.runtime import masking


def pairs_of(client, clients):
    """Each two have a secret of their own."""
    found = []
    for other in range(clients):
        if other != client:
            both = bytes(sorted([client, other]))
            key = masking.pair_key(b"secret" + both, b"round 1" + both)
            found.append(masking.Pair(key, client < other))
    return found


def sent(values, moduli, without=None):
    """What each client sends; `values` are those of each client."""
    return [
        masking.masked(of_client, moduli, pairs_of(client, len(values)))
        for client, of_client in enumerate(values)
        if client != without
    ]


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint16", "uint64"])
@pytest.mark.parametrize("clients", [2, 3, 5])
def test_the_sum_has_the_bits_of_the_plain_sum(dtype, clients):
    rng = np.random.default_rng(clients)
    limits = np.iinfo(dtype)
    values = [
        [
            rng.integers(limits.min, limits.max, shape, dtype)
            for shape in ((), (7,), (3, 0), (65, 1021))  # The last in more than one piece.
        ]
        for _ in range(clients)
    ]
    expected = [np.add.reduce(leaf, dtype=dtype) for leaf in zip(*values)]
    for order in itertools.islice(itertools.permutations(sent(values, [None] * 4)), 3):
        for found, leaf in zip(zip(*order), expected):
            assert np.add.reduce(found, dtype=dtype).tobytes() == leaf.tobytes()
            assert all(each.dtype == dtype and each.shape == leaf.shape for each in found)


@pytest.mark.parametrize("modulus", [2, 7, 2**31 - 1, 2**40, 2**63 - 25, 2**63])
def test_a_modular_sum_is_one_of_whole_numbers(modulus):
    dtype = "int32" if modulus < 2**31 else "uint64" if modulus == 2**63 else "int64"
    rng = np.random.default_rng(modulus % 1000)
    values = [[rng.integers(0, modulus, 50, dtype), np.array(modulus - 1, dtype)] for _ in range(3)]
    messages = sent(values, [modulus, modulus])
    for leaf in (0, 1):
        total = np.zeros_like(values[0][leaf])
        for message in messages:
            assert (message[leaf] >= 0).all() and (message[leaf] < modulus).all()
            total = masking.added_modulo(total, message[leaf], modulus)
        exact = sum(each[leaf].astype(object) for each in values) % modulus
        assert (total == exact).all()


def test_what_is_sent_is_uniform_whatever_it_hides():
    values = [[np.full(1 << 16, number, np.int64)] for number in (0, 5, 1 << 31)]
    messages = [message for (message,) in sent(values, [None])]
    for message in messages:
        assert chi_square(message) < LARGEST_CHI_SQUARE
        # Not even in comparison with the value that it hides, or with the next one.
        assert chi_square(np.diff(message)) < LARGEST_CHI_SQUARE
    assert chi_square(values[2][0]) > 1000 * LARGEST_CHI_SQUARE  # The test sees what is not.


def test_the_remainders_of_a_modulus_are_equally_frequent():
    modulus = 3 << 61  # A remainder of 64 bits would be below 2^61 half as often again.
    pair = masking.Pair(bytes(32), adds=True)
    (drawn,) = masking.masked([np.zeros(30_000, np.int64)], [modulus], [pair])
    thirds = np.bincount(drawn >> 61, minlength=3)
    assert (abs(thirds - 10_000) < 5 * 82).all()  # A standard deviation is sqrt(10,000 * 2/3).


def test_two_messages_reveal_nothing_of_the_third():
    values = [[np.arange(1 << 14)], [np.arange(1 << 14)[::-1]], [np.full(1 << 14, 7)]]
    others = sent(values, [None], without=2)
    # They are the same whatever the third has, and their sum is masked by what it shares with them.
    changed = [*values[:2], [np.full(1 << 14, -(10**6))]]
    for one, other in zip(others, sent(changed, [None], without=2)):
        assert one[0].tobytes() == other[0].tobytes()
    assert chi_square(others[0][0] + others[1][0]) < LARGEST_CHI_SQUARE
    plain = values[0][0] + values[1][0]
    assert chi_square(others[0][0] + others[1][0] - plain) < LARGEST_CHI_SQUARE


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_the_lowest_bytes_are_enough_for_the_sum(dtype):
    largest = 2**20 - 1 if dtype == "int32" else 2**32 - 1
    rng = np.random.default_rng(0)
    values = [[rng.integers(0, largest, (7, 3), dtype, endpoint=True)] for _ in range(3)]
    summand = masking.Summand(largest)
    size = summand.width(np.dtype(dtype), 3)
    # 64 * 3 * 2^20 is 0.75 * 2^28, of four bytes; 64 * 3 * 2^32 is 0.75 * 2^40, of five.
    assert size == {"int32": 4, "int64": 5}[dtype]
    narrow = [masking.narrowed(each, size) for (each,) in sent(values, [None])]
    assert {each.shape for each in narrow} == {(21, size)}
    total = sum(masking.widened(each, np.dtype(dtype), (7, 3)) for each in narrow)
    found = masking.widened(masking.narrowed(total, size), np.dtype(dtype), (7, 3))
    assert np.array_equal(found, sum(each for (each,) in values))


def test_as_many_bytes_are_sent_as_the_sum_needs():
    wide = np.dtype(np.int64)
    assert masking.Summand(2**32 - 1).width(wide, 4) == 5  # 64 * 4 * 2^32 = 2^40
    assert masking.Summand(2**32 - 1).width(wide, 5) == 6
    assert masking.Summand(1).width(wide, 2) == 1  # 64 * 2 * 2 = 2^8
    assert masking.Summand(1).width(wide, 3) == 2
    assert masking.Summand(2**62 - 1).width(wide, 2) == 8
    assert masking.Summand(2**32 - 1).width(np.dtype(np.int32), 2) == 4
    assert masking.Summand(255, modulus=256).width(wide, 9) == 1
    assert masking.Summand(256, modulus=257).width(wide, 9) == 2


def test_another_context_or_secret_gives_another_mask():
    keys = {
        masking.pair_key(secret, context)
        for secret in (b"a" * 32, b"b" * 32)
        for context in (b"round 1", b"round 2")
    }
    masks = {
        masking.masked([np.zeros(4, np.int64)], [None], [masking.Pair(key, adds)])[0].tobytes()
        for key in keys
        for adds in (True, False)
    }
    assert len(keys) == 4 and len(masks) == 8


def test_what_cannot_be_masked_is_refused():
    pairs = pairs_of(0, 2)
    with pytest.raises(TypeError, match="expected integers to mask, found float32"):
        masking.masked([np.zeros(2, np.float32)], [None], pairs)
    for value in (-1, 7):
        with pytest.raises(ValueError, match="expected values from 0 to 6 to mask"):
            masking.masked([np.array([3, value])], [7], pairs)
    assert "key" not in repr(pairs[0])
