"""The clients of a round are a function of (seed, round)."""

import collections

import pytest

from tffcxr.clients import sampling
from tffcxr.errors import InputError

IDS = tuple(f"client_{i}" for i in range(10))


def test_all_clients_by_default():
    assert sampling.Sampler(IDS[::-1]).sample(3) == sorted(IDS)


@pytest.mark.parametrize(
    ("request_", "count"), [(3, 3), (10, 10), (0.3, 3), (0.25, 3), (0.01, 1), (1.0, 10), (1, 1)]
)
def test_counts_and_fractions(request_, count):
    drawn = sampling.Sampler(IDS, request_, seed=1).sample(1)
    assert len(drawn) == len(set(drawn)) == count
    assert drawn == sorted(drawn)


def test_a_round_is_a_function_of_seed_and_number():
    sampler, same, other = (
        sampling.Sampler(ids, 3, s) for ids, s in ((IDS, 1), (IDS[::-1], 1), (IDS, 2))
    )
    rounds = [sampler.sample(number) for number in range(20)]
    assert rounds == [same.sample(number) for number in range(20)]
    assert rounds[7] == sampler.sample(7)  # In any order, as after a resume.
    assert rounds != [other.sample(number) for number in range(20)]
    assert len({tuple(drawn) for drawn in rounds}) > 10


def test_every_client_is_drawn_about_equally_often():
    sampler = sampling.Sampler(IDS, 0.5, seed=0)
    drawn = collections.Counter(c for number in range(1000) for c in sampler.sample(number))
    # Binomial(1000, 1/2) has a standard deviation of 16.
    assert all(abs(drawn[client] - 500) < 80 for client in IDS)


@pytest.mark.parametrize(("text", "value"), [("all", None), ("5", 5), ("0.5", 0.5), ("1.0", 1.0)])
def test_parse(text, value):
    parsed = sampling.parse_clients_per_round(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["some", "0", "-1", "0.0", "1.5", "nan", ""])
def test_parse_refuses_what_cannot_be_meant(text):
    with pytest.raises(InputError, match=f"'all', a count of at least 1 .* found '{text}'"):
        sampling.parse_clients_per_round(text)


@pytest.mark.parametrize("request_", [0, 11, -1, 0.0, 1.5, float("nan")])
def test_impossible_requests(request_):
    with pytest.raises(InputError, match="clients_per_round"):
        sampling.Sampler(IDS, request_)


def test_impossible_clients():
    with pytest.raises(InputError, match="at least one client"):
        sampling.Sampler(())
    with pytest.raises(InputError, match="repeated"):
        sampling.Sampler(("a", "a"))
