"""A study whose programs are killed, and whose connections break, ends with the bits of its rounds.

`TFFCXR_KILLS=20` strikes each kind of victim so often, in programs that run as users start them.
Without, a hospital is killed once and a message is cut once, in forks, which start fast. What is
struck when is drawn from `TFFCXR_SEED`; its value is printed.
"""

from __future__ import annotations

import contextlib
import os
import random
import time

import pytest

from tests.soak import campaigns, replays
from tests.soak.campaigns import Blow, Kind, Moment
from tests.soak.federation import COORDINATOR, SITES, Study

KILLS = int(os.environ.get("TFFCXR_KILLS", "1"))
SEED = int(os.environ.get("TFFCXR_SEED", time.time_ns() % 1_000_000))

_IN_ROUNDS = (Moment.ANY, Moment.MESSAGE, Moment.BETWEEN)
_ROUNDS_PER_BLOW = 5
# A round lasts some seconds then, most of them in messages.
_SLOW_LINE = 40_000.0
many = pytest.mark.skipif(KILLS == 1, reason="many kills need TFFCXR_KILLS=20")


def kills_of_hospitals(rng):
    """At all moments; a tenth of them at the end, when the hospitals measure their results."""
    victim, at_end = rng.choice([*SITES]), max(1, KILLS // 10)
    for number in range(KILLS):
        moment = rng.choice([*_IN_ROUNDS, Moment.STARTING]) if number else Moment.STARTING
        if number >= KILLS - at_end:
            moment = Moment.END
        if moment is not Moment.STARTING:  # Who starts is who was killed last.
            victim = rng.choice([*SITES])
        yield Blow(Kind.KILL, victim, moment)


def kills_of_the_coordinator(rng):
    for number in range(KILLS):
        moment = rng.choice([*_IN_ROUNDS, Moment.STARTING]) if number < KILLS - 1 else Moment.END
        yield Blow(Kind.KILL, COORDINATOR, moment)


def broken_connections(rng):
    """Most are cut in the middle of a message, which heals at once; a quarter stalls."""
    for number in range(KILLS):
        kind = Kind.STALL if number % 4 == 3 else Kind.CUT
        yield Blow(kind, rng.choice([*SITES]), Moment.MESSAGE)


def one_of_each(rng):
    killed, cut = rng.sample([*SITES], 2)
    yield Blow(Kind.KILL, killed, rng.choice(_IN_ROUNDS))
    yield Blow(Kind.CUT, cut, Moment.MESSAGE)


def check(tmp_path, blows, *, slow=None, **of_study):
    """Strikes a study; it ends, each round counts once, and its replay gives the same bits."""
    print(f"TFFCXR_SEED={SEED}", flush=True)
    rng = random.Random(SEED)
    with (
        Study(tmp_path, **of_study) as study,
        study.slow(slow) if slow else contextlib.nullcontext(),
    ):
        campaign = campaigns.Campaign(study, rng)
        campaign.run(blows(rng))
    print(campaign.summary(), flush=True)
    replays.replay(study, tmp_path / "local")
    replays.assert_same(study, tmp_path / "local")


@pytest.mark.skipif(
    os.environ.get("TFFCXR_KILLS") != "1", reason="one kill and one cut need TFFCXR_KILLS=1"
)
@pytest.mark.parametrize("aggregator", ["mean", "secure"])
def test_a_hospital_is_killed_and_a_message_is_cut(tmp_path, aggregator):
    about = {"aggregator": aggregator, "seconds": 15, "patience": 300}
    check(tmp_path, one_of_each, rounds=8, in_forks=True, **about)


@many
@pytest.mark.parametrize("aggregator", ["mean", "secure"])
@pytest.mark.parametrize(
    ("blows", "seconds"),
    [(kills_of_hospitals, 15), (kills_of_the_coordinator, 15), (broken_connections, 5)],
)
def test_many_blows(tmp_path, blows, seconds, aggregator):
    rounds = _ROUNDS_PER_BLOW * KILLS
    about = {"bytes_per_second": _SLOW_LINE, "seconds": seconds, "patience": 600}
    check(tmp_path, blows, rounds=rounds, aggregator=aggregator, **about)


@many
def test_a_hospital_that_is_ten_times_slower(tmp_path):
    check(tmp_path, lambda _: (), slow="south", rounds=KILLS, seconds=15, patience=600)
